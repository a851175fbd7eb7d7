//! What comes from the program here: how its process fares, what its launcher reports, what it
//! writes.

use std::io;
use std::time::Duration;

use mpyc_party_core::agreement::Entry;
use mpyc_party_core::roster::PeerIndex;
use mpyc_party_core::run::Event;
use mpyc_party_core::verdict::{Exit, Reason};
use mpyc_party_sandbox as sandbox;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::child::Report;
use super::super::output::Line;
use super::super::view::Notice;
use super::Conductor;
use crate::session::Versions;
use crate::session::record::Cycle;

/// Starts and stops of MPyC's runtime of which statistics are kept. What the launcher reports may be
/// the program's invention, and must not fill memory and record.
const MOST_CYCLES: usize = 1000;
/// How long the output of an ended program may take to be read.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long the last packet of an ended launcher may take to be read.
const MOMENT: Duration = Duration::from_millis(200);

impl Conductor<'_> {
    pub(super) async fn process(
        &mut self,
        event: sandbox::Event,
        lines: &mut mpsc::Receiver<Line>,
    ) -> io::Result<()> {
        let exit = match event {
            sandbox::Event::Stopped => {
                return self.happen(Event::Failed(Reason::Frozen)).await;
            }
            sandbox::Event::Continued => return Ok(()),
            sandbox::Event::Exited(sandbox::Exit::Status(status)) => Exit::Status(status),
            sandbox::Event::Exited(sandbox::Exit::Signal(signal)) => Exit::Signal(signal),
        };
        self.exited = true;
        self.directory.record.exit = Some(exit);
        // What the launcher said last explains the end better than the exit status does.
        while let Ok(report) = timeout(MOMENT, self.launcher.next()).await {
            if self.verdict.is_some() || matches!(report, Ok(None) | Err(_)) {
                break;
            }
            self.report(report).await?;
        }
        self.drain(lines).await?;
        self.happen(Event::Exited(exit)).await
    }

    /// Reads what an ended program wrote last.
    pub(super) async fn drain(&mut self, lines: &mut mpsc::Receiver<Line>) -> io::Result<()> {
        while let Ok(Some(line)) = timeout(LAST_WORDS, lines.recv()).await {
            self.line(&line).await?;
        }
        Ok(())
    }

    pub(super) async fn report(&mut self, report: io::Result<Option<Report>>) -> io::Result<()> {
        let now = self.began.elapsed();
        match report {
            Ok(Some(Report::Ready(versions))) => self.ready(&versions).await,
            Ok(Some(Report::Failed { message })) => {
                self.happen(Event::Failed(Reason::Local(message.into()))).await
            }
            Ok(Some(Report::Dial { peer })) => {
                match self.streams.dial(&self.links, PeerIndex::new(peer)) {
                    Ok(()) => Ok(()),
                    Err(reason) => self.happen(Event::Failed(reason)).await,
                }
            }
            Ok(Some(Report::Listen)) => self.listen(true).await,
            Ok(Some(Report::Unlisten)) => self.listen(false).await,
            Ok(Some(Report::Refused { peer, what })) => {
                let reason = Reason::Pickle(what.into());
                let peer = peer.map(PeerIndex::new);
                let known = peer.filter(|&p| self.circle.roster.get(p).is_some() && p != self.me);
                let event =
                    known.map_or(Event::Failed(reason.clone()), |p| Event::Faulty(p, reason));
                self.happen(event).await
            }
            Ok(Some(Report::Started)) => Ok(()),
            Ok(Some(Report::Connected)) => {
                self.view.show(Notice::Connected(now));
                Ok(())
            }
            Ok(Some(Report::Stopped { elapsed_s, bytes_sent })) => {
                let cycles = &mut self.directory.record.mpyc;
                if cycles.len() < MOST_CYCLES {
                    cycles.push(Cycle { elapsed_s, bytes_sent });
                }
                Ok(())
            }
            Ok(None) => {
                self.mute = true;
                Ok(())
            }
            Err(error) => {
                self.mute = true;
                let text = format!("the launcher said something unreadable: {error}");
                self.happen(Event::Failed(Reason::Local(text.into()))).await
            }
        }
    }

    /// MPyC is imported: this party can say what it would run.
    async fn ready(&mut self, versions: &Versions) -> io::Result<()> {
        self.unmet = self.definition.unmet(versions).map(|text| Reason::Local(text.into()));
        let components = self.definition.components(&self.copied, Some(versions));
        let identity = self.circle.identity();
        let party = self.circle.own_name().clone();
        let shown = format!("mpyc-party {}, {versions}", env!("CARGO_PKG_VERSION"));
        let entry = Entry {
            party,
            key: identity.claims().key,
            nonce: self.nonce,
            digests: components.salted(&self.nonce),
            versions: shown.as_str().into(),
        };
        self.directory.record.versions = Some(shown);
        let own = match entry.encode() {
            Ok(own) => own,
            Err(why) => {
                let text = format!("no peer could read this party's entry: {why}");
                return self.happen(Event::Failed(Reason::Local(text.into()))).await;
            }
        };
        self.entry.send_replace(Some(own.clone()));
        self.happen(Event::Prepared { components: Box::new(components), own }).await
    }

    pub(super) async fn line(&mut self, line: &Line) -> io::Result<()> {
        let record = &mut self.directory.record;
        record.output_bytes += line.bytes;
        if record.output_bytes > self.definition.settings.output << 20 {
            return self.happen(Event::Failed(Reason::OutputLimit)).await;
        }
        self.view.show(Notice::Line(line.channel, &line.text));
        match self.kept.write(line) {
            Ok(()) => Ok(()),
            Err(error) => {
                let text = format!("the output cannot be kept: {error}");
                self.happen(Event::Failed(Reason::Local(text.into()))).await
            }
        }
    }
}

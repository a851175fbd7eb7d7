//! What comes from the program here: how its process fares, what its launcher reports, what it
//! writes.

use std::io;
use std::time::Duration;

use mpyc_party_core::agreement::Entry;
use mpyc_party_core::run::Event;
use mpyc_party_core::verdict::{Exit, Reason};
use mpyc_party_sandbox as sandbox;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::child::Report;
use super::super::output::Recorded;
use super::super::view::Notice;
use super::Conductor;
use crate::session::Versions;
use crate::session::record::Cycle;

/// Starts and stops of MPyC's runtime of which statistics are kept. What the launcher reports may be
/// the program's invention, and must not fill memory and record.
const MOST_CYCLES: usize = 1000;
/// How long the disk may take no output of an ended program before the others hear of its end.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long it may take none before the runner itself ends.
pub(super) const RECORD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the last packet of an ended launcher may take to be read.
const MOMENT: Duration = Duration::from_millis(200);

impl Conductor<'_> {
    pub(super) async fn process(
        &mut self,
        event: sandbox::Event,
        output: &mut mpsc::Receiver<Recorded>,
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
        self.drain(output, LAST_WORDS).await?;
        self.happen(Event::Exited(exit)).await
    }

    /// Waits until what an ended program wrote last is on record, unless none of it comes there for
    /// `time`.
    pub(super) async fn drain(
        &mut self,
        output: &mut mpsc::Receiver<Recorded>,
        time: Duration,
    ) -> io::Result<()> {
        while let Ok(Some(recorded)) = timeout(time, output.recv()).await {
            self.recorded(recorded).await?;
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
            Ok(Some(Report::Dial { peer })) => match self.streams.dial(&self.links, peer) {
                Ok(()) => Ok(()),
                Err(reason) => self.happen(Event::Failed(reason)).await,
            },
            Ok(Some(Report::Listen)) => self.listen(true).await,
            Ok(Some(Report::Unlisten)) => self.listen(false).await,
            Ok(Some(Report::Refused { peer, what })) => {
                let reason = Reason::Pickle(what.into());
                let known = peer.filter(|&p| p < self.circle.roster.len() && p != self.circle.me);
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
        let components = self.definition.components(&self.copied, versions);
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
        self.entry.send_replace(Some(entry.clone()));
        self.happen(Event::Prepared(Box::new(components), entry)).await
    }

    /// The program wrote something.
    pub(super) async fn recorded(&mut self, recorded: Recorded) -> io::Result<()> {
        match recorded {
            Recorded::Lines(excerpt, bytes) => {
                self.directory.record.output_bytes += bytes;
                self.view.wrote(excerpt);
                Ok(())
            }
            Recorded::TooMuch => self.happen(Event::Failed(Reason::OutputLimit)).await,
            Recorded::Failed(error) => {
                let text = format!("the output cannot be kept: {error}");
                self.happen(Event::Failed(Reason::Local(text.into()))).await
            }
        }
    }
}

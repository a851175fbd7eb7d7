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

use super::super::engine::{self, Profile, Report};
use super::super::output::Recorded;
use super::super::streams::StreamId;
use super::super::view::Notice;
use super::RunLoop;
use crate::session::words::with_limit;

/// Computations of which statistics are kept. What the launcher reports may be
/// the program's invention, and must not fill memory and record.
const MAX_STATISTICS: usize = 1000;
/// How long the disk may take no output of an ended program before the others hear of its end, or this
/// party shows its verdict.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long it may take none before the runner itself ends.
const RECORD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the last packet of an ended launcher may take to be read.
const MOMENT: Duration = Duration::from_millis(200);

impl RunLoop<'_> {
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
        self.streams.abandon();
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
    /// `time`; returns whether all of it is.
    pub(super) async fn drain(
        &mut self,
        output: &mut mpsc::Receiver<Recorded>,
        time: Duration,
    ) -> io::Result<bool> {
        loop {
            match timeout(time, output.recv()).await {
                Ok(Some(recorded)) => self.recorded(recorded).await?,
                Ok(None) => return Ok(true),
                Err(_) => return Ok(false),
            }
        }
    }

    /// Waits for the rest of that, which is shown no more: the verdict is the last that is.
    pub(super) async fn count_output(&mut self, output: &mut mpsc::Receiver<Recorded>) {
        while let Ok(Some(recorded)) = timeout(RECORD_TIMEOUT, output.recv()).await {
            if let Recorded::Lines(_, bytes) = recorded {
                self.directory.record.output_bytes += bytes;
            }
        }
    }

    pub(super) async fn report(&mut self, report: io::Result<Option<Report>>) -> io::Result<()> {
        let now = self.began.elapsed();
        match report {
            Ok(Some(Report::Ready(profile))) => self.ready(&profile).await,
            Ok(Some(Report::Failed(message))) => {
                self.happen(Event::Failed(Reason::Local(message.into()))).await
            }
            Ok(Some(Report::Connect { peer, cycle })) => {
                match self.streams.connect(&self.links, StreamId { peer, cycle }) {
                    Ok(()) => Ok(()),
                    Err(reason) => self.happen(Event::Failed(reason)).await,
                }
            }
            Ok(Some(Report::Accept { cycle })) => {
                let deliveries = self.streams.accept(cycle);
                self.deliver(deliveries).await
            }
            Ok(Some(Report::Refused { peer, what })) => {
                self.sent_wrong(peer, Reason::Pickle(what.into())).await
            }
            Ok(Some(Report::Violated { peer, what })) => {
                self.sent_wrong(Some(peer), Reason::Protocol(what.into())).await
            }
            Ok(Some(Report::Connecting)) => self.happen(Event::Connecting).await,
            Ok(Some(Report::Connected)) => {
                self.view.show(Notice::Connected(now));
                self.happen(Event::Connected).await
            }
            // Nothing that the program says is believed: the machine takes it for what it is worth.
            Ok(Some(Report::Awaits(peer))) if self.is_peer(peer) => {
                self.happen(Event::Awaits(peer)).await
            }
            Ok(Some(Report::AwaitsNoMore(peer))) if self.is_peer(peer) => {
                self.happen(Event::AwaitsNoMore(peer)).await
            }
            Ok(Some(Report::Awaits(_) | Report::AwaitsNoMore(_))) => Ok(()),
            Ok(Some(Report::Asks)) => self.happen(Event::Asks).await,
            Ok(Some(Report::Answered)) => self.happen(Event::Answered).await,
            Ok(Some(Report::Computed(computed))) => {
                let starts = &mut self.directory.record.statistics;
                if starts.len() < MAX_STATISTICS {
                    starts.push(computed);
                }
                Ok(())
            }
            Ok(None) => {
                self.mute = true;
                self.streams.abandon();
                Ok(())
            }
            Err(error) => {
                self.mute = true;
                let text = format!("the launcher said something unreadable: {error}");
                self.happen(Event::Failed(Reason::Local(text.into()))).await
            }
        }
    }

    fn is_peer(&self, peer: PeerIndex) -> bool {
        peer != self.me && self.session_peers.roster.get(peer).is_some()
    }

    /// Something that must not reach the program: this party's own where it is no peer's.
    async fn sent_wrong(&mut self, peer: Option<PeerIndex>, reason: Reason) -> io::Result<()> {
        match peer.filter(|&peer| self.is_peer(peer)) {
            Some(peer) => self.happen(Event::Faulty(peer, reason)).await,
            None => self.happen(Event::Failed(reason)).await,
        }
    }

    /// The engine is loaded: this party can say what it would run.
    async fn ready(&mut self, profile: &Profile) -> io::Result<()> {
        if self.entry.borrow().is_some() {
            // Said once; the program may say it again in the launcher's name.
            return Ok(());
        }
        self.unmet = profile.unmet.as_ref().map(|text| Reason::Local(text.into()));
        let components = engine::components(&self.definition, &self.copied, Some(profile));
        let identity = self.session_peers.identity();
        let party = self.session_peers.own_name().clone();
        let shown = format!("mpyc-party {}, {profile}", env!("CARGO_PKG_VERSION"));
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
                let text = with_limit(format!("the output cannot be kept: {error}"));
                self.happen(Event::Failed(Reason::Local(text.into()))).await
            }
        }
    }
}

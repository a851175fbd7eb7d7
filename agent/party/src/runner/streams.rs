//! Streams: each connection that one engine's process opens to another, carried over links that come
//! and go.
//!
//! Of a pair, the same end always opens and the other accepts: which of them, the engine knows. How
//! often they do so is up to the program; its number among the connections of a pair is its *cycle*.
//! A stream reaches the accepting process only when that accepts the same cycle: until then it is
//! held, for a process that sees its connection closed takes its peer for gone.
//!
//! A stream lives from its first carrier to the end of the run. After each new link, and whenever a
//! carrier breaks, the end that dialled the link opens another; the other end asks for what it lacks.

mod carriers;
mod local;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use mpyc_party_core::agreement::RunId;
use mpyc_party_core::control::{Control, StreamOpening};
use mpyc_party_core::roster::{PeerIndex, PerParty};
use mpyc_party_core::stream::{Epoch, Stream, WINDOW_BYTES};
use mpyc_party_core::verdict::Reason;
use mpyc_party_transport::resume::{self, Fault, Handle, Local};
use mpyc_party_transport::{Secure, SecureStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use mpyc_party_net::links::{Linked, Links};

use super::engine::Engine;
use crate::session::words::with_limit;

/// Streams that one peer may open ahead of what this party's process has accepted.
const MAX_STREAMS_AHEAD: usize = 8;
/// How long after its end a carrier is replaced on the same link, at first; twice as long each time.
const REPLACEMENT_PAUSE: Duration = Duration::from_millis(50);
/// How often that is doubled.
const MAX_DOUBLINGS: u32 = 6;

/// Which stream of a run it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StreamId {
    pub(super) peer: PeerIndex,
    pub(super) cycle: u32,
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {} of party {}", self.cycle, self.peer)
    }
}

/// What happens to streams.
#[derive(Debug)]
pub(super) enum StreamEvent {
    /// A carrier is in use.
    Attached(StreamId),
    /// The carrier of this epoch broke, did not come up, or has `stalled`.
    Cut { stream: StreamId, epoch: Epoch, stalled: bool },
    /// It should be replaced now.
    Due { stream: StreamId, epoch: Epoch },
    /// The peer sends no more on one of its streams.
    Ended(PeerIndex),
    /// Both ends have everything.
    Finished(StreamId),
    /// The peer did what it may not.
    Faulty(PeerIndex, Reason),
}

/// A descriptor to be handed to the launcher.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) peer: PeerIndex,
    pub(super) descriptor: OwnedFd,
}

/// One stream.
#[derive(Debug)]
struct Entry {
    handle: Handle<SecureStream>,
    /// The local process's end, until it is handed over or the process has gone.
    held: Option<OwnedFd>,
    /// Whether it was handed over.
    delivered: bool,
    /// The newest carrier that this end knows, and whether the stream ever had one.
    newest: Epoch,
    attached: bool,
    finished: bool,
}

impl Entry {
    /// The local process's end, to be handed over, unless that was done or the process has gone.
    fn deliver(&mut self) -> Option<OwnedFd> {
        let descriptor = self.held.take()?;
        self.delivered = true;
        Some(descriptor)
    }
}

/// All streams of one run at this party.
#[derive(Debug)]
pub(super) struct Streams {
    engine: &'static dyn Engine,
    me: PeerIndex,
    run: Option<RunId>,
    /// The link to each peer: its epoch, and whether this end opens the carriers on it.
    links: PerParty<Option<(u64, bool)>>,
    /// The same of a link over which nobody has been recognised yet.
    fresh: PerParty<Option<(u64, bool)>>,
    /// The cycle that the local process accepts, where it accepts any.
    accepts: Option<u32>,
    /// Whether nobody here can take an end of a stream any more.
    abandoned: bool,
    /// Every stream there was.
    entries: BTreeMap<StreamId, Entry>,
    events: mpsc::UnboundedSender<StreamEvent>,
    tasks: JoinSet<()>,
}

impl Streams {
    /// The streams of a run of `parties` parties; what happens to them is sent to `events`.
    pub(super) fn new(
        engine: &'static dyn Engine,
        me: PeerIndex,
        parties: usize,
        events: mpsc::UnboundedSender<StreamEvent>,
    ) -> Self {
        Self {
            engine,
            me,
            run: None,
            links: PerParty::of(parties, None),
            fresh: PerParty::of(parties, None),
            accepts: None,
            abandoned: false,
            entries: BTreeMap::new(),
            events,
            tasks: JoinSet::new(),
        }
    }

    /// All parties agreed on this run: its streams may come.
    pub(super) fn agreed(&mut self, run: RunId) {
        self.run = Some(run);
    }

    /// There is a link to `peer`, the first or the next.
    pub(super) fn linked(&mut self, peer: PeerIndex, linked: &Linked) {
        self.fresh[peer] = Some((linked.path.epoch, linked.opener));
    }

    /// At the other end of that link is the one with whom the streams are: all of them move there.
    pub(super) fn recognised(&mut self, links: &Links, peer: PeerIndex) {
        let Some(fresh) = self.fresh[peer].take() else { return };
        self.links[peer] = Some(fresh);
        let of_peer = |(stream, entry): (&StreamId, &Entry)| {
            (stream.peer == peer && !entry.finished).then_some(*stream)
        };
        let unfinished: Vec<StreamId> = self.entries.iter().filter_map(of_peer).collect();
        unfinished.into_iter().for_each(|stream| self.supply(links, stream));
    }

    /// There is no link to `peer` now.
    pub(super) fn unlinked(&mut self, peer: PeerIndex) {
        (self.links[peer], self.fresh[peer]) = (None, None);
    }

    /// The local process opens this stream.
    pub(super) fn connect(&mut self, links: &Links, stream: StreamId) -> Result<(), Reason> {
        self.create(links, stream)?;
        self.supply(links, stream);
        Ok(())
    }

    /// A peer, who did not dial the link, asks for a carrier newer than `newest`.
    pub(super) fn asked(
        &mut self,
        links: &Links,
        stream: StreamId,
        newest: Epoch,
    ) -> Result<(), Reason> {
        if !self.links[stream.peer].is_some_and(|(_, opener)| opener) {
            // It asked over a link that has been replaced since, and will ask again.
            return Ok(());
        }
        self.find(links, stream, "asked for a stream out of turn")?;
        if self.entries.get(&stream).is_some_and(|entry| entry.newest <= newest) {
            self.supply(links, stream);
        }
        Ok(())
    }

    /// Makes sure that there is this stream, where it is the peer that opens it.
    fn find(&mut self, links: &Links, stream: StreamId, wrong: &str) -> Result<(), Reason> {
        if self.entries.contains_key(&stream) {
            return Ok(());
        }
        let peer = stream.peer;
        let waits = |(of, entry): (&StreamId, &Entry)| of.peer == peer && !entry.delivered;
        let ahead = self.entries.iter().filter(|entry| waits(*entry)).count();
        if !self.accepted(stream) || ahead >= MAX_STREAMS_AHEAD || self.run.is_none() {
            return Err(Reason::Protocol(wrong.into()));
        }
        self.create(links, stream)
    }

    /// Lets a carrier come up for this stream: opens one, or asks for it.
    fn supply(&mut self, links: &Links, stream: StreamId) {
        let StreamId { peer, cycle } = stream;
        if self.fresh[peer].is_some() {
            // Once somebody is recognised there, all streams move.
            return;
        }
        let (Some((link, opener)), Some(run)) = (self.links[peer], self.run) else { return };
        let Some(entry) = self.entries.get_mut(&stream) else { return };
        if !opener {
            return links.send(peer, Control::Dial { cycle, newest: entry.newest });
        }
        entry.newest = match entry.newest {
            Epoch { link: last, attempt } if last >= link => {
                Epoch { link: last, attempt: attempt.saturating_add(1) }
            }
            _ => Epoch { link, attempt: 0 },
        };
        let (handle, carriers, epoch) = (entry.handle.clone(), links.carriers(), entry.newest);
        let opening = StreamOpening { run, cycle, epoch, received: 0 };
        self.settle(stream, epoch, carriers::bring(carriers, peer, handle, opening));
    }

    /// Takes a carrier that a peer opened.
    pub(super) fn opened(
        &mut self,
        links: &Links,
        peer: PeerIndex,
        opening: StreamOpening,
        secure: Secure,
    ) -> Result<(), Reason> {
        let StreamOpening { run, cycle, epoch, .. } = opening;
        let stream = StreamId { peer, cycle };
        if self.run != Some(run) {
            return Err(Reason::Protocol("opened a stream of another run".into()));
        }
        if self.links[peer].is_some_and(|(link, _)| epoch.link < link) {
            log::debug!("a carrier of epoch {epoch} comes over a link that is over");
            return Ok(());
        }
        self.find(links, stream, "opened a stream out of turn")?;
        let Some(entry) = self.entries.get_mut(&stream) else { return Ok(()) };
        if epoch == entry.newest {
            return Err(Reason::Protocol("opened a stream twice".into()));
        }
        if epoch < entry.newest {
            log::debug!("a carrier of epoch {epoch} comes after that of {}", entry.newest);
            return Ok(());
        }
        entry.newest = epoch;
        let handle = entry.handle.clone();
        self.settle(stream, epoch, carriers::take(handle, opening, secure));
        Ok(())
    }

    /// Waits for what becomes of a carrier.
    fn settle(
        &mut self,
        stream: StreamId,
        epoch: Epoch,
        work: impl Future<Output = Result<(), carriers::Failed>> + Send + 'static,
    ) {
        while self.tasks.try_join_next().is_some() {}
        let events = self.events.clone();
        self.tasks.spawn(async move {
            let event = match work.await {
                Ok(()) => StreamEvent::Attached(stream),
                Err(why) => {
                    log::debug!("carrier {epoch} of {stream}: {why}");
                    StreamEvent::Cut { stream, epoch, stalled: false }
                }
            };
            let _ = events.send(event);
        });
    }

    /// Whether this stream has had no carrier so far.
    pub(super) fn begins(&self, stream: StreamId) -> bool {
        self.entries.get(&stream).is_some_and(|entry| !entry.attached)
    }

    /// Whether the local process accepts this stream, and does not open it.
    fn accepted(&self, stream: StreamId) -> bool {
        self.engine.opens(stream.peer, self.me)
    }

    /// A carrier is in use: the first one lets the local process have its end.
    pub(super) fn attached(&mut self, stream: StreamId) -> Vec<Delivery> {
        let accepted = self.accepted(stream);
        let Some(entry) = self.entries.get_mut(&stream) else { return Vec::new() };
        entry.attached = true;
        if accepted {
            return self.release();
        }
        let descriptor = entry.deliver();
        descriptor
            .map(|descriptor| Delivery { peer: stream.peer, descriptor })
            .into_iter()
            .collect()
    }

    /// A carrier broke. Where it was the newest, another is due on the same link after a pause.
    pub(super) fn cut(&mut self, stream: StreamId, epoch: Epoch) {
        let newest = self.entries.get(&stream).map(|entry| entry.newest);
        if newest == Some(epoch) {
            let pause = REPLACEMENT_PAUSE * 2_u32.pow(epoch.attempt.min(MAX_DOUBLINGS));
            let events = self.events.clone();
            self.tasks.spawn(async move {
                tokio::time::sleep(pause).await;
                let _ = events.send(StreamEvent::Due { stream, epoch });
            });
        }
    }

    /// The pause after a cut is over.
    pub(super) fn due(&mut self, links: &Links, stream: StreamId, epoch: Epoch) {
        let entry = self.entries.get(&stream);
        if entry.is_some_and(|entry| entry.newest == epoch && !entry.finished) {
            self.supply(links, stream);
        }
    }

    /// Both ends have everything; a carrier that the peer still wants is answered all the same.
    pub(super) fn finished(&mut self, stream: StreamId) {
        if let Some(entry) = self.entries.get_mut(&stream) {
            entry.finished = true;
        }
    }

    /// The local process accepts the streams of this cycle, or none.
    pub(super) fn accept(&mut self, cycle: Option<u32>) -> Vec<Delivery> {
        self.accepts = cycle;
        self.release()
    }

    /// The local process has ended, or nothing can be handed to it any more: the streams that it never
    /// took end, and so do those that begin from now on. Else their peers would wait for it.
    pub(super) fn abandon(&mut self) {
        self.abandoned = true;
        self.entries.values_mut().for_each(|entry| entry.held = None);
    }

    /// Delivers what was held for the cycle that the local process accepts.
    fn release(&mut self) -> Vec<Delivery> {
        let (engine, me, now) = (self.engine, self.me, self.accepts);
        let due = |(stream, entry): (&StreamId, &mut Entry)| {
            let accepted = engine.opens(stream.peer, me) && now == Some(stream.cycle);
            let wanted = accepted && entry.attached;
            let descriptor = if wanted { entry.deliver() } else { None };
            Some(Delivery { peer: stream.peer, descriptor: descriptor? })
        };
        self.entries.iter_mut().filter_map(due).collect()
    }

    /// Begins a stream, which waits for its first carrier.
    fn create(&mut self, links: &Links, stream: StreamId) -> Result<(), Reason> {
        let peer = stream.peer;
        let failed =
            |error: io::Error| Reason::Local(with_limit(format!("no socket pair: {error}")).into());
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let (reader, writer) = local::split(ours).map_err(failed)?;
        // Who opens says whose connection it is; who accepts is silent on that.
        let engine = self.engine;
        let beginning = self.accepted(stream).then(|| engine.claim(peer));
        let traffic = links.traffic(peer);
        let local = Local { reader, writer, beginning, traffic };
        let (handle, carriers) = resume::channel();
        let (events, told) = (self.events.clone(), self.events.clone());
        self.tasks.spawn(async move {
            let tell = move |event| {
                let _ = told.send(match event {
                    resume::Event::Cut { epoch, why } => {
                        log::debug!("carrier {epoch} of {stream}: {why}");
                        let stalled = why.kind() == io::ErrorKind::TimedOut;
                        StreamEvent::Cut { stream, epoch, stalled }
                    }
                    resume::Event::PeerEnded => StreamEvent::Ended(peer),
                    resume::Event::Finished => StreamEvent::Finished(stream),
                });
            };
            let carried = resume::carry(Stream::new(WINDOW_BYTES), local, carriers, tell).await;
            if let Err(fault) = carried {
                let _ = events.send(blame(engine, peer, fault));
            }
        });
        let held = (!self.abandoned).then(|| theirs.into());
        let newest = Epoch::default();
        let entry =
            Entry { handle, held, delivered: false, newest, attached: false, finished: false };
        self.entries.insert(stream, entry);
        Ok(())
    }
}

/// What a fault on a stream means.
fn blame(engine: &dyn Engine, peer: PeerIndex, fault: Fault) -> StreamEvent {
    match fault {
        Fault::Beginning { heard, .. } => StreamEvent::Faulty(peer, engine.false_claim(heard)),
        Fault::NoBeginning => StreamEvent::Ended(peer),
        Fault::Violation(_) => {
            StreamEvent::Faulty(peer, Reason::Protocol(fault.to_string().into()))
        }
    }
}

//! Streams: each connection that one MPyC opens to another, carried over links that come and go.
//!
//! Of a pair, the MPyC with the lower index always opens and the other accepts. How often they do
//! so is up to the program; the how-manieth connection of a pair it is, is its *cycle*. A stream
//! reaches the accepting MPyC only when that listens for the same cycle: until then it is held, for
//! an MPyC that sees its connection closed takes its peer for gone.
//!
//! A stream lives from its first carrier to the end of the run. After each new link, and whenever a
//! carrier breaks, the end that dialled the link opens another; the other end asks for what it lacks.

mod carriers;
mod local;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use mpyc_party_core::agreement::RunId;
use mpyc_party_core::control::{Control, StreamOpening};
use mpyc_party_core::stream::{Epoch, Stream, WINDOW_BYTES};
use mpyc_party_core::verdict::Reason;
use mpyc_party_transport::resume::{self, Fault, Handle, Local};
use mpyc_party_transport::{Secure, SecureStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use mpyc_party_net::links::{Linked, Links};

/// Streams that one peer may open ahead of what this party's MPyC has asked for.
const MOST_AHEAD: usize = 8;
/// How long after its end a carrier is replaced on the same link, at first; twice as long each time.
const PAUSE: Duration = Duration::from_millis(50);
/// How often that is doubled.
const MOST_DOUBLINGS: u32 = 6;

/// What happens to streams.
#[derive(Debug)]
pub(super) enum StreamEvent {
    /// A carrier is in use.
    Attached(usize, u32),
    /// The carrier of this epoch broke or did not come up.
    Cut(usize, u32, Epoch),
    /// It should be replaced now.
    Due(usize, u32, Epoch),
    /// The peer sends no more on one of its streams.
    Ended(usize),
    /// Both ends have everything.
    Finished(usize, u32),
    /// The peer did what it may not.
    Faulty(usize, Reason),
}

/// A descriptor to be handed to the launcher.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) peer: usize,
    pub(super) descriptor: OwnedFd,
}

/// One stream.
#[derive(Debug)]
struct Entry {
    handle: Handle<SecureStream>,
    /// The local MPyC's end, until it is handed over.
    held: Option<OwnedFd>,
    /// The newest carrier that this end knows, and whether the stream ever had one.
    newest: Epoch,
    attached: bool,
    finished: bool,
}

/// All streams of one run at this party.
#[derive(Debug)]
pub(super) struct Streams {
    me: usize,
    run: Option<RunId>,
    /// The link to each peer: its epoch, and whether this end opens the carriers on it.
    links: Vec<Option<(u64, bool)>>,
    /// How often the local MPyC has dialled each peer.
    dials: Vec<u32>,
    /// How often it has listened, and whether it does now.
    listens: u32,
    listening: bool,
    /// Every stream there was.
    entries: BTreeMap<(usize, u32), Entry>,
    events: mpsc::UnboundedSender<StreamEvent>,
    tasks: JoinSet<()>,
}

impl Streams {
    /// The streams of a run of `parties` parties; what happens to them is sent to `events`.
    pub(super) fn new(
        me: usize,
        parties: usize,
        events: mpsc::UnboundedSender<StreamEvent>,
    ) -> Self {
        Self {
            me,
            run: None,
            links: vec![None; parties],
            dials: vec![0; parties],
            listens: 0,
            listening: false,
            entries: BTreeMap::new(),
            events,
            tasks: JoinSet::new(),
        }
    }

    /// All parties agreed on this run: its streams may come.
    pub(super) fn agreed(&mut self, run: RunId) {
        self.run = Some(run);
    }

    /// There is a link to `peer`, the first or the next: all its streams move there.
    pub(super) fn linked(&mut self, links: &Links, peer: usize, linked: &Linked) {
        self.links[peer] = Some((linked.path.epoch, linked.opener));
        let of_peer = |(key, entry): (&(usize, u32), &Entry)| {
            (key.0 == peer && !entry.finished).then_some(key.1)
        };
        let cycles: Vec<u32> = self.entries.iter().filter_map(of_peer).collect();
        cycles.into_iter().for_each(|cycle| self.supply(links, peer, cycle));
    }

    /// There is no link to `peer` now.
    pub(super) fn unlinked(&mut self, peer: usize) {
        self.links[peer] = None;
    }

    /// The local MPyC opens a connection to `peer`.
    pub(super) fn dial(&mut self, links: &Links, peer: usize) -> Result<(), Reason> {
        if peer <= self.me || peer >= self.dials.len() {
            let text = format!("the program dialled MPyC party {peer}, which it never has to");
            return Err(Reason::Local(text.into()));
        }
        let cycle = self.dials[peer];
        self.dials[peer] += 1;
        self.create(links, peer, cycle)?;
        self.supply(links, peer, cycle);
        Ok(())
    }

    /// A peer, who did not dial the link, asks for a carrier newer than `newest`.
    pub(super) fn asked(
        &mut self,
        links: &Links,
        peer: usize,
        cycle: u32,
        newest: Epoch,
    ) -> Result<(), Reason> {
        if !self.links[peer].is_some_and(|(_, opener)| opener) {
            // It asked over a link that has been replaced since, and will ask again.
            return Ok(());
        }
        self.find(links, peer, cycle, "asked for a stream out of turn")?;
        if self.entries.get(&(peer, cycle)).is_some_and(|entry| entry.newest <= newest) {
            self.supply(links, peer, cycle);
        }
        Ok(())
    }

    /// Makes sure that there is this stream, which the peer may open if it is a lower one.
    fn find(&mut self, links: &Links, peer: usize, cycle: u32, wrong: &str) -> Result<(), Reason> {
        if self.entries.contains_key(&(peer, cycle)) {
            return Ok(());
        }
        let held = |(key, entry): (&(usize, u32), &Entry)| key.0 == peer && entry.held.is_some();
        let ahead = self.entries.iter().filter(|entry| held(*entry)).count();
        if peer > self.me || ahead >= MOST_AHEAD || self.run.is_none() {
            return Err(Reason::Protocol(wrong.into()));
        }
        self.create(links, peer, cycle)
    }

    /// Lets a carrier come up for this stream: opens one, or asks for it.
    fn supply(&mut self, links: &Links, peer: usize, cycle: u32) {
        let (Some((link, opener)), Some(run)) = (self.links[peer], self.run) else { return };
        let Some(entry) = self.entries.get_mut(&(peer, cycle)) else { return };
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
        self.settle((peer, cycle), epoch, carriers::bring(carriers, peer, handle, opening));
    }

    /// Takes a carrier that a peer opened.
    pub(super) fn opened(
        &mut self,
        links: &Links,
        peer: usize,
        opening: StreamOpening,
        secure: Secure,
    ) -> Result<(), Reason> {
        let StreamOpening { run, cycle, epoch, .. } = opening;
        if self.run != Some(run) {
            return Err(Reason::Protocol("opened a stream of another run".into()));
        }
        if self.links[peer].is_some_and(|(link, _)| epoch.link < link) {
            log::debug!("a carrier of epoch {epoch} comes over a link that is over");
            return Ok(());
        }
        self.find(links, peer, cycle, "opened a stream out of turn")?;
        let Some(entry) = self.entries.get_mut(&(peer, cycle)) else { return Ok(()) };
        if epoch == entry.newest {
            return Err(Reason::Protocol("opened a stream twice".into()));
        }
        if epoch < entry.newest {
            log::debug!("a carrier of epoch {epoch} comes after that of {}", entry.newest);
            return Ok(());
        }
        entry.newest = epoch;
        let handle = entry.handle.clone();
        self.settle((peer, cycle), epoch, carriers::take(handle, opening, secure));
        Ok(())
    }

    /// Waits for what becomes of a carrier.
    fn settle(
        &mut self,
        (peer, cycle): (usize, u32),
        epoch: Epoch,
        work: impl Future<Output = Result<(), carriers::Failed>> + Send + 'static,
    ) {
        while self.tasks.try_join_next().is_some() {}
        let events = self.events.clone();
        self.tasks.spawn(async move {
            let event = match work.await {
                Ok(()) => StreamEvent::Attached(peer, cycle),
                Err(why) => {
                    log::debug!("carrier {epoch} of stream {cycle} of party {peer}: {why}");
                    StreamEvent::Cut(peer, cycle, epoch)
                }
            };
            let _ = events.send(event);
        });
    }

    /// Whether this stream has had no carrier so far.
    pub(super) fn begins(&self, peer: usize, cycle: u32) -> bool {
        self.entries.get(&(peer, cycle)).is_some_and(|entry| !entry.attached)
    }

    /// A carrier is in use: the first one lets the local MPyC have its end.
    pub(super) fn attached(&mut self, peer: usize, cycle: u32) -> Vec<Delivery> {
        let Some(entry) = self.entries.get_mut(&(peer, cycle)) else { return Vec::new() };
        entry.attached = true;
        if peer < self.me {
            return self.release();
        }
        let held = entry.held.take();
        held.map(|descriptor| Delivery { peer, descriptor }).into_iter().collect()
    }

    /// A carrier broke. Where it was the newest, another is due on the same link after a pause.
    pub(super) fn cut(&mut self, peer: usize, cycle: u32, epoch: Epoch) {
        let newest = self.entries.get(&(peer, cycle)).map(|entry| entry.newest);
        if newest == Some(epoch) {
            let pause = PAUSE * 2_u32.pow(epoch.attempt.min(MOST_DOUBLINGS));
            let events = self.events.clone();
            self.tasks.spawn(async move {
                tokio::time::sleep(pause).await;
                let _ = events.send(StreamEvent::Due(peer, cycle, epoch));
            });
        }
    }

    /// The pause after a cut is over.
    pub(super) fn due(&mut self, links: &Links, peer: usize, cycle: u32, epoch: Epoch) {
        let entry = self.entries.get(&(peer, cycle));
        if entry.is_some_and(|entry| entry.newest == epoch && !entry.finished) {
            self.supply(links, peer, cycle);
        }
    }

    /// Both ends have everything; a carrier that the peer still wants is answered all the same.
    pub(super) fn finished(&mut self, peer: usize, cycle: u32) {
        if let Some(entry) = self.entries.get_mut(&(peer, cycle)) {
            entry.finished = true;
        }
    }

    /// The local MPyC listens, or no longer does.
    pub(super) fn listen(&mut self, on: bool) -> Vec<Delivery> {
        self.listens += u32::from(on);
        self.listening = on;
        self.release()
    }

    /// Delivers what was held for the cycle that the local MPyC listens for.
    fn release(&mut self) -> Vec<Delivery> {
        let Some(now) = self.listens.checked_sub(1).filter(|_| self.listening) else {
            return Vec::new();
        };
        let me = self.me;
        let due = |(key, entry): (&(usize, u32), &mut Entry)| {
            let wanted = key.0 < me && key.1 == now && entry.attached;
            let descriptor = if wanted { entry.held.take() } else { None };
            Some(Delivery { peer: key.0, descriptor: descriptor? })
        };
        self.entries.iter_mut().filter_map(due).collect()
    }

    /// Begins a stream, which waits for its first carrier.
    fn create(&mut self, links: &Links, peer: usize, cycle: u32) -> Result<(), Reason> {
        let failed = |error: io::Error| Reason::Local(format!("no socket pair: {error}").into());
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let (reader, writer) = local::split(ours).map_err(failed)?;
        // A lower peer's MPyC begins with its index (2 bytes); the accepting one is silent on it.
        let index = u16::try_from(peer).ok().filter(|_| peer < self.me);
        let (beginning, traffic) = (index.map(u16::to_le_bytes), links.traffic(peer));
        let local = Local { reader, writer, beginning, traffic };
        let (handle, carriers) = resume::channel();
        let (events, told) = (self.events.clone(), self.events.clone());
        self.tasks.spawn(async move {
            let tell = move |event| {
                let _ = told.send(match event {
                    resume::Event::Cut { epoch, why } => {
                        log::debug!("carrier {epoch} of stream {cycle} of party {peer}: {why}");
                        StreamEvent::Cut(peer, cycle, epoch)
                    }
                    resume::Event::PeerEnded => StreamEvent::Ended(peer),
                    resume::Event::Finished => StreamEvent::Finished(peer, cycle),
                });
            };
            let carried = resume::carry(Stream::new(WINDOW_BYTES), local, carriers, tell).await;
            if let Err(fault) = carried {
                let _ = events.send(blame(peer, fault));
            }
        });
        let (newest, held) = (Epoch::default(), Some(theirs.into()));
        let entry = Entry { handle, held, newest, attached: false, finished: false };
        self.entries.insert((peer, cycle), entry);
        Ok(())
    }
}

/// What a fault on a stream means.
fn blame(peer: usize, fault: Fault) -> StreamEvent {
    match fault {
        Fault::Beginning { heard, .. } => {
            StreamEvent::Faulty(peer, Reason::ClaimedIndex(u16::from_le_bytes(heard)))
        }
        Fault::NoBeginning => StreamEvent::Ended(peer),
        Fault::Violation(_) => {
            StreamEvent::Faulty(peer, Reason::Protocol(fault.to_string().into()))
        }
    }
}

//! Streams: each connection that one MPyC opens to another, carried over one TLS connection.
//!
//! Of a pair, the MPyC with the lower index always opens and the other accepts. How often they do
//! so is up to the program; the how-manieth connection of a pair it is, is its *cycle*. A stream
//! reaches the accepting MPyC only when that listens for the same cycle: until then it is held, for
//! an MPyC that sees its connection closed takes its peer for gone.

mod forward;
mod local;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use mpyc_party_core::agreement::RunId;
use mpyc_party_core::control::{Control, StreamOpening};
use mpyc_party_core::verdict::{Reason, Remark};
use mpyc_party_transport::Secure;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::link::{Links, StreamError};

/// Streams that one peer may open ahead of what this party's MPyC has asked for.
const MOST_AHEAD: usize = 8;

/// What happens to streams.
#[derive(Debug)]
pub(super) enum StreamEvent {
    /// Dialling has succeeded, or has not.
    Dialled(usize, u32, Result<Box<Secure>, StreamError>),
    /// The peer sends no more on one of its streams.
    Ended(usize),
    /// The stream was cut.
    Cut(usize, Remark),
    /// The peer's MPyC claims an index that is not the peer's.
    ClaimedIndex(usize, u16),
}

/// A descriptor to be handed to the launcher.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) peer: usize,
    pub(super) descriptor: OwnedFd,
}

/// All streams of one run at this party.
#[derive(Debug)]
pub(super) struct Streams {
    me: usize,
    run: Option<RunId>,
    /// How often the local MPyC has dialled each peer.
    dials: Vec<u32>,
    /// How often it has listened, and whether it does now.
    listens: u32,
    listening: bool,
    /// Streams of lower peers, held until the local MPyC listens for their cycle.
    held: BTreeMap<(usize, u32), Box<Secure>>,
    /// Cycles that a higher peer was asked to dial.
    asked: BTreeSet<(usize, u32)>,
    /// Every stream there was.
    seen: BTreeSet<(usize, u32)>,
    events: mpsc::Sender<StreamEvent>,
    tasks: JoinSet<()>,
}

impl Streams {
    /// The streams of a run of `parties` parties; what happens to them is sent to `events`.
    pub(super) fn new(me: usize, parties: usize, events: mpsc::Sender<StreamEvent>) -> Self {
        Self {
            me,
            run: None,
            dials: vec![0; parties],
            listens: 0,
            listening: false,
            held: BTreeMap::new(),
            asked: BTreeSet::new(),
            seen: BTreeSet::new(),
            events,
            tasks: JoinSet::new(),
        }
    }

    /// All parties agreed on this run: its streams may come.
    pub(super) fn agreed(&mut self, run: RunId) {
        self.run = Some(run);
    }

    /// The local MPyC opens a connection to `peer`.
    pub(super) fn dial(&mut self, links: &Links, peer: usize) -> Result<(), Reason> {
        if peer <= self.me || peer >= self.dials.len() {
            let text = format!("the program dialled MPyC party {peer}, which it never has to");
            return Err(Reason::Local(text.into()));
        }
        let cycle = self.dials[peer];
        self.dials[peer] += 1;
        self.open(links, peer, cycle);
        Ok(())
    }

    /// A lower peer asks this party to dial the stream that its MPyC opens.
    pub(super) fn dial_back(
        &mut self,
        links: &Links,
        peer: usize,
        cycle: u32,
    ) -> Result<(), Reason> {
        if peer > self.me || !self.may_come(peer, cycle) {
            return Err(Reason::Protocol("asked for a stream out of turn".into()));
        }
        self.open(links, peer, cycle);
        Ok(())
    }

    fn open(&mut self, links: &Links, peer: usize, cycle: u32) {
        let Some(run) = self.run else { return };
        let (streams, events) = (links.streams(), self.events.clone());
        self.tasks.spawn(async move {
            let opened = streams.open(peer, StreamOpening { run, cycle }).await;
            let _ = events.send(StreamEvent::Dialled(peer, cycle, opened.map(Box::new))).await;
        });
    }

    /// Takes a stream that was dialled; asks the peer to dial where this party cannot.
    pub(super) fn dialled(
        &mut self,
        links: &Links,
        (peer, cycle): (usize, u32),
        outcome: Result<Box<Secure>, StreamError>,
    ) -> Result<Vec<Delivery>, Reason> {
        match outcome {
            Ok(secure) => self.take(peer, cycle, secure),
            Err(StreamError::PeerDials) if peer > self.me => {
                self.asked.insert((peer, cycle));
                links.send(peer, Control::Dial { cycle });
                Ok(Vec::new())
            }
            Err(error) => Err(Reason::Lost(format!("no stream could be opened: {error}").into())),
        }
    }

    /// Takes a stream that a peer opened.
    pub(super) fn opened(
        &mut self,
        peer: usize,
        opening: StreamOpening,
        secure: Box<Secure>,
    ) -> Result<Vec<Delivery>, Reason> {
        if self.run != Some(opening.run) {
            return Err(Reason::Protocol("opened a stream of another run".into()));
        }
        let in_turn = if peer < self.me {
            self.may_come(peer, opening.cycle)
        } else {
            self.asked.remove(&(peer, opening.cycle))
        };
        if !in_turn {
            return Err(Reason::Protocol("opened a stream out of turn".into()));
        }
        self.take(peer, opening.cycle, secure)
    }

    /// Whether a stream of a lower peer may be the next.
    fn may_come(&self, peer: usize, cycle: u32) -> bool {
        let ahead = self.held.keys().filter(|(from, _)| *from == peer).count();
        !self.seen.contains(&(peer, cycle)) && ahead < MOST_AHEAD
    }

    fn take(
        &mut self,
        peer: usize,
        cycle: u32,
        secure: Box<Secure>,
    ) -> Result<Vec<Delivery>, Reason> {
        if !self.seen.insert((peer, cycle)) {
            return Err(Reason::Protocol("opened a stream twice".into()));
        }
        if peer > self.me {
            return Ok(vec![self.deliver(peer, secure)?]);
        }
        self.held.insert((peer, cycle), secure);
        self.release()
    }

    /// The local MPyC listens, or no longer does.
    pub(super) fn listen(&mut self, on: bool) -> Result<Vec<Delivery>, Reason> {
        self.listens += u32::from(on);
        self.listening = on;
        self.release()
    }

    /// Delivers what was held for the cycle that the local MPyC listens for.
    fn release(&mut self) -> Result<Vec<Delivery>, Reason> {
        let Some(now) = self.listens.checked_sub(1).filter(|_| self.listening) else {
            return Ok(Vec::new());
        };
        let due: Vec<_> = self.held.keys().filter(|(_, cycle)| *cycle == now).copied().collect();
        let held = due.into_iter().filter_map(|key| Some((key.0, self.held.remove(&key)?)));
        let held: Vec<_> = held.collect();
        held.into_iter().map(|(peer, secure)| self.deliver(peer, secure)).collect()
    }

    fn deliver(&mut self, peer: usize, secure: Box<Secure>) -> Result<Delivery, Reason> {
        while self.tasks.try_join_next().is_some() {}
        let failed = |error: io::Error| Reason::Local(format!("no socket pair: {error}").into());
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let ours = local::split(ours).map_err(failed)?;
        // A lower peer's MPyC begins with its index (2 bytes); the accepting one is silent on it.
        let claims = (peer < self.me).then_some(peer);
        self.tasks.spawn(forward::forward(peer, claims, *secure, ours, self.events.clone()));
        Ok(Delivery { peer, descriptor: theirs.into() })
    }
}

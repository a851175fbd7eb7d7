//! Getting to a port that another party exposes.
//!
//! Everything that is known about where that party is, is tried at once. The best kind of path is
//! taken as soon as it comes up, any other only when none better has after a moment (happy eyeballs).
//! The moment of a relayed connection is put to use: over it the other party is told where to dial, so
//! that the packets of both ends open each other's NATs (hole punching).

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mpyc_party_core::addr::Address;
use mpyc_party_core::expose::{Answer, Ask, MAX_MESSAGE_BYTES, Refusal};
use mpyc_party_core::path::{Kind, Target};
use mpyc_party_core::roster::PeerIndex;
use mpyc_party_transport::frame::FrameError;
use mpyc_party_transport::{Protocol, Secure, frame};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::accept::{Accepted, Admission, Arrival, Listener};
use crate::address_book::AddressBook;
use crate::dial::{BoxFuture, DialError, LocalEnd};
use crate::links::report::Attempt;
use crate::packets;
use crate::peers::SessionPeers;
use crate::segment_memory;
use crate::stack::Stack;

/// The index of the party that exposes, among the two.
const EXPOSING: PeerIndex = PeerIndex::new(1);
/// How long a relayed connection waits for a direct one: a few round trips across an ocean.
const DIRECT_DELAY: Duration = Duration::from_secs(1);
/// How long another direct one waits for the best, which costs less and tells at once when the other
/// process has died.
const BEST_DELAY: Duration = Duration::from_millis(200);
/// What is tried in all; whoever tells of more does not decide how much is dialled.
const MAX_TARGETS: usize = 64;
/// Pause before what failed is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How long the answer may take over a TCP connection before it is taken to have stalled.
const STALLED_AFTER: Duration = Duration::from_secs(3);
/// How long the other party may take to answer; what listens there has most of it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to the other party, who has shown its certificate.
#[derive(Debug)]
pub struct Reached {
    secure: Secure,
    kind: Kind,
    /// The hub that relays, «host:port».
    via: Option<String>,
    /// How to get there again, where this end dialled.
    again: Option<Box<(Attempts, Target)>>,
}

/// Why there is no connection to a port.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The other party says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It says something else.
    #[error("it does not answer: {0}")]
    Frame(#[from] FrameError),
    /// It says nothing.
    #[error("it does not answer in time")]
    Silent,
    /// It has gone.
    #[error("it does not answer: it hung up")]
    HungUp,
}

/// Reaches the other of the two `peers` wherever `book` finds it, within `wait`.
///
/// # Errors
/// What became of each target that was tried.
pub async fn reach(
    stack: &Arc<Stack>,
    peers: &SessionPeers,
    book: &mut AddressBook,
    local: &LocalEnd,
    wait: Duration,
) -> Result<Reached, Vec<Attempt>> {
    let attempts =
        Attempts { stack: Arc::clone(stack), peers: peers.clone(), local: local.clone() };
    let (end, mut known) = (Instant::now() + wait, BTreeSet::new());
    let mut failed: Vec<Attempt> = Vec::new();
    let mut running = JoinSet::new();
    let mut best: Option<Reached> = None;
    let mut due = end;
    // Those that dial this end, as they were told.
    let mut listeners = stack.listen(local).unwrap_or_default();
    book.start(local.clone());
    loop {
        tokio::select! {
            () = sleep_until(due) => return best.ok_or(failed),
            (_, found) = book.next() => for target in found.targets() {
                if known.len() < MAX_TARGETS && known.insert(target.clone()) {
                    running.spawn(attempts.clone().dial(target.clone(), Duration::ZERO));
                }
            },
            arrival = any(&mut listeners) => drop(running.spawn(attempts.clone().accept(arrival))),
            Some(Ok((target, outcome))) = running.join_next() => match outcome {
                Ok(reached) if Some(reached.kind) == stack.best() => return Ok(reached),
                Ok(mut reached) => {
                    if best.as_ref().is_some_and(|best| best.kind <= reached.kind) {
                        continue;
                    }
                    let moment = if reached.kind.relayed { DIRECT_DELAY } else { BEST_DELAY };
                    if !reached.kind.relayed || reached.meet(book.punchable()).await {
                        due = due.min(Instant::now() + moment);
                        best = Some(reached);
                    }
                }
                Err(error) => if let Some(target) = target {
                    log::debug!("{target}: {error}");
                    note(&mut failed, &target, error.to_string());
                    running.spawn(attempts.clone().dial(target, RETRY_PAUSE));
                }
            },
        }
    }
}

/// Keeps the newest outcome of each target.
fn note(failed: &mut Vec<Attempt>, target: &Target, outcome: String) {
    let (kind, candidate) = (target.kind.name.to_owned(), target.to_string());
    failed.retain(|attempt| attempt.candidate != candidate);
    failed.push(Attempt { kind, candidate, outcome });
}

/// The next one who comes at any of the `listeners`. May be cancelled.
async fn any(listeners: &mut [Box<dyn Listener>]) -> Box<dyn Arrival> {
    let mut all: Vec<BoxFuture<'_, Box<dyn Arrival>>> =
        listeners.iter_mut().map(|listener| listener.next()).collect();
    std::future::poll_fn(|context| {
        let ready = all.iter_mut().map(|next| next.as_mut().poll(context));
        ready.into_iter().find(std::task::Poll::is_ready).unwrap_or(std::task::Poll::Pending)
    })
    .await
}

type Tried = (Option<Target>, Result<Reached, DialError>);

/// What every attempt needs.
#[derive(Clone, Debug)]
struct Attempts {
    stack: Arc<Stack>,
    peers: SessionPeers,
    local: LocalEnd,
}

impl Attempts {
    async fn dial(self, target: Target, pause: Duration) -> Tried {
        sleep(pause).await;
        let Some(kind) = self.stack.kind(target.kind.name) else {
            return (Some(target), Err(DialError::Unreadable));
        };
        let reached = async {
            let (expect, local) = (self.expect(), self.local.clone());
            let context = self.peers.dial_context(EXPOSING, expect.clone(), local);
            let route = kind.route(target.address.clone(), context, Protocol::Expose).await?;
            let secure = route.open(Protocol::Expose, expect).await?;
            let via = route.via().map(str::to_owned);
            let again = Some(Box::new((self.clone(), target.clone())));
            Ok(Reached { secure, kind: target.kind, via, again })
        };
        let reached = timeout(kind.timeout(), reached).await;
        (Some(target), reached.unwrap_or(Err(DialError::Timeout)))
    }

    /// Lets the other party in, who dials as it was told.
    async fn accept(self, arrival: Box<dyn Arrival>) -> Tried {
        let (origin, expect) = (arrival.origin(), self.expect());
        let admission = Admission {
            identity: self.peers.identity(),
            server_names: self.peers.server_names(),
            protocols: &[Protocol::Expose],
            expect: expect.clone(),
        };
        let reached = async {
            let secure = match arrival.accept(admission).await.map_err(std::io::Error::other)? {
                Accepted::Connection(secure) => *secure,
                Accepted::Route(route) => route.open(Protocol::Expose, expect).await?,
            };
            Ok(Reached { secure, kind: origin.kind, via: origin.via, again: None })
        };
        (None, reached.await)
    }

    fn expect(&self) -> mpyc_party_transport::Expect {
        self.peers.expect(Some(EXPOSING), &self.peers.pins)
    }
}

impl Reached {
    /// The name of the kind of path.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind.name
    }

    /// Where the other party is, or the hub that relays.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        mpyc_party_core::addr::canonical(self.secure.address)
    }

    /// The hub that relays, «host:port».
    #[must_use]
    pub fn via(&self) -> Option<&str> {
        self.via.as_deref()
    }

    /// Asks the other party to dial, too; false where that cannot be said.
    async fn meet(&mut self, own: Vec<Address>) -> bool {
        let meet = Ask::Meet(own);
        let said = frame::write(&mut self.secure.stream, &meet, MAX_MESSAGE_BYTES);
        matches!(timeout(RETRY_PAUSE, said).await, Ok(Ok(())))
    }

    /// Asks for `port`; a connection to what listens there. Question and answer are carried by packets of
    /// full size. Where these vanish on the way, it is asked again over a connection with smaller ones.
    ///
    /// # Errors
    /// Where the other party refuses, or does not answer.
    pub async fn ask(mut self, port: u16) -> Result<Secure, ConnectError> {
        let (ip, segment) = (self.secure.address.ip(), self.secure.stream.segment_bytes());
        let Some((segment, again)) = segment.zip(self.again.take()) else {
            return self.ask_once(port, ANSWER_TIMEOUT).await;
        };
        match self.ask_once(port, STALLED_AFTER).await {
            Err(ConnectError::Silent) => {
                segment_memory::stalled(ip, segment);
                let (attempts, target) = *again;
                let (_, reached) = attempts.dial(target, Duration::ZERO).await;
                reached.map_err(|_| ConnectError::Silent)?.ask_once(port, ANSWER_TIMEOUT).await
            }
            answered => answered,
        }
    }

    async fn ask_once(mut self, port: u16, limit: Duration) -> Result<Secure, ConnectError> {
        let filler = packets::pipe_filler(&self.secure.stream);
        let stream = &mut self.secure.stream;
        let work = async {
            frame::write_before(stream, &Ask::Port(port), MAX_MESSAGE_BYTES, &filler).await?;
            frame::read::<Answer>(stream, MAX_MESSAGE_BYTES).await
        };
        match timeout(limit, work).await.map_err(|_| ConnectError::Silent)?? {
            Some(Answer::Connected) => Ok(self.secure),
            Some(Answer::Refused(refusal)) => Err(refusal.into()),
            None => Err(ConnectError::HungUp),
        }
    }
}

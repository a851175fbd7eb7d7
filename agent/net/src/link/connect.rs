//! Getting to a port that another party exposes.
//!
//! Every way to that party is tried at once. The best, TCP, is taken as soon as it comes up, any
//! other only when none better has after a moment. The moment of a relayed connection is put to use:
//! over it the other party is told where to dial, so that the packets of both ends open each other's
//! NATs.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use mpyc_party_core::candidate::{Candidate, canonical};
use mpyc_party_core::expose::{Answer, Ask, LONGEST, Refusal};
use mpyc_party_core::path::{Kind, Target};
use mpyc_party_transport::{Protocol, Secure, frame, quic};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::dial::{ATTEMPT, punch, relayed, tcp};
use super::report::Attempt;
use super::{BoxError, Circle, targets};
use crate::discovery::{Finder, Found};

/// The index of the party that exposes, in the circle of two.
const OTHER: usize = 1;
/// How long a relayed connection waits for a direct one: a few round trips across an ocean.
const SHORTLY: Duration = Duration::from_secs(1);
/// How long QUIC waits for TCP, which costs less and tells at once when the other process has died.
const BRIEFLY: Duration = Duration::from_millis(200);
/// Ways that are tried in all; whoever tells of more does not decide how much is dialled.
const MOST_TARGETS: usize = 64;
/// Pause before what failed is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the other party may take to answer; what listens there has most of it.
const ANSWER: Duration = Duration::from_secs(10);

/// A connection to the other party, who has shown its certificate.
#[derive(Debug)]
pub struct Reached {
    secure: Secure,
    /// The hub that relays, «host:port».
    via: Option<String>,
}

/// Why there is no connection to a port.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The other party says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It says nothing, or something else.
    #[error("it does not answer: {0}")]
    Unanswered(BoxError),
}

/// Reaches the other party of `circle` wherever `finder` finds it, within `wait`.
///
/// # Errors
/// What became of each way that was tried.
pub async fn reach(
    circle: &Circle,
    finder: &mut Finder,
    quic: Option<&quic::Endpoint>,
    wait: Duration,
) -> Result<Reached, Vec<Attempt>> {
    let ways = Ways { circle: circle.clone(), quic: quic.cloned() };
    let (end, mut known) = (Instant::now() + wait, BTreeSet::new());
    let mut failed: Vec<Attempt> = Vec::new();
    let mut attempts = JoinSet::new();
    let mut best: Option<Reached> = None;
    let mut due = end;
    finder.announce(None, quic.cloned());
    loop {
        tokio::select! {
            () = sleep_until(due) => return best.ok_or(failed),
            found = finder.next() => {
                let Found::Peer(_, at) = found else { continue };
                for target in targets(at.tcp(), at.udp(), at.hubs.clone()) {
                    if known.len() < MOST_TARGETS && known.insert(target.clone()) {
                        attempts.spawn(ways.clone().attempt(target, Duration::ZERO));
                    }
                }
            }
            incoming = dialled(quic) => drop(attempts.spawn(ways.clone().accept(incoming))),
            Some(Ok((target, outcome))) = attempts.join_next() => match outcome {
                Ok(reached) if reached.kind() == Kind::Tcp => return Ok(reached),
                Ok(mut reached) => {
                    if best.as_ref().is_some_and(|best| best.kind() <= reached.kind()) {
                        continue;
                    }
                    let moment = match reached.kind() {
                        Kind::Relay => SHORTLY,
                        _ => BRIEFLY,
                    };
                    let own = quic.map(|quic| finder.reachable(quic.port())).unwrap_or_default();
                    if reached.kind() == Kind::Quic || reached.meet(own).await {
                        due = due.min(Instant::now() + moment);
                        best = Some(reached);
                    }
                }
                Err(error) => if let Some(target) = target {
                    log::debug!("{target}: {error}");
                    note(&mut failed, &target, error.to_string());
                    attempts.spawn(ways.clone().attempt(target, PAUSE));
                }
            },
        }
    }
}

/// Keeps the newest outcome of each target.
fn note(failed: &mut Vec<Attempt>, target: &Target, outcome: String) {
    let candidate = target.to_string();
    failed.retain(|attempt| attempt.candidate != candidate);
    failed.push(Attempt { candidate, outcome });
}

/// The next one who dials this end. May be cancelled.
async fn dialled(quic: Option<&quic::Endpoint>) -> quic::QuicIncoming {
    if let Some(quic) = quic
        && let Some(incoming) = quic.next().await
    {
        return incoming;
    }
    std::future::pending().await
}

type Tried = (Option<Target>, Result<Reached, BoxError>);

/// What every attempt needs.
#[derive(Clone)]
struct Ways {
    circle: Circle,
    quic: Option<quic::Endpoint>,
}

impl Ways {
    async fn attempt(self, target: Target, pause: Duration) -> Tried {
        sleep(pause).await;
        // A relay needs as long for its own part.
        let limit = if target.kind == Kind::Relay { 2 * ATTEMPT } else { ATTEMPT };
        let reached = timeout(limit, self.dial(&target)).await;
        (Some(target), reached.unwrap_or_else(|_| Err("no answer".into())))
    }

    async fn dial(&self, Target { kind, place }: &Target) -> Result<Reached, BoxError> {
        let circle = &self.circle;
        let expect = circle.expect(Some(OTHER), &circle.pins);
        let via = (*kind == Kind::Relay).then(|| place.clone());
        let secure = match kind {
            Kind::Tcp => tcp(circle, place, Protocol::Expose, &expect).await?,
            Kind::Relay => relayed(circle, place, OTHER, Protocol::Expose, &expect).await?,
            Kind::Quic => {
                let endpoint = self.quic.as_ref().ok_or("there is no UDP socket")?;
                let at: SocketAddr = place.parse()?;
                let connection = punch(circle, endpoint, at, Protocol::Expose, &expect).await?;
                connection.open(Protocol::Expose).await?
            }
        };
        Ok(Reached { secure, via })
    }

    /// Lets the other party in, who dials as it was told.
    async fn accept(self, incoming: quic::QuicIncoming) -> Tried {
        let (circle, protocol) = (&self.circle, Protocol::Expose);
        let (identity, name) = (circle.identity(), circle.tag.server_name());
        let expect = circle.expect(Some(OTHER), &circle.pins);
        let work = async {
            let connection = incoming.accept(&identity, protocol, &name, &expect).await?;
            Ok(Reached { secure: connection.open(protocol).await?, via: None })
        };
        (None, work.await)
    }
}

impl Reached {
    /// The kind of path.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.secure.path()
    }

    /// Where the other party is, or the hub that relays.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        canonical(self.secure.address)
    }

    /// The hub that relays, «host:port».
    #[must_use]
    pub fn via(&self) -> Option<&str> {
        self.via.as_deref()
    }

    /// Asks the other party to dial, too; false where that cannot be said.
    async fn meet(&mut self, own: Vec<Candidate>) -> bool {
        let meet = Ask::Meet(own);
        let said = frame::write(&mut self.secure.stream, &meet, LONGEST);
        matches!(timeout(PAUSE, said).await, Ok(Ok(())))
    }

    /// Asks for `port`; a connection to what listens there.
    ///
    /// # Errors
    /// Where the other party refuses, or does not answer.
    pub async fn ask(mut self, port: u16) -> Result<Secure, ConnectError> {
        let stream = &mut self.secure.stream;
        let work = async {
            frame::write(stream, &Ask::Port(port), LONGEST).await?;
            frame::read::<Answer>(stream, LONGEST).await
        };
        let answer = timeout(ANSWER, work).await;
        match answer.map_err(|error| ConnectError::Unanswered(error.into()))? {
            Ok(Some(Answer::Connected)) => Ok(self.secure),
            Ok(Some(Answer::Refused(refusal))) => Err(refusal.into()),
            Ok(None) => Err(ConnectError::Unanswered("it hung up".into())),
            Err(error) => Err(ConnectError::Unanswered(error.into())),
        }
    }
}

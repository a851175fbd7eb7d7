//! Asking a peer for something else than a run: over every kind of path that the peer need not open
//! from its side, for it does not look for one who only asks; over a relay where no direct one comes
//! about at once.

use std::sync::Arc;
use std::time::Duration;

use mpyc_party_core::agreement::{Entry, EntryError};
use mpyc_party_core::control::{Control, MAX_CONTROL_BYTES, MAX_OPENING_BYTES, Purpose};
use mpyc_party_core::path::Target;
use mpyc_party_core::roster::{PeerIndex, Roster};
use mpyc_party_transport::frame::FrameError;
use mpyc_party_transport::{Protocol, Secure, frame};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::accept::shown;
use crate::address_book::PeerAddresses;
use crate::dial::{DIAL_TIMEOUT, DialError, LocalEnd, Route};
use crate::peers::SessionPeers;
use crate::stack::Stack;

/// How long the direct kinds are on their own.
const RELAY_DELAY: Duration = Duration::from_millis(500);

/// A connection to a peer that has shown its certificate.
#[derive(Debug)]
pub struct Probe {
    pub(crate) secure: Secure,
    kind: &'static str,
    address: String,
    route: Arc<dyn Route>,
}

/// Why a peer could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It is not reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// What it says cannot be read.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// It says nothing.
    #[error("it does not answer")]
    Silent,
    /// What it would run cannot be read.
    #[error("its entry cannot be read: {0}")]
    Entry(EntryError),
    /// What it shows is somebody else's.
    #[error("its entry is not its own")]
    OtherEntry,
    /// It does not keep to the protocol.
    #[error("it answers something else")]
    OtherAnswer,
    /// It has nothing to show so far.
    #[error("it is not ready yet")]
    NotReady,
}

/// What may be tried of `addresses` by somebody who only asks.
pub fn targets(addresses: &PeerAddresses) -> impl Iterator<Item = &Target> {
    addresses.targets().filter(|target| !target.kind.opens_nats)
}

impl Probe {
    /// Connects to `peer` wherever it may be, and says what for.
    pub(crate) async fn open(
        stack: &Arc<Stack>,
        peers: &SessionPeers,
        peer: PeerIndex,
        addresses: &PeerAddresses,
        purpose: Purpose,
    ) -> Result<Self, ProbeError> {
        let mut attempts = JoinSet::new();
        let direct = targets(addresses).any(|target| !target.kind.relayed);
        for target in targets(addresses).cloned() {
            let pause = if direct && target.kind.relayed { RELAY_DELAY } else { Duration::ZERO };
            let (stack, peers) = (Arc::clone(stack), peers.clone());
            attempts.spawn(async move {
                sleep(pause).await;
                dial(&stack, peers, peer, target).await
            });
        }
        let mut last = DialError::NoAddress;
        while let Some(attempt) = attempts.join_next().await {
            match attempt {
                Ok(Ok(mut probe)) => {
                    frame::write(&mut probe.secure.stream, &purpose, MAX_OPENING_BYTES).await?;
                    return Ok(probe);
                }
                Ok(Err(error)) => last = error,
                // Nobody cancels them, and what panicked has said so.
                Err(_) => {}
            }
        }
        Err(last.into())
    }

    /// The name of the kind of path.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Where the peer is, or the hub that relays.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The hub that relays, «host:port».
    #[must_use]
    pub fn via(&self) -> Option<&str> {
        self.route.via()
    }
}

async fn dial(
    stack: &Stack,
    peers: SessionPeers,
    peer: PeerIndex,
    target: Target,
) -> Result<Probe, DialError> {
    let kind = stack.kind(target.kind.name).ok_or(DialError::Unreadable)?;
    let expect = peers.expect(Some(peer), &peers.pins);
    let context = peers.dial_context(peer, expect.clone(), LocalEnd::default());
    let attempt = async {
        let route = kind.route(target.address.clone(), context, Protocol::Check).await?;
        let secure = route.open(Protocol::Check, expect).await?;
        let address = shown(secure.address, &target.address.value.escape_ascii().to_string());
        Ok(Probe { secure, kind: target.kind.name, address, route })
    };
    timeout(kind.timeout(), attempt).await.map_err(|_| DialError::Timeout)?
}

/// What a peer shows to one who asks.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Whom it names in its session.
    pub roster: Roster,
    /// What it would run.
    pub entry: Entry,
}

/// Asks `peer`, wherever it may be, what it would run, and with whom.
///
/// # Errors
/// Why it could not be asked.
pub async fn inquire(
    stack: &Arc<Stack>,
    peers: &SessionPeers,
    peer: PeerIndex,
    addresses: &PeerAddresses,
) -> Result<Shown, ProbeError> {
    let mut secure = Probe::open(stack, peers, peer, addresses, Purpose::Check).await?.secure;
    let (name, key) = (secure.peer.party().cloned(), secure.peer.key);
    let answers = async {
        let Control::Roster(roster) = answer(&mut secure).await? else {
            return Err(ProbeError::OtherAnswer);
        };
        match answer(&mut secure).await? {
            Control::Entry(entry) => Ok((roster, entry)),
            _ => Err(ProbeError::OtherAnswer),
        }
    };
    let answers = timeout(2 * DIAL_TIMEOUT, answers).await;
    let (roster, entry) = answers.map_err(|_| ProbeError::Silent)??;
    let entry = entry.decode().map_err(ProbeError::Entry)?;
    let own = Some(&entry.party) == name.as_ref() && entry.key == key;
    if own { Ok(Shown { roster, entry }) } else { Err(ProbeError::OtherEntry) }
}

async fn answer(secure: &mut Secure) -> Result<Control, ProbeError> {
    let answer = frame::read(&mut secure.stream, MAX_CONTROL_BYTES).await?;
    answer.ok_or(ProbeError::NotReady)
}

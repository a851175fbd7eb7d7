//! The dialling side: every candidate at once, again and again, until there is a link.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mpyc_party_core::agreement::Entry;
use mpyc_party_core::control::{Control, LARGEST_CONTROL, LARGEST_OPENING, Purpose, StreamOpening};
use mpyc_party_transport::{Expect, Protocol, Secure, frame};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::accept::settle;
use super::{Circle, Pipe, Shared, Streams};

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long a connection attempt may take.
pub(super) const ATTEMPT: Duration = Duration::from_secs(5);
/// Pause between two rounds of attempts, at first and at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];
/// Addresses that are tried in one round.
const MOST_ADDRESSES: usize = 32;

/// Dials the candidates of `peer` whenever there is no control link to it.
pub(super) async fn keep_linked(
    shared: Arc<Shared>,
    peer: usize,
    mut candidates: watch::Receiver<Vec<String>>,
    pipes: mpsc::Sender<Pipe>,
) {
    let mut changes = shared.changes.subscribe();
    let mut pause = PAUSES[0];
    loop {
        while shared.linked(peer) {
            pause = PAUSES[0];
            if changes.changed().await.is_err() {
                return;
            }
        }
        let known = candidates.borrow_and_update().clone();
        if let Ok((secure, address)) = race(&shared.circle, peer, &known, Purpose::Run).await
            && let Err(error) = settle(&shared, peer, secure, Some(address), &pipes).await
        {
            log::debug!("the link dialled to {} is not used: {error}", shared.circle.name(peer));
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSES[1]),
            changed = candidates.changed() => match changed {
                Ok(()) => pause = PAUSES[0],
                Err(_) => return,
            },
            _ = changes.changed() => {}
        }
    }
}

/// Dials all `candidates` at once; the first that passes the handshake wins. The error is that of
/// the last to fail.
pub(super) async fn race(
    circle: &Circle,
    peer: usize,
    candidates: &[String],
    purpose: Purpose,
) -> Result<(Secure, SocketAddr), BoxError> {
    let mut attempts = JoinSet::new();
    let mut last = BoxError::from("none of its addresses can be found");
    for address in resolve(candidates).await {
        let (circle, expect) = (circle.clone(), circle.expect(Some(peer)));
        let protocol = match purpose {
            Purpose::Run => Protocol::Control,
            Purpose::Check | Purpose::Ping => Protocol::Check,
        };
        attempts.spawn(async move {
            let secure = connect(&circle, address, protocol, &expect).await;
            (address, secure)
        });
    }
    while let Some(attempt) = attempts.join_next().await {
        match attempt {
            Ok((address, Ok(mut secure))) => {
                match frame::write(&mut secure.stream, &purpose, LARGEST_OPENING).await {
                    Ok(()) => return Ok((secure, address)),
                    Err(error) => last = error.into(),
                }
            }
            Ok((address, Err(error))) => {
                log::debug!("{} at {address}: {error}", circle.name(peer));
                last = error;
            }
            Err(_) => {}
        }
    }
    Err(last)
}

async fn resolve(candidates: &[String]) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for candidate in candidates {
        match timeout(ATTEMPT, lookup_host(candidate)).await {
            Ok(Ok(found)) => addresses.extend(found),
            Ok(Err(error)) => log::debug!("{candidate}: {error}"),
            Err(_) => log::debug!("{candidate}: no answer from the name service"),
        }
    }
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MOST_ADDRESSES);
    addresses
}

async fn connect(
    circle: &Circle,
    address: SocketAddr,
    protocol: Protocol,
    expect: &Expect,
) -> Result<Secure, BoxError> {
    let attempt = async {
        let tcp = TcpStream::connect(address).await?;
        let (identity, name) = (circle.identity(), circle.tag.server_name());
        Ok(mpyc_party_transport::connect(tcp, &identity, protocol, expect, &name).await?)
    };
    timeout(ATTEMPT, attempt).await?
}

/// Asks `peer` what it would run.
///
/// # Errors
/// Why it could not be asked, in words for people.
pub async fn inquire(
    circle: &Circle,
    peer: usize,
    candidates: &[String],
) -> Result<Entry, BoxError> {
    let (mut secure, _) = race(circle, peer, candidates, Purpose::Check).await?;
    let (name, key) = (secure.peer.party().cloned(), secure.peer.key);
    let answer = frame::read::<Control>(&mut secure.stream, LARGEST_CONTROL);
    match timeout(2 * ATTEMPT, answer).await?? {
        Some(Control::Entry(entry)) if Some(&entry.party) == name.as_ref() && entry.key == key => {
            Ok(entry)
        }
        Some(_) => Err("it answers something else".into()),
        None => Err("it is not ready yet".into()),
    }
}

/// Why a stream could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The peer dialled the control link, so it has to dial the stream too.
    #[error("the peer has to dial")]
    PeerDials,
    /// There is no control link to it.
    #[error("there is no link to it")]
    NoLink,
    /// It could not be reached, or it is not who it should be.
    #[error(transparent)]
    Dial(BoxError),
}

impl Streams {
    /// Opens a stream to `peer`, which must have the key of the control link.
    ///
    /// # Errors
    /// [`StreamError::PeerDials`] where this party has to ask for it.
    pub async fn open(&self, peer: usize, opening: StreamOpening) -> Result<Secure, StreamError> {
        let slot = self.0.slots()[peer].as_ref().map(|slot| (slot.address, slot.key));
        let (address, key) = slot.ok_or(StreamError::NoLink)?;
        let address = address.ok_or(StreamError::PeerDials)?;
        let expect = Expect::Parties(vec![(self.0.circle.name(peer).clone(), Some(key))]);
        let opened = async {
            let mut secure = connect(&self.0.circle, address, Protocol::Stream, &expect).await?;
            frame::write(&mut secure.stream, &opening, LARGEST_OPENING).await?;
            Ok(secure)
        };
        opened.await.map_err(StreamError::Dial)
    }
}

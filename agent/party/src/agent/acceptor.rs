//! The acceptor of the one public port: it looks at whom each connection asks for, by the TLS server name
//! (SNI), and hands it on to that runner.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mpyc_party_core::control::{MAX_OPENING_BYTES, Purpose};
use mpyc_party_core::name::{PartyName, SessionName};
use mpyc_party_core::sni::Tag;
use mpyc_party_net::peers::SessionPeers;
use mpyc_party_net::ping::{self, PingError};
use mpyc_party_transport::handshake_limiter::{self, HandshakeLimiter, HandshakeLimits};
use mpyc_party_transport::task::{Connections, Heartbeat};
use mpyc_party_transport::{Incoming, Protocol, Secure, TransportError, frame, peek};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::registry::RunnerRegistry;

/// How long a party may take to say what it asks.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that may be coming in at once.
const MAX_CONNECTIONS: usize = 512;
/// Pings that are answered at once. Each may last for hours: more of them would keep out whoever
/// comes for a session.
const MAX_PINGS: usize = 64;

/// The declared sessions and their peers, by what stands for them in public.
pub(super) type SessionsByTag = Arc<BTreeMap<Tag, (SessionName, SessionPeers)>>;

/// A party of a session's roster dialled to run it, and no runner is there.
#[derive(Debug)]
pub(super) struct Proposal {
    /// The session.
    pub(super) session: SessionName,
    /// Who.
    pub(super) party: PartyName,
}

/// Accepts at the public port.
#[derive(Clone)]
pub(super) struct Acceptor {
    registry: RunnerRegistry,
    sessions: watch::Receiver<SessionsByTag>,
    proposals: mpsc::Sender<Proposal>,
    pings: Arc<Semaphore>,
}

impl Acceptor {
    /// Hands connections to the runners of `registry`; where there is none, answers for the declared `sessions`, and tells
    /// `proposals` who wants to run one.
    pub(super) fn new(
        registry: RunnerRegistry,
        sessions: watch::Receiver<SessionsByTag>,
        proposals: mpsc::Sender<Proposal>,
    ) -> Self {
        Self { registry, sessions, proposals, pings: Arc::new(Semaphore::new(MAX_PINGS)) }
    }

    /// Accepts on `listener` for ever.
    pub(super) async fn run(self, listener: TcpListener, mut heartbeat: Heartbeat) {
        let limiter = HandshakeLimiter::new(HandshakeLimits::default());
        let mut connections = Connections::new("a connection at the public port");
        loop {
            let (tcp, from) = tokio::select! {
                next = handshake_limiter::accept_next(|| listener.accept()) => next,
                () = connections.next_ended() => continue,
                () = heartbeat.tick() => continue,
            };
            if connections.len() >= MAX_CONNECTIONS {
                log::warn!("too many connections at once: the one from {from} is closed");
                continue;
            }
            let (acceptor, limiter) = (self.clone(), limiter.clone());
            connections.spawn(async move {
                match limiter.decide(from, acceptor.admit(tcp, from)).await {
                    // One that finds the queue full comes again.
                    Ok(Some(Caller::Proposes(proposal))) => {
                        drop(acceptor.proposals.try_send(proposal))
                    }
                    Ok(Some(Caller::Pings(mut secure))) => {
                        let Ok(_permit) = acceptor.pings.try_acquire() else {
                            log::debug!("too many pings at once: {from} is not answered");
                            return;
                        };
                        if let Err(error) = answer(&mut secure).await {
                            log::debug!("the question from {from} is not answered: {error}");
                        }
                    }
                    Ok(None) => {}
                    Err(error) => log::debug!("connection from {from} refused: {error}"),
                }
            });
        }
    }

    /// Hands the connection to the runner it asks for. Where there is none, but the session is
    /// declared, the handshake is done here, to learn who wants to run it.
    async fn admit(
        &self,
        tcp: TcpStream,
        from: SocketAddr,
    ) -> Result<Option<Caller>, TransportError> {
        let name = peek::server_name(&tcp, from).await?;
        let tag = name.and_then(|name| Tag::from_server_name(&name).ok());
        let Some(tcp) = self.registry.hand_over(tag.as_ref(), tcp) else { return Ok(None) };
        let declared = tag.and_then(|tag| self.sessions.borrow().get(&tag).cloned());
        let incoming = Incoming::read(tcp).await?;
        let Some((session, peers)) = declared else { return Err(incoming.refuse_name().await) };
        let Some(protocol @ (Protocol::Control | Protocol::Check)) = incoming.protocol() else {
            return Err(incoming.refuse_protocol().await);
        };
        let (identity, expect) = (peers.identity(), peers.expect(None, &peers.pins));
        if protocol == Protocol::Check {
            let secure = incoming.accept(&identity, protocol, &expect).await?;
            return Ok(Some(Caller::Pings(Box::new(secure))));
        }
        // Not accepted, or the peer would take this for the link to a runner: it comes again.
        let peer = incoming.identify(&identity, protocol, &expect).await?;
        let proposal =
            |party: &PartyName| Caller::Proposes(Proposal { session, party: party.clone() });
        Ok(peer.party().map(proposal))
    }
}

/// A party of a session's roster, where no runner is.
enum Caller {
    /// It wants to run the session.
    Proposes(Proposal),
    /// It only pings.
    Pings(Box<Secure>),
}

/// Answers a ping. What would be run, only a runner can tell.
async fn answer(secure: &mut Secure) -> Result<(), PingError> {
    let purpose = frame::read::<Purpose>(&mut secure.stream, MAX_OPENING_BYTES);
    match timeout(REQUEST_TIMEOUT, purpose).await.map_err(|_| PingError::Silent)?? {
        Some(Purpose::Ping) => ping::answer(secure).await,
        _ => Ok(()),
    }
}

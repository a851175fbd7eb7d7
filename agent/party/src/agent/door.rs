//! The one public port: who comes is looked at, and handed on.

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

use super::runners::Runners;

/// How long a party may take to say what it asks.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that may be coming in at once.
const MAX_CONNECTIONS: usize = 512;
/// Pings that are answered at once. Each may last for hours: more of them would keep out whoever
/// comes for a session.
const MAX_PINGS: usize = 64;

/// The declared sessions, by what stands for them in public.
pub(super) type Circles = Arc<BTreeMap<Tag, (SessionName, SessionPeers)>>;

/// A party of a session's roster wants to run it, and no runner is there.
#[derive(Debug)]
pub(super) struct Knock {
    /// The session.
    pub(super) session: SessionName,
    /// Who.
    pub(super) party: PartyName,
}

/// Behind the public port.
#[derive(Clone)]
pub(super) struct Door {
    runners: Runners,
    circles: watch::Receiver<Circles>,
    knocks: mpsc::Sender<Knock>,
    askers: Arc<Semaphore>,
}

impl Door {
    /// Hands connections to `runners`; where there is none, answers for these `circles`, and tells
    /// `knocks` who wants to run a session.
    pub(super) fn new(
        runners: Runners,
        circles: watch::Receiver<Circles>,
        knocks: mpsc::Sender<Knock>,
    ) -> Self {
        Self { runners, circles, knocks, askers: Arc::new(Semaphore::new(MAX_PINGS)) }
    }

    /// Accepts on `listener` for ever.
    pub(super) async fn serve(self, listener: TcpListener, mut heartbeat: Heartbeat) {
        let limiter = HandshakeLimiter::new(HandshakeLimits::default());
        let mut guests = Connections::new("a connection at the public port");
        loop {
            let (tcp, from) = tokio::select! {
                next = handshake_limiter::accept_next(&listener) => next,
                () = guests.next_ended() => continue,
                () = heartbeat.tick() => continue,
            };
            if guests.len() >= MAX_CONNECTIONS {
                log::warn!("too many connections at once: the one from {from} is closed");
                continue;
            }
            let (door, limiter) = (self.clone(), limiter.clone());
            guests.spawn(async move {
                match limiter.decide(from, door.admit(tcp, from)).await {
                    // One that finds the queue full comes again.
                    Ok(Some(Guest::Knocks(knock))) => drop(door.knocks.try_send(knock)),
                    Ok(Some(Guest::Asks(mut secure))) => {
                        let Ok(_seat) = door.askers.try_acquire() else {
                            log::debug!("too many ping at once: {from} is not answered");
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
    ) -> Result<Option<Guest>, TransportError> {
        let name = peek::server_name(&tcp, from).await?;
        let tag = name.and_then(|name| Tag::from_server_name(&name).ok());
        let Some(tcp) = self.runners.hand_over(tag.as_ref(), tcp) else { return Ok(None) };
        let declared = tag.and_then(|tag| self.circles.borrow().get(&tag).cloned());
        let incoming = Incoming::read(tcp).await?;
        let Some((session, circle)) = declared else { return Err(incoming.refuse_name().await) };
        let Some(protocol @ (Protocol::Control | Protocol::Check)) = incoming.protocol() else {
            return Err(incoming.refuse_protocol().await);
        };
        let (identity, expect) = (circle.identity(), circle.expect(None, &circle.pins));
        if protocol == Protocol::Check {
            let secure = incoming.accept(&identity, protocol, &expect).await?;
            return Ok(Some(Guest::Asks(Box::new(secure))));
        }
        // Not accepted, or the peer would take this for the link to a runner: it comes again.
        let peer = incoming.identify(&identity, protocol, &expect).await?;
        let knock = |party: &PartyName| Guest::Knocks(Knock { session, party: party.clone() });
        Ok(peer.party().map(knock))
    }
}

/// A party of a session's roster, where no runner is.
enum Guest {
    /// It wants to run the session.
    Knocks(Knock),
    /// It only asks.
    Asks(Box<Secure>),
}

/// Answers a ping. What would be run, only a runner can tell.
async fn answer(secure: &mut Secure) -> Result<(), PingError> {
    let purpose = frame::read::<Purpose>(&mut secure.stream, MAX_OPENING_BYTES);
    match timeout(REQUEST_TIMEOUT, purpose).await.map_err(|_| PingError::Silent)?? {
        Some(Purpose::Ping) => ping::answer(secure).await,
        _ => Ok(()),
    }
}

//! Accepting: who comes in, over whatever kind of path, and how many at once.
//!
//! A [`Listener`] brings one [`Arrival`] after the other; [`serve`] decides each in a task of its own,
//! and a [`Reception`] says whom it admits and does the rest. Who does not know the tag is shown no
//! certificate, and who is not expected gets no further than that. Undecided handshakes, connections
//! in all and connections of one party are bounded.

mod entrance;
pub mod permits;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mpyc_party_core::claims::Claims;
use mpyc_party_core::expose::Refusal;
use mpyc_party_core::path::Kind;
use mpyc_party_transport::task::Connections;
use mpyc_party_transport::{
    Expect, Identity, Incoming, Protocol, RawStream, Secure, TransportError,
};
use tokio::time::sleep;

use crate::client::RequestError;
use crate::route::{BoxFuture, DialError, Route};
use permits::{ConnectionPermits, Permit};

pub use entrance::{Entrance, bind_exactly};

/// Connections that may be there at once at one listener.
pub const MAX_CONNECTIONS: usize = 512;

/// Where connections of one kind of path come in.
pub trait Listener: Send {
    /// The next one; never ends. May be cancelled.
    fn next(&mut self) -> BoxFuture<'_, Box<dyn Arrival>>;
}

/// An incoming connection before anything is decided, also before its handshake. Dropped, it is turned
/// away.
pub trait Arrival: Send {
    /// From where.
    fn origin(&self) -> Origin;

    /// Completes the handshake with one who is admitted.
    fn accept(
        self: Box<Self>,
        admission: Admission,
    ) -> BoxFuture<'static, Result<Accepted, AcceptError>>;

    /// Turns it away and says so, where the kind has a way to.
    fn refuse(self: Box<Self>) {}
}

/// From where somebody comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The kind of path.
    pub kind: Kind,
    /// The other end's address, or the relaying hub's.
    pub address: String,
    /// The hub that relays, «host:port».
    pub via: Option<String>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.via {
            Some(hub) => write!(f, "through hub {hub}"),
            None => write!(f, "from {} over {}", self.address, self.kind),
        }
    }
}

/// Who is let in, and what for.
#[derive(Clone, Debug)]
pub struct Admission {
    /// As whom this party is there.
    pub identity: Identity,
    /// Who asks for none of these names is shown no certificate.
    pub server_names: Arc<[String]>,
    /// What a connection may be for; never empty.
    pub protocols: &'static [Protocol],
    /// Whom the handshake admits.
    pub expect: Expect,
}

/// What a completed handshake has brought.
#[derive(Debug)]
pub enum Accepted {
    /// One connection.
    Connection(Box<Secure>),
    /// A route on which the other end opens connections.
    Route(Arc<dyn Route>),
}

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// In the handshake.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The hub whose call it was does not connect.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The route has ended.
    #[error(transparent)]
    Route(#[from] DialError),
    /// There is no room.
    #[error("{0}")]
    Full(Refusal),
    /// Hubs and authorities take part in nothing.
    #[error("it is no party")]
    NotParty,
}

/// The handshake with whoever is at the other end of a stream of bytes.
///
/// # Errors
/// Says who is there instead, or what it asked for.
pub async fn handshake(
    raw: impl Into<RawStream>,
    admission: &Admission,
) -> Result<Secure, TransportError> {
    let incoming = Incoming::read(raw).await?;
    if !incoming.server_name().is_some_and(|name| admission.server_names.contains(&name)) {
        return Err(incoming.refuse_name().await);
    }
    match incoming.protocol().filter(|protocol| admission.protocols.contains(protocol)) {
        Some(protocol) => incoming.accept(&admission.identity, protocol, &admission.expect).await,
        None => Err(incoming.refuse_protocol().await),
    }
}

/// An acceptor: whoever lets others in. It says whom the handshake admits, and takes over the
/// connections that have been accepted.
pub trait Reception: Send + Sync + 'static {
    /// Why an admitted connection came to nothing.
    type Error: From<AcceptError> + fmt::Display + Send;

    /// Who is let in now.
    fn admission(&self) -> Admission;

    /// Who is there, and how many more may be.
    fn permits(&self) -> &ConnectionPermits;

    /// How long a route may be there without a connection on it; for ever where that is not said.
    fn idle_timeout(&self) -> Option<Duration> {
        None
    }

    /// Takes an admitted connection to where it wants.
    fn welcome(
        self: Arc<Self>,
        secure: Secure,
        origin: Origin,
    ) -> BoxFuture<'static, Result<(), Self::Error>>;

    /// Somebody was turned away, or its connection came to nothing.
    fn refused(&self, origin: &Origin, error: &Self::Error) {
        log::debug!("a connection {origin} is refused: {error}");
    }
}

/// Lets in whoever comes at `listener`, for ever.
pub async fn serve<R: Reception>(reception: Arc<R>, mut listener: Box<dyn Listener>) {
    let mut connections = Connections::new("an incoming connection");
    loop {
        let arrival = listener.next().await;
        connections.reap();
        if connections.len() >= MAX_CONNECTIONS {
            log::warn!("too many connections at once: one {} is closed", arrival.origin());
            arrival.refuse();
            continue;
        }
        let reception = Arc::clone(&reception);
        connections.spawn(async move {
            let origin = arrival.origin();
            if let Err(error) = receive(&reception, arrival, &origin).await {
                reception.refused(&origin, &error);
            }
        });
    }
}

async fn receive<R: Reception>(
    reception: &Arc<R>,
    arrival: Box<dyn Arrival>,
    origin: &Origin,
) -> Result<(), R::Error> {
    match arrival.accept(reception.admission()).await? {
        Accepted::Connection(secure) => {
            let _permit = permit(&**reception, &secure.peer)?;
            Arc::clone(reception).welcome(*secure, origin.clone()).await
        }
        Accepted::Route(route) => attend(reception, route, origin).await,
    }
}

/// A place for one more connection of this peer.
fn permit<R: Reception>(reception: &R, peer: &Claims) -> Result<Permit, R::Error> {
    let party = peer.party().ok_or(AcceptError::NotParty)?;
    Ok(reception.permits().take(party).map_err(AcceptError::Full)?)
}

/// Takes in every connection that the other end opens on `route`, until that has ended or is of no
/// use to anybody.
///
/// # Errors
/// Why it has ended.
pub async fn attend<R: Reception>(
    reception: &Arc<R>,
    route: Arc<dyn Route>,
    origin: &Origin,
) -> Result<(), R::Error> {
    let peer = route.peer().ok_or(AcceptError::NotParty)?;
    let _permit = permit(&**reception, peer)?;
    let mut connections = Connections::new("a connection on a route");
    loop {
        let idle = reception.idle_timeout().filter(|_| connections.is_empty());
        let secure = tokio::select! {
            secure = route.accept() => secure.map_err(AcceptError::Route)?,
            () = connections.next_ended() => continue,
            () = sleep(idle.unwrap_or_default()), if idle.is_some() => return Ok(()),
        };
        if connections.len() >= MAX_CONNECTIONS {
            continue;
        }
        let (reception, origin) = (Arc::clone(reception), origin.clone());
        connections.spawn(async move {
            if let Err(error) = Arc::clone(&reception).welcome(secure, origin.clone()).await {
                reception.refused(&origin, &error);
            }
        });
    }
}

/// The address at which a connection ends, for people: `elsewhere` where it is no socket address.
pub(crate) fn shown(address: SocketAddr, elsewhere: &str) -> String {
    match address {
        unknown if unknown.ip().is_unspecified() => elsewhere.to_owned(),
        address => mpyc_party_core::addr::canonical(address).to_string(),
    }
}

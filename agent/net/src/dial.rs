//! Dialling: how one kind of path is tried, and what it brings.
//!
//! A kind of path is a [`PathKind`]: one file, and one row of the table in [`standard`]. Links,
//! carriers of streams, `ping`, `connect` and `expose` all go through it, so that nothing else knows
//! which kinds there are. A [`Route`] is what a kind finds: a way to one peer, on which connections
//! are opened, each with the peer's certificate checked.
//!
//! Whoever tells an address makes this party dial it: each kind therefore has a policy of its own,
//! [`PathKind::check`], and there is none by default.

mod quic;
mod relay;
mod tcp;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mpyc_party_core::addr::{Address, Reflexive, Refusal, Vantage};
use mpyc_party_core::name::PartyName;
use mpyc_party_core::path::Kind;
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::{
    Expect, Identity, Protocol, RawStream, Secure, connect, quic as transport_quic,
};
use tokio::sync::watch;

use crate::accept::{Entrance, Listener};

pub use crate::route::{BoxFuture, DialError, Route};

pub use relay::{Call, address as relay_address};

/// The kind of what comes in at the public port, and of a configured address that names none.
pub const DEFAULT_KIND: Kind = tcp::KIND;

/// Who comes in at the public port, with a bound on undecided handshakes.
#[must_use]
pub fn public_port(entrance: Entrance) -> Box<dyn Listener> {
    Box::new(tcp::PublicPort::new(entrance))
}

/// How long an attempt may take.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Every kind of path that comes with mpyc-party, one row each.
#[must_use]
pub fn standard() -> Vec<Arc<dyn PathKind>> {
    vec![Arc::new(tcp::Tcp), Arc::new(quic::Quic), Arc::new(relay::Relay)]
}

/// A kind of path: how it is named, preferred, announced, checked, dialled and listened for.
///
/// It gets no settings: what it has to know is in [`LocalEnd`], or was given to its constructor.
pub trait PathKind: fmt::Debug + Send + Sync {
    /// Its row: name, preference, and what else the choice between kinds goes by.
    fn kind(&self) -> Kind;

    /// What people call it, as in «direct, TCP».
    fn label(&self) -> &'static str;

    /// Whether an address of this kind that was told at `vantage` may be dialled.
    ///
    /// # Errors
    /// Says why not.
    fn check(&self, address: &Address, vantage: Vantage) -> Result<(), Refusal>;

    /// Where this process can be reached over this kind now. It may be asked before
    /// [`listen`](Self::listen), as `expose` does, so the addresses must not depend on that.
    fn own(&self, local: &LocalEnd) -> Vec<Address>;

    /// How a hub may complete that by what it sees; without it, hubs pass on what
    /// [`own`](Self::own) says and nothing more.
    fn reflexive(&self, local: &LocalEnd) -> Option<Reflexive> {
        let _ = local;
        None
    }

    /// The service type under which the local network is told (RFC 6763, section 7); without one, it is
    /// not told.
    fn service(&self) -> Option<&'static str> {
        None
    }

    /// Where connections of this kind come in, for a kind that has a place of its own for them. It
    /// takes them with [`accept_next`](mpyc_party_transport::handshake_limiter::accept_next), which
    /// waits when the system has no descriptors left, and decides each handshake in a
    /// [`HandshakeLimiter`](mpyc_party_transport::handshake_limiter::HandshakeLimiter).
    ///
    /// # Errors
    /// When it cannot be opened.
    fn listen(&self, local: &LocalEnd) -> io::Result<Option<Box<dyn Listener>>> {
        let _ = local;
        Ok(None)
    }

    /// How long finding a route and opening a connection on it may take.
    fn timeout(&self) -> Duration {
        DIAL_TIMEOUT
    }

    /// A route to a peer at `address`, for connections of `protocol` to one whom the context expects.
    fn route(
        &self,
        address: Address,
        context: DialContext,
        protocol: Protocol,
    ) -> BoxFuture<'static, Result<Arc<dyn Route>, DialError>>;
}

/// Where this process can be reached, and what it dials from.
#[derive(Clone, Debug, Default)]
pub struct LocalEnd {
    /// The public TCP port; none where nobody is let in.
    pub tcp: Option<u16>,
    /// The UDP socket that speaks to hubs and peers alike.
    pub udp: Option<transport_quic::Endpoint>,
}

/// What an attempt needs.
#[derive(Clone, Debug)]
pub struct DialContext {
    /// As whom this party dials; each connection shows the newest.
    pub identity: watch::Receiver<Identity>,
    /// Under what the other is at the hubs.
    pub hub_tag: Tag,
    /// What is asked for in public.
    pub tag: Tag,
    /// Who is dialled.
    pub party: PartyName,
    /// Whom the handshake admits.
    pub expect: Expect,
    /// What this process dials from.
    pub local: LocalEnd,
}

impl DialContext {
    /// This party's identity as it is now.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity.borrow().clone()
    }

    /// Makes a stream of bytes to the peer a connection of `protocol` to one whom `expect` admits.
    ///
    /// # Errors
    /// Says who is there instead, or why the other end refuses.
    pub async fn handshake(
        &self,
        raw: impl Into<RawStream>,
        protocol: Protocol,
        expect: &Expect,
    ) -> Result<Secure, DialError> {
        let (identity, name) = (self.identity(), self.tag.server_name());
        Ok(connect(raw, &identity, protocol, expect, &name).await?)
    }
}

/// The policy of a kind whose addresses are socket addresses; names are for the configuration alone.
///
/// # Errors
/// Says why `address` may not be dialled.
pub fn check_socket(address: &Address, vantage: Vantage) -> Result<(), Refusal> {
    let socket: Option<SocketAddr> = address.socket();
    let socket = socket.ok_or(Refusal::Unreadable)?;
    mpyc_party_core::addr::check_socket(socket, vantage)
}

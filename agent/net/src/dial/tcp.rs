//! TLS over a direct TCP connection: the cheapest kind, where no NAT is in between.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mpyc_party_core::addr::{Address, Reflexive, Refusal, Vantage, is_host_port};
use mpyc_party_core::path::Kind;
use mpyc_party_transport::handshake_limiter::{HandshakeLimiter, HandshakeLimits};
use mpyc_party_transport::{Expect, Protocol, Secure};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;

use super::{BoxFuture, DialContext, DialError, LocalEnd, PathKind, Route, check_socket};
use crate::accept::{
    AcceptError, Accepted, Admission, Arrival, Entrance, Listener, Origin, handshake,
};
use crate::addr::own_sockets;
use crate::segment_memory;

/// Addresses of one name that are tried.
const MAX_RESOLVED: usize = 8;

pub(super) const KIND: Kind = Kind {
    preference: 10,
    name: "tcp",
    head_start: Duration::ZERO,
    opens_nats: false,
    relayed: false,
};

/// The kind; see the module.
#[derive(Debug)]
pub(super) struct Tcp;

impl PathKind for Tcp {
    fn kind(&self) -> Kind {
        KIND
    }

    fn label(&self) -> &'static str {
        "direct, TCP"
    }

    /// A name may only stand in the configuration: looking one up for somebody else would ask this
    /// machine's resolver for whatever they like.
    fn check(&self, address: &Address, vantage: Vantage) -> Result<(), Refusal> {
        match (address.text(), vantage) {
            (Some(place), Vantage::Configured) if is_host_port(place) => Ok(()),
            _ => check_socket(address, vantage),
        }
    }

    fn own(&self, local: &LocalEnd) -> Vec<Address> {
        local.tcp.map(|port| own_sockets(KIND.name, port)).unwrap_or_default()
    }

    /// What a forwarded port or a public address looks like.
    fn reflexive(&self, local: &LocalEnd) -> Option<Reflexive> {
        let port = Some(local.tcp?);
        Some(Reflexive { kind: KIND.name.to_owned(), port })
    }

    fn service(&self) -> Option<&'static str> {
        Some("_mpyc-party._tcp.local.")
    }

    fn route(
        &self,
        address: Address,
        context: DialContext,
        _: Protocol,
    ) -> BoxFuture<'static, Result<Arc<dyn Route>, DialError>> {
        let route = || {
            let place = address.text().ok_or(DialError::Unreadable)?.to_owned();
            let route = TcpRoute { place, context, found: OnceLock::new() };
            Ok(Arc::new(route) as Arc<dyn Route>)
        };
        Box::pin(std::future::ready(route()))
    }
}

/// One TCP connection for each connection that is opened.
#[derive(Debug)]
struct TcpRoute {
    /// «host:port».
    place: String,
    context: DialContext,
    /// Which of the addresses of that name is the peer's.
    found: OnceLock<SocketAddr>,
}

impl Route for TcpRoute {
    fn open(&self, protocol: Protocol, expect: Expect) -> BoxFuture<'_, Result<Secure, DialError>> {
        Box::pin(async move {
            let addresses = match self.found.get() {
                Some(found) => vec![*found],
                None => lookup_host(&self.place).await?.take(MAX_RESOLVED).collect(),
            };
            let secure = first(addresses, &self.context, protocol, &expect).await?;
            self.found.get_or_init(|| secure.address);
            Ok(secure)
        })
    }
}

/// Dials all `addresses` at once (happy eyeballs, without a stagger: they are of one host).
async fn first(
    addresses: Vec<SocketAddr>,
    context: &DialContext,
    protocol: Protocol,
    expect: &Expect,
) -> Result<Secure, DialError> {
    let mut attempts = JoinSet::new();
    for address in addresses {
        let (context, expect) = (context.clone(), expect.clone());
        attempts.spawn(async move {
            let tcp = segment_memory::open(address).await?;
            segment_memory::shake(tcp, &|tcp| context.handshake(tcp, protocol, &expect)).await
        });
    }
    let mut last = DialError::NoAddress;
    while let Some(attempt) = attempts.join_next().await {
        match attempt {
            Ok(Ok(secure)) => return Ok(secure),
            Ok(Err(error)) => last = error,
            // Nobody cancels them, and what panicked has said so.
            Err(_) => {}
        }
    }
    Err(last)
}

/// The public port, behind a limiter of handshakes.
pub(super) struct PublicPort {
    entrance: Entrance,
    limiter: HandshakeLimiter,
}

impl PublicPort {
    pub(super) fn new(entrance: Entrance) -> Self {
        Self { entrance, limiter: HandshakeLimiter::new(HandshakeLimits::default()) }
    }
}

impl Listener for PublicPort {
    fn next(&mut self) -> BoxFuture<'_, Box<dyn Arrival>> {
        Box::pin(async move {
            let (tcp, from) = self.entrance.next().await;
            Box::new(Caller { tcp, from, limiter: self.limiter.clone() }) as Box<dyn Arrival>
        })
    }
}

/// A TCP connection before its handshake.
struct Caller {
    tcp: TcpStream,
    from: SocketAddr,
    limiter: HandshakeLimiter,
}

impl Arrival for Caller {
    fn origin(&self) -> Origin {
        Origin { kind: KIND, address: self.from.to_string(), via: None }
    }

    fn accept(
        self: Box<Self>,
        admission: Admission,
    ) -> BoxFuture<'static, Result<Accepted, AcceptError>> {
        Box::pin(async move {
            let handshake = handshake(self.tcp, &admission);
            let secure = self.limiter.decide(self.from, handshake).await?;
            Ok(Accepted::Connection(Box::new(secure)))
        })
    }
}

//! QUIC over UDP: direct, and through NATs where both ends dial at once (hole punching).

use std::sync::Arc;
use std::time::Duration;

use mpyc_party_core::addr::{Address, Reflexive, Refusal, Vantage};
use mpyc_party_core::claims::Claims;
use mpyc_party_core::path::Kind;
use mpyc_party_transport::quic::{Connection, Endpoint, QuicIncoming};
use mpyc_party_transport::{Expect, Protocol, Secure};

use super::{BoxFuture, DialContext, DialError, LocalEnd, PathKind, Route, check_socket};
use crate::accept::{AcceptError, Accepted, Admission, Arrival, Listener, Origin};
use crate::addr::own_sockets;

const KIND: Kind = Kind {
    preference: 20,
    name: "quic",
    head_start: Duration::from_millis(50),
    opens_nats: true,
    relayed: false,
};

/// The kind; see the module.
#[derive(Debug)]
pub(super) struct Quic;

/// What a QUIC connection has to be for, so that `protocol` can be one of its streams.
fn connection(protocol: Protocol) -> Protocol {
    match protocol {
        Protocol::Control | Protocol::Check | Protocol::Stream => Protocol::Peer,
        other => other,
    }
}

impl PathKind for Quic {
    fn kind(&self) -> Kind {
        KIND
    }

    fn label(&self) -> &'static str {
        "direct, QUIC"
    }

    fn check(&self, address: &Address, vantage: Vantage) -> Result<(), Refusal> {
        check_socket(address, vantage)
    }

    fn own(&self, local: &LocalEnd) -> Vec<Address> {
        let port = local.udp.as_ref().map(Endpoint::port);
        port.map(|port| own_sockets(KIND.name, port)).unwrap_or_default()
    }

    /// As it is seen: a NAT may have given the socket another port.
    fn reflexive(&self, local: &LocalEnd) -> Option<Reflexive> {
        local.udp.as_ref().map(|_| Reflexive { kind: KIND.name.to_owned(), port: None })
    }

    fn service(&self) -> Option<&'static str> {
        Some("_mpyc-party._udp.local.")
    }

    fn listen(&self, local: &LocalEnd) -> std::io::Result<Option<Box<dyn Listener>>> {
        Ok(local.udp.clone().map(|endpoint| Box::new(endpoint) as Box<dyn Listener>))
    }

    fn route(
        &self,
        address: Address,
        context: DialContext,
        protocol: Protocol,
    ) -> BoxFuture<'static, Result<Arc<dyn Route>, DialError>> {
        Box::pin(async move {
            let endpoint = context.local.udp.as_ref().ok_or(DialError::NoUdp)?;
            let to = address.socket().ok_or(DialError::Unreadable)?;
            let (identity, name) = (context.identity(), context.tag.server_name());
            let (protocol, expect) = (connection(protocol), &context.expect);
            let dialled = endpoint.connect(to, &identity, protocol, expect, &name).await?;
            Ok(Arc::new(dialled) as Arc<dyn Route>)
        })
    }
}

/// Connections are streams of the one that is there, and whoever is at the other end has been
/// checked when that came up.
impl Route for Connection {
    fn open(&self, protocol: Protocol, _: Expect) -> BoxFuture<'_, Result<Secure, DialError>> {
        Box::pin(async move { Ok(Self::open(self, protocol).await?) })
    }

    fn accept(&self) -> BoxFuture<'_, Result<Secure, DialError>> {
        Box::pin(async move { Ok(Self::accept(self).await?) })
    }

    fn peer(&self) -> Option<&Claims> {
        Some(Self::peer(self))
    }
}

impl Listener for Endpoint {
    fn next(&mut self) -> BoxFuture<'_, Box<dyn Arrival>> {
        Box::pin(async move {
            match Self::next(self).await {
                Some(incoming) => Box::new(incoming) as Box<dyn Arrival>,
                // It has been closed.
                None => std::future::pending().await,
            }
        })
    }
}

impl Arrival for QuicIncoming {
    fn origin(&self) -> Origin {
        Origin { kind: KIND, address: self.address().to_string(), via: None }
    }

    fn accept(
        self: Box<Self>,
        admission: Admission,
    ) -> BoxFuture<'static, Result<Accepted, AcceptError>> {
        Box::pin(async move {
            let Admission { identity, server_names, protocols, expect } = admission;
            let protocol = connection(protocols[0]);
            let accepted = (*self).accept(&identity, protocol, &server_names, &expect).await?;
            Ok(Accepted::Route(Arc::new(accepted)))
        })
    }

    fn refuse(self: Box<Self>) {
        (*self).refuse();
    }
}

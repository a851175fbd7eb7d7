//! End-to-end TLS through a hub: where two cannot reach each other, and while they have not yet.

use std::sync::Arc;
use std::time::Duration;

use mpyc_party_core::addr::{Address, Refusal, Vantage, is_host_port};
use mpyc_party_core::path::Kind;
use mpyc_party_core::relay::CallId;
use mpyc_party_transport::{Expect, Protocol, Secure};
use tokio::sync::mpsc;

use super::{BoxFuture, DIAL_TIMEOUT, DialContext, DialError, LocalEnd, PathKind, Route};
use crate::accept::{AcceptError, Accepted, Admission, Arrival, Listener, Origin, handshake};
use crate::client::relay;

const KIND: Kind = Kind {
    preference: 90,
    name: "relay",
    head_start: Duration::from_millis(100),
    opens_nats: false,
    relayed: true,
};

/// The address of whoever can be called over the relay of `hub`, «host:port».
#[must_use]
pub fn address(hub: &str) -> Address {
    Address::new(KIND.name, hub)
}

/// The kind; see the module.
#[derive(Debug)]
pub(super) struct Relay;

impl PathKind for Relay {
    fn kind(&self) -> Kind {
        KIND
    }

    fn label(&self) -> &'static str {
        "relayed"
    }

    /// Only a hub that this party has itself is one: nobody else can name another.
    fn check(&self, address: &Address, vantage: Vantage) -> Result<(), Refusal> {
        match (address.text(), vantage) {
            (Some(hub), Vantage::Configured) if is_host_port(hub) => Ok(()),
            _ => Err(Refusal::Unreadable),
        }
    }

    fn own(&self, _: &LocalEnd) -> Vec<Address> {
        Vec::new()
    }

    /// The hub needs as long for its own part.
    fn timeout(&self) -> Duration {
        2 * DIAL_TIMEOUT
    }

    fn route(
        &self,
        address: Address,
        context: DialContext,
        _: Protocol,
    ) -> BoxFuture<'static, Result<Arc<dyn Route>, DialError>> {
        let route = || {
            let hub = address.text().ok_or(DialError::Unreadable)?.to_owned();
            Ok(Arc::new(RelayRoute { hub, context }) as Arc<dyn Route>)
        };
        Box::pin(std::future::ready(route()))
    }
}

/// One call for each connection that is opened.
#[derive(Debug)]
struct RelayRoute {
    /// «host:port».
    hub: String,
    context: DialContext,
}

impl Route for RelayRoute {
    fn open(&self, protocol: Protocol, expect: Expect) -> BoxFuture<'_, Result<Secure, DialError>> {
        Box::pin(async move {
            let DialContext { hub_tag, party, .. } = &self.context;
            let identity = self.context.identity();
            let pipe = relay::call(&self.hub, &identity, *hub_tag, party).await?;
            self.context.handshake(pipe, protocol, &expect).await
        })
    }

    fn via(&self) -> Option<&str> {
        Some(&self.hub)
    }
}

/// A call over a hub's relay, from somebody who waits for a few seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The hub, «host:port».
    pub hub: String,
    /// What to join.
    pub call: CallId,
}

/// Calls as hubs tell of them.
impl Listener for mpsc::Receiver<Call> {
    fn next(&mut self) -> BoxFuture<'_, Box<dyn Arrival>> {
        Box::pin(async move {
            match self.recv().await {
                Some(call) => Box::new(call) as Box<dyn Arrival>,
                // Nobody tells of any more.
                None => std::future::pending().await,
            }
        })
    }
}

/// Whoever is in the pipe has to show who it is, as anywhere else.
impl Arrival for Call {
    fn origin(&self) -> Origin {
        Origin { kind: KIND, address: self.hub.clone(), via: Some(self.hub.clone()) }
    }

    fn accept(
        self: Box<Self>,
        admission: Admission,
    ) -> BoxFuture<'static, Result<Accepted, AcceptError>> {
        Box::pin(async move {
            let pipe = relay::join(&self.hub, &admission.identity, self.call).await?;
            Ok(Accepted::Connection(Box::new(handshake(pipe, &admission).await?)))
        })
    }
}

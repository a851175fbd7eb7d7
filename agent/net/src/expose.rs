//! Ports of this machine, exposed to some other parties.
//!
//! Whoever may reach any of them finds this party at the hubs under a tag of its own, and comes in
//! as peers of a session do: at the public port, over the UDP socket, by a call over a relay, or by
//! whatever other kind of path there is. The handshake lets in nobody else. Then one port is asked
//! for; where that is allowed, the bytes go to and fro between the two connections, through this
//! process alone.

mod guest;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mpyc_party_core::addr::{Address, Vantage};
use mpyc_party_core::claims::{Claims, PublicKey};
use mpyc_party_core::expose::{Rule, Rules};
use mpyc_party_core::name::PartyName;
use mpyc_party_core::path::Target;
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::task::Connections;
use mpyc_party_transport::{Expect, Identity, Protocol, Secure, TransportError};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::accept::permits::ConnectionPermits;
use crate::accept::{self, AcceptError, Admission, Listener, Origin, Reception};
use crate::dial::{BoxFuture, DialContext, DialError, LocalEnd, Route};
use crate::monitor::NetworkMonitor;
use crate::publication::{Audience, Publication};
use crate::stack::Stack;
use guest::GuestError;

/// Connections that may be there at once, and of one party.
const MAX_CONNECTIONS: usize = 256;
const MAX_CONNECTIONS_PER_PARTY: usize = 64;
/// Connections to ports, and of one party: a deployment has some ten at once.
const MAX_PORT_CONNECTIONS: usize = 128;
const MAX_PORT_CONNECTIONS_PER_PARTY: usize = 32;
/// Parties towards which is dialled at once.
const MAX_MEETINGS: usize = 16;
/// How long a route may be there without a connection on it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// What is exposed, and the keys that some parties must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Who may reach what.
    pub rules: Rules,
    /// Keys pinned here.
    pub pins: BTreeMap<PartyName, PublicKey>,
}

impl Allowed {
    /// Whom the handshake lets in.
    fn expect(&self) -> Expect {
        let (parties, groups) = (self.rules.parties(), self.rules.groups());
        Expect::Members { parties, groups, pins: self.pins.clone() }
    }

    /// What `port` is for the party with these claims; nothing where it may not, or has another key
    /// than the one that is pinned by now.
    fn find(&self, claims: &Claims, port: u16) -> Option<&Rule> {
        self.knows(claims).then(|| self.rules.find(claims, port)).flatten()
    }

    /// Whether the party with these claims, who was connected by `rule`, still would be.
    fn still(&self, rule: &Rule, claims: &Claims) -> bool {
        self.knows(claims) && self.rules.still(rule, claims)
    }

    fn knows(&self, claims: &Claims) -> bool {
        let pin = claims.party().and_then(|party| self.pins.get(party));
        pin.is_none_or(|key| *key == claims.key)
    }

    /// Who may know where this party is.
    #[must_use]
    pub fn audience(&self) -> Audience {
        Audience {
            parties: self.rules.parties().into_iter().collect(),
            groups: self.rules.groups().into_iter().collect(),
        }
    }
}

/// What all tasks of the exposing process share.
#[derive(Debug)]
struct Exposure {
    /// As whom this party is there, and what stands for that in public.
    identity: watch::Receiver<Identity>,
    tag: Tag,
    stack: Arc<Stack>,
    local: LocalEnd,
    allowed: watch::Receiver<Allowed>,
    /// Whoever is there, and whoever is connected with a port.
    permits: ConnectionPermits,
    port_permits: ConnectionPermits,
    meetings: Arc<Semaphore>,
    /// Those towards which is dialled.
    dialling: std::sync::Mutex<Connections>,
}

/// Lets others in at `listeners`, and those that the stack has, to what is `allowed` at the moment,
/// and keeps it published; never ends by itself.
///
/// # Errors
/// When a part of it has failed: then nobody gets in any more.
pub async fn serve(
    (identity, tag): (watch::Receiver<Identity>, Tag),
    stack: Arc<Stack>,
    local: LocalEnd,
    allowed: watch::Receiver<Allowed>,
    mut listeners: Vec<Box<dyn Listener>>,
    mut publication: Publication,
) -> std::io::Error {
    match stack.listen(&local) {
        Ok(more) => listeners.extend(more),
        Err(error) => return error,
    }
    let (mut changes, mut monitor) = (allowed.clone(), NetworkMonitor::watch());
    let exposure = Arc::new(Exposure {
        identity,
        tag,
        stack,
        local,
        allowed,
        permits: ConnectionPermits::new(MAX_CONNECTIONS, MAX_CONNECTIONS_PER_PARTY),
        port_permits: ConnectionPermits::new(MAX_PORT_CONNECTIONS, MAX_PORT_CONNECTIONS_PER_PARTY),
        meetings: Arc::new(Semaphore::new(MAX_MEETINGS)),
        dialling: std::sync::Mutex::new(Connections::new("a connection that is dialled")),
    });
    let mut acceptors = JoinSet::new();
    for listener in listeners {
        acceptors.spawn(accept::serve(Arc::clone(&exposure), listener));
    }
    loop {
        tokio::select! {
            Some(ended) = acceptors.join_next() => {
                let why = ended.err().map(|error| error.to_string()).unwrap_or_default();
                return std::io::Error::other(format!("nobody is let in any more: {why}"));
            }
            () = publication.ended() => {
                return std::io::Error::other("this party is not published any more");
            }
            _ = monitor.next() => publication.moved(),
            Ok(()) = changes.changed() => {
                publication.set(changes.borrow_and_update().audience());
            }
        }
    }
}

impl Reception for Exposure {
    type Error = GuestError;

    fn admission(&self) -> Admission {
        Admission {
            identity: self.identity.borrow().clone(),
            server_names: Arc::new([self.tag.server_name()]),
            protocols: &[Protocol::Expose],
            expect: self.allowed.borrow().expect(),
        }
    }

    fn permits(&self) -> &ConnectionPermits {
        &self.permits
    }

    fn idle_timeout(&self) -> Option<Duration> {
        Some(IDLE_TIMEOUT)
    }

    fn welcome(
        self: Arc<Self>,
        secure: Secure,
        origin: Origin,
    ) -> BoxFuture<'static, Result<(), GuestError>> {
        Box::pin(async move { self.attend(secure, &origin).await })
    }

    /// One who knows the tag and is not allowed is worth a line; noise is not.
    fn refused(&self, _: &Origin, error: &GuestError) {
        let member = matches!(
            error,
            GuestError::Accept(AcceptError::Transport(TransportError::Peer { .. }))
        );
        let level = if member { log::Level::Warn } else { log::Level::Debug };
        log::log!(level, "a connection is refused: {error}");
    }
}

impl Exposure {
    /// Dials the party with these `claims`, who does the same, and attends to it where one of both
    /// gets through.
    fn meet(self: &Arc<Self>, claims: &Claims, addresses: &[Address], vantage: Vantage) {
        let Some(party) = claims.party().cloned() else { return };
        // With so many at it, this one stays on the relay.
        let Ok(permit) = Arc::clone(&self.meetings).try_acquire_owned() else { return };
        let expect = Expect::Parties(vec![(party.clone(), Some(claims.key))]);
        let told = mpyc_party_core::addr::admit(addresses, vantage);
        let targets = told.iter().filter_map(|address| self.stack.target(address, vantage));
        let targets: Vec<Target> = targets.filter(|target| target.kind.opens_nats).collect();
        let exposure = Arc::clone(self);
        let met = async move {
            let route = exposure.first(&party, targets, expect).await;
            drop(permit);
            if let Some((route, origin)) = route
                && let Err(error) = accept::attend(&exposure, route, &origin).await
            {
                log::debug!("a connection that was dialled is over: {error}");
            }
        };
        let mut dialling = self.dialling.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        dialling.reap();
        dialling.spawn(met);
    }

    /// The first route to come up.
    async fn first(
        &self,
        party: &PartyName,
        targets: Vec<Target>,
        expect: Expect,
    ) -> Option<(Arc<dyn Route>, Origin)> {
        let mut attempts = JoinSet::new();
        for target in targets {
            let kind = Arc::clone(self.stack.kind(target.kind.name)?);
            let context = DialContext {
                identity: self.identity.clone(),
                hub_tag: self.tag,
                tag: self.tag,
                party: party.clone(),
                expect: expect.clone(),
                local: self.local.clone(),
            };
            attempts.spawn(async move {
                let route = kind.route(target.address.clone(), context, Protocol::Expose);
                let route = timeout(kind.timeout(), route).await;
                let origin = Origin { kind: target.kind, address: target.to_string(), via: None };
                Ok::<_, DialError>((route.map_err(|_| DialError::Timeout)??, origin))
            });
        }
        while let Some(attempt) = attempts.join_next().await {
            if let Ok(Ok(found)) = attempt {
                return Some(found);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;

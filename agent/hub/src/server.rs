//! The hub's one port, for TCP and for UDP: the ALPN decides what a connection is for, before any
//! certificate is shown.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};

use mpyc_party_authority::{Authority, AuthorityError};
use mpyc_party_core::membership::Renewal;
use mpyc_party_core::role::Role;
use mpyc_party_core::sni::Tag;
use mpyc_party_core::{lighthouse, relay};
use mpyc_party_transport::gate::{self, Gate};
use mpyc_party_transport::task::{Connections, Supervisor};
use mpyc_party_transport::{
    Expect, Identity, IdentityError, Incoming, PATIENCE, Protocol, Secure, TransportError, now,
    quic,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::beacon::{Beacon, Visitor};
use crate::exchange::Relay;
use crate::standing::Standing;
use crate::strain::Strain;
use crate::{enrol, renew};

/// What a hub serves with.
pub enum HubConfig {
    /// A hub with an identity of its own, enrolled and renewed like a party's; the channel brings
    /// renewed ones.
    Alone(watch::Receiver<Identity>),
    /// A hub of this number beside the authority, which makes its certificates.
    WithAuthority(Arc<Authority>, u16),
}

/// What a hub holds and forwards at most.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Of the lighthouse.
    pub lighthouse: lighthouse::Limits,
    /// Of the relay.
    pub relay: relay::Limits,
    /// Bytes per second that the relay forwards for all together; no ceiling where there is none.
    pub relay_rate: Option<NonZeroU64>,
}

/// Undecided connections over TCP, and as many over QUIC: when thousands come back at once, they
/// shall not evict each other.
const UNDECIDED: gate::Limits = gate::Limits { most: 1024, most_per_address: 64 };

/// Why a hub beside the authority has no certificate.
#[derive(Debug, thiserror::Error)]
enum OwnError {
    /// The authority makes none.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// What it made does not fit together.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// An identity that the authority beside makes anew in time.
struct Own {
    authority: Arc<Authority>,
    role: Role,
    current: Mutex<Option<Identity>>,
}

impl Own {
    fn new(authority: &Arc<Authority>, role: Role) -> Arc<Self> {
        Arc::new(Self { authority: Arc::clone(authority), role, current: Mutex::default() })
    }

    /// The identity, made anew when two thirds of its life are over.
    fn get(&self, now: u64) -> Result<Identity, OwnError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(identity) = current.as_ref()
            && now < identity.claims().renewal_due()
        {
            return Ok(identity.clone());
        }
        let identity = Identity::try_from(self.authority.own_credentials(&self.role, now)?)?;
        *current = Some(identity.clone());
        Ok(identity)
    }

    async fn identity(self: &Arc<Self>) -> Option<Identity> {
        let own = Arc::clone(self);
        match tokio::task::spawn_blocking(move || own.get(now())).await {
            Ok(Ok(identity)) => Some(identity),
            Ok(Err(error)) => {
                log::error!("no certificate for {}: {error}", self.role);
                None
            }
            Err(error) => {
                log::error!("no certificate for {}: {error}", self.role);
                None
            }
        }
    }
}

enum Identities {
    Alone(watch::Receiver<Identity>),
    WithAuthority { authority: Arc<Authority>, server: Arc<Own>, hub: Arc<Own> },
}

struct Hub {
    /// Who does not ask for it is shown no certificate.
    name: String,
    identities: Identities,
    beacon: Beacon,
    relay: Relay,
    strain: Strain,
    standing: Standing,
}

/// What is left to do once a connection is decided.
enum Decided {
    Nothing,
    Lighthouse(Secure),
    Relay(Secure),
    Renewal(Secure, Renewal, Arc<Authority>),
}

impl Hub {
    fn new(config: HubConfig, limits: Limits) -> io::Result<Self> {
        let identities = identities(config)?;
        let root = match &identities {
            Identities::Alone(identity) => identity.borrow().root().fingerprint,
            Identities::WithAuthority { authority, .. } => authority.root().fingerprint,
        };
        let standing = match &identities {
            Identities::Alone(_) => Standing::default(),
            Identities::WithAuthority { authority, .. } => Standing::new(Arc::clone(authority)),
        };
        let beacon = Beacon::new(limits.lighthouse, standing.clone());
        let relay = Relay::new(limits.relay, beacon.clone(), standing.clone());
        let (name, strain) = (Tag::hub(&root).server_name(), Strain::default());
        Ok(Self { name, identities, beacon, relay, strain, standing })
    }

    async fn identity(&self) -> Option<Identity> {
        match &self.identities {
            Identities::Alone(identity) => Some(identity.borrow().clone()),
            Identities::WithAuthority { hub, .. } => hub.identity().await,
        }
    }

    /// Handshakes, and whatever waits for one who need not be a member; all of it holds a place in the
    /// gate.
    async fn decide(&self, tcp: TcpStream) -> Result<Decided, TransportError> {
        let incoming = Incoming::read(tcp).await?;
        if incoming.server_name().as_deref() != Some(&self.name) {
            return Err(incoming.refuse_name().await);
        }
        let protocol = incoming.protocol();
        let (authority, server) = match &self.identities {
            Identities::WithAuthority { authority, server, .. } => (Some(authority), Some(server)),
            Identities::Alone(_) => (None, None),
        };
        match (protocol, authority, server) {
            (Some(protocol @ (Protocol::Hub | Protocol::Relay)), ..) => {
                let Some(identity) = self.identity().await else {
                    return Ok(Decided::Nothing);
                };
                let secure = incoming.accept(&identity, protocol, &Expect::AnyParty).await?;
                Ok(match protocol {
                    Protocol::Relay => Decided::Relay(secure),
                    _ => Decided::Lighthouse(secure),
                })
            }
            (Some(Protocol::Enrol), Some(authority), Some(server)) => {
                if let Some(identity) = server.identity().await {
                    let newcomer = incoming.accept_to_enrol(&identity).await?;
                    enrol::serve(newcomer, Arc::clone(authority)).await;
                }
                Ok(Decided::Nothing)
            }
            (Some(Protocol::Renew), Some(authority), Some(server)) => {
                let Some(identity) = server.identity().await else {
                    return Ok(Decided::Nothing);
                };
                let mut secure =
                    incoming.accept(&identity, Protocol::Renew, &Expect::Renewing).await?;
                Ok(match renew::hear(&mut secure).await {
                    Some(request) => Decided::Renewal(secure, request, Arc::clone(authority)),
                    None => Decided::Nothing,
                })
            }
            _ => Err(incoming.refuse_protocol().await),
        }
    }

    async fn serve(&self, gate: &Gate, tcp: TcpStream, address: SocketAddr) {
        match gate.decide(address, self.decide(tcp)).await {
            Ok(Decided::Nothing) => {}
            Ok(Decided::Renewal(secure, request, authority)) => {
                renew::serve(secure, request, authority).await;
            }
            Ok(Decided::Lighthouse(secure)) => {
                self.beacon.serve(Visitor { secure, quic: None }).await;
            }
            Ok(Decided::Relay(secure)) => self.relay.serve(secure).await,
            Err(error) => log::info!("{error}"),
        }
    }

    /// Serves the lighthouse to one who dials over QUIC.
    async fn serve_quic(&self, incoming: quic::QuicIncoming) {
        let address = incoming.address();
        let Some(identity) = self.identity().await else { return incoming.refuse() };
        let accepted =
            incoming.accept(&identity, Protocol::Hub, &self.name, &Expect::AnyParty).await;
        let connection = match accepted {
            Ok(connection) => connection,
            Err(error) => return log::info!("{error}"),
        };
        match timeout(PATIENCE, connection.accept()).await {
            Ok(Ok(secure)) => self.beacon.serve(Visitor { secure, quic: Some(connection) }).await,
            Ok(Err(error)) => log::info!("{error}"),
            Err(_) => {
                log::info!("{address} opened no stream in time");
                connection.close("no stream came in time");
            }
        }
    }
}

/// Serves a hub on `listener` and `endpoint`, which should have the same port, until `shutdown`
/// completes; then every connection ends. Its long-lived tasks are the `supervisor`'s.
///
/// # Errors
/// When the identity is not a hub's, the authority beside cannot make one, or one of the supervisor's
/// tasks has failed.
pub async fn serve(
    listener: TcpListener,
    endpoint: quic::Endpoint,
    config: HubConfig,
    limits: Limits,
    mut supervisor: Supervisor,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let hub = Arc::new(Hub::new(config, limits)?);
    let endpoint = endpoint.with_room(UNDECIDED);
    let gate = Gate::new(UNDECIDED);
    let mut connections = Connections::new("a connection to this hub");
    let relay = hub.relay.clone();
    supervisor.spawn("relay scheduler", |mut heartbeat| async move {
        heartbeat.during(relay.drive(limits.relay_rate)).await;
    });
    let (load, revoked) = (Arc::clone(&hub), Arc::clone(&hub));
    supervisor.spawn("load monitor", |mut heartbeat| async move {
        heartbeat.during(load.strain.look()).await;
    });
    supervisor.spawn("revocation watcher", |mut heartbeat| async move {
        heartbeat.during(revoked.standing.look()).await;
    });
    let (mut for_tcp, mut for_quic) = (hub.strain.door(), hub.strain.door());
    let mut next_tcp = async || {
        for_tcp.open().await;
        gate::next(&listener).await
    };
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            (tcp, address) = next_tcp() => {
                let (hub, gate) = (Arc::clone(&hub), gate.clone());
                connections.spawn(async move { hub.serve(&gate, tcp, address).await });
            }
            Some(incoming) = endpoint.next() => {
                if !for_quic.opens() {
                    incoming.ignore();
                    continue;
                }
                let hub = Arc::clone(&hub);
                connections.spawn(async move { hub.serve_quic(incoming).await });
            }
            () = connections.next_ended() => {}
            failure = supervisor.failure() => return Err(io::Error::other(failure)),
        }
    }
    endpoint.close("the hub stops");
    connections.shutdown().await;
    endpoint.wait_idle().await;
    Ok(())
}

fn identities(config: HubConfig) -> io::Result<Identities> {
    Ok(match config {
        HubConfig::Alone(identity) => {
            let role = identity.borrow().claims().role.clone();
            if !matches!(role, Role::Hub(_)) {
                return Err(io::Error::other(format!("a hub's identity is needed, not {role}'s")));
            }
            Identities::Alone(identity)
        }
        HubConfig::WithAuthority(authority, number) => {
            let server = Own::new(&authority, Role::Authority);
            let hub = Own::new(&authority, Role::Hub(number));
            server.get(now()).map_err(io::Error::other)?;
            hub.get(now()).map_err(io::Error::other)?;
            Identities::WithAuthority { authority, server, hub }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_identities_are_made_anew_at_two_thirds_of_their_life() {
        let dir = tempfile::TempDir::new().unwrap();
        let network = "example".parse().unwrap();
        let authority = Arc::new(Authority::init(dir.path(), &network, None, now()).unwrap());
        let own = Own::new(&authority, Role::Hub(1));
        let start = now();
        let key = |at| own.get(at).unwrap().claims().key;
        let first = key(start);
        assert_eq!(key(start + 12 * 3600), first);
        assert_ne!(key(start + 17 * 3600), first);
    }
}

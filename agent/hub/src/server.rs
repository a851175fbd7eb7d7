//! The hub's one port, for TCP and for UDP: what comes is admitted, handed to a task of its own, and
//! looked after to its end.

use std::num::NonZeroU64;
use std::pin::pin;
use std::sync::Arc;

use mpyc_party_authority::Authority;
use mpyc_party_core::role::Role;
use mpyc_party_core::sni::Tag;
use mpyc_party_core::{lighthouse, relay};
use mpyc_party_transport::handshake_limiter::{self, HandshakeLimiter};
use mpyc_party_transport::task::{Connections, Supervisor};
use mpyc_party_transport::{Identity, quic};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::error::HubError;
use crate::handshake::{AuthorityServer, Hub};
use crate::lighthouse::LighthouseServer;
use crate::load_shedding::LoadMonitor;
use crate::membership::Membership;
use crate::own_identity::OwnIdentity;
use crate::relay::RelayServer;
use crate::signing;

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
    /// The relay's rate limit: bytes per second that it forwards for all together; no limit where
    /// there is none.
    pub relay_rate: Option<NonZeroU64>,
}

/// Connections over TCP whose handshake is not decided, and as many over QUIC: when thousands come
/// back at once, they shall not evict each other.
const MAX_HANDSHAKES: handshake_limiter::HandshakeLimits =
    handshake_limiter::HandshakeLimits { max: 1024, max_per_address: 64 };

/// Serves a hub on `listener` and `endpoint`, which should have the same port, until `shutdown`
/// completes; then every connection ends. Its long-lived tasks are the `supervisor`'s.
///
/// # Errors
/// When the identity is not a hub's, or the authority beside cannot make one; and when a task ends
/// that has to live as long as the hub.
pub async fn serve(
    listener: TcpListener,
    endpoint: quic::Endpoint,
    config: HubConfig,
    limits: Limits,
    mut supervisor: Supervisor,
    shutdown: impl Future<Output = ()>,
) -> Result<(), HubError> {
    let mut connections = Connections::new("a connection to this hub");
    let load = Arc::new(LoadMonitor::default());
    let mut shutdown = pin!(shutdown);
    let hub = tokio::select! {
        hub = start(config, limits, &mut supervisor) => Arc::new(hub?),
        // The signer may take its time.
        () = &mut shutdown => return Ok(()),
    };
    let monitor = Arc::clone(&load);
    supervisor.spawn_polled("load monitor", async move { monitor.run().await });
    let endpoint = endpoint.with_handshake_limits(MAX_HANDSHAKES);
    let ended = tokio::select! {
        ended = accept(&listener, &endpoint, &hub, &load, &mut connections) => Err(ended),
        failure = supervisor.failure() => Err(failure.into()),
        () = &mut shutdown => Ok(()),
    };
    endpoint.close("the hub stops");
    connections.shutdown().await;
    drop(supervisor);
    endpoint.wait_idle().await;
    ended
}

/// The hub of this configuration, and its services.
async fn start(
    config: HubConfig,
    limits: Limits,
    supervisor: &mut Supervisor,
) -> Result<Hub, HubError> {
    let (identity, authority, membership) = match config {
        HubConfig::Alone(identity) => {
            let role = identity.borrow().claims().role.clone();
            if !matches!(role, Role::Hub(_)) {
                return Err(HubError::NotAHub(role));
            }
            (identity, None, Membership::default())
        }
        HubConfig::WithAuthority(authority, number) => {
            let server = OwnIdentity::new(Arc::clone(&authority), Role::Authority).await?;
            let hub = OwnIdentity::new(Arc::clone(&authority), Role::Hub(number)).await?;
            let (signing, signer) = signing::queue();
            supervisor.spawn_polled("signing queue", signer.run());
            let membership = Membership::new(Arc::clone(&authority));
            let identity = hub.subscribe();
            let served = AuthorityServer { authority, identity: server.subscribe(), signing };
            for own in [server, hub] {
                let task = format!("renewal of the identity of {}", own.role());
                supervisor.spawn_polled(task, own.keep_fresh());
            }
            (identity, Some(served), membership)
        }
    };
    let watching = membership.clone();
    supervisor
        .spawn_polled("revocation watcher", async move { watching.watch_revocations().await });
    let lighthouse = LighthouseServer::new(limits.lighthouse, membership.clone());
    let relay = RelayServer::new(limits.relay, lighthouse.clone(), membership);
    let scheduler = relay.clone();
    supervisor.spawn_polled("relay scheduler", async move {
        scheduler.schedule(limits.relay_rate).await
    });
    let name = Tag::hub(&identity.borrow().root().fingerprint).server_name();
    Ok(Hub { name, identity, authority, lighthouse, relay })
}

/// Accepts connections for ever, as many as the hub keeps up with.
async fn accept(
    listener: &TcpListener,
    endpoint: &quic::Endpoint,
    hub: &Arc<Hub>,
    load: &LoadMonitor,
    connections: &mut Connections,
) -> HubError {
    let limiter = HandshakeLimiter::new(MAX_HANDSHAKES);
    let (mut for_tcp, mut for_quic) = (load.admission(), load.admission());
    let mut next_tcp = async || {
        for_tcp.admit().await;
        handshake_limiter::accept_next(|| listener.accept()).await
    };
    loop {
        tokio::select! {
            (tcp, address) = next_tcp() => {
                let (hub, limiter) = (Arc::clone(hub), limiter.clone());
                connections.spawn(async move { hub.serve(&limiter, tcp, address).await });
            }
            incoming = endpoint.next() => {
                let Some(incoming) = incoming else { return HubError::Endpoint };
                if !for_quic.try_admit() {
                    incoming.ignore();
                    continue;
                }
                let hub = Arc::clone(hub);
                connections.spawn(async move { hub.serve_quic(incoming).await });
            }
            () = connections.next_ended() => {}
        }
    }
}

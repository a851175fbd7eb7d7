//! Getting to a hub: QUIC first, TCP shortly after, all addresses of the hub at once.

use std::time::Duration;

use mpyc_party_core::lighthouse::Transport;
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::{Expect, Identity, Protocol, Secure, quic};
use tokio::time::sleep;

use super::super::request as wire;
use super::session::HubError;

/// How long QUIC is on its own: two round trips across an ocean and some packet loss nearby.
const TCP_DELAY: Duration = Duration::from_millis(250);

/// A connection to a hub.
pub(super) struct HubConnection {
    pub(super) secure: Secure,
    /// Where it is QUIC: the connection of the one stream.
    pub(super) quic: Option<quic::Connection>,
}

impl HubConnection {
    pub(super) fn transport(&self) -> Transport {
        if self.quic.is_some() { Transport::Udp } else { Transport::Tcp }
    }
}

/// Whichever gets there first; the error is that of TCP, which says more.
pub(super) async fn connect(
    hub: &str,
    identity: &Identity,
    endpoint: Option<&quic::Endpoint>,
) -> Result<HubConnection, HubError> {
    let Some(endpoint) = endpoint else { return over_tcp(hub, identity).await };
    let udp = over_udp(hub, identity, endpoint);
    let late = async {
        sleep(TCP_DELAY).await;
        over_tcp(hub, identity).await
    };
    tokio::pin!(udp, late);
    tokio::select! {
        connected = &mut udp => match connected {
            Ok(connection) => Ok(connection),
            Err(_) => over_tcp(hub, identity).await,
        },
        connected = &mut late => match connected {
            Ok(connection) => Ok(connection),
            Err(error) => udp.await.map_err(|_| error),
        },
    }
}

async fn over_tcp(hub: &str, identity: &Identity) -> Result<HubConnection, HubError> {
    let secure = wire::open(hub, identity, Protocol::Hub).await;
    Ok(HubConnection { secure: secure?, quic: None })
}

/// Over the UDP socket that also speaks to peers.
pub(super) async fn over_udp(
    hub: &str,
    identity: &Identity,
    endpoint: &quic::Endpoint,
) -> Result<HubConnection, HubError> {
    let addresses = wire::resolve(hub).await?;
    let name = Tag::hub(&identity.root().fingerprint).server_name();
    let attempts = addresses.into_iter().map(|address| {
        let (endpoint, identity, name) = (endpoint.clone(), identity.clone(), name.clone());
        async move {
            let expect = Expect::Hub;
            endpoint.connect(address, &identity, Protocol::Hub, &expect, &name).await
        }
    });
    let connected = wire::first(attempts).await.ok_or(HubError::NoAddress)?;
    let connection = connected?;
    let secure = connection.open(Protocol::Hub).await?;
    Ok(HubConnection { secure, quic: Some(connection) })
}

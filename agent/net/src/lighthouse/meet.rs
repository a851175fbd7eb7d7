//! Getting to a hub: QUIC first, TCP shortly after, all addresses of the hub at once.

use std::time::Duration;

use mpyc_party_core::lighthouse::Over;
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::{Expect, Identity, Protocol, Secure, quic};
use tokio::time::sleep;

use crate::request as wire;

/// How long QUIC is on its own: two round trips across an ocean and some packet loss nearby.
const HEAD_START: Duration = Duration::from_millis(250);

/// A connection to a hub.
pub(super) struct Met {
    pub(super) secure: Secure,
    /// Where it is QUIC: the connection of the one stream.
    pub(super) quic: Option<quic::Connection>,
}

impl Met {
    pub(super) fn over(&self) -> Over {
        if self.quic.is_some() { Over::Udp } else { Over::Tcp }
    }
}

/// Whichever gets there first; the error is that of TCP, which says more.
pub(super) async fn meet(
    hub: &str,
    identity: &Identity,
    endpoint: Option<&quic::Endpoint>,
) -> Result<Met, String> {
    let Some(endpoint) = endpoint else { return over_tcp(hub, identity).await };
    let udp = over_udp(hub, identity, endpoint);
    let late = async {
        sleep(HEAD_START).await;
        over_tcp(hub, identity).await
    };
    tokio::pin!(udp, late);
    tokio::select! {
        met = &mut udp => match met {
            Ok(met) => Ok(met),
            Err(_) => over_tcp(hub, identity).await,
        },
        met = &mut late => match met {
            Ok(met) => Ok(met),
            Err(error) => udp.await.map_err(|_| error),
        },
    }
}

async fn over_tcp(hub: &str, identity: &Identity) -> Result<Met, String> {
    let secure = wire::open(hub, identity, Protocol::Hub).await;
    Ok(Met { secure: secure.map_err(|error| error.to_string())?, quic: None })
}

/// Over the UDP socket that also speaks to peers.
pub(super) async fn over_udp(
    hub: &str,
    identity: &Identity,
    endpoint: &quic::Endpoint,
) -> Result<Met, String> {
    let addresses = wire::resolve(hub).await.map_err(|error| error.to_string())?;
    let name = Tag::hub(&identity.root().fingerprint).server_name();
    let attempts = addresses.into_iter().map(|address| {
        let (endpoint, identity, name) = (endpoint.clone(), identity.clone(), name.clone());
        async move {
            let expect = Expect::Hub;
            endpoint.connect(address, &identity, Protocol::Hub, &expect, &name).await
        }
    });
    let connected = wire::first(attempts).await.ok_or("it has no address")?;
    let connection = connected.map_err(|error| error.to_string())?;
    let secure = connection.open(Protocol::Hub).await.map_err(|error| error.to_string())?;
    Ok(Met { secure, quic: Some(connection) })
}

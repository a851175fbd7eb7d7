//! How the two ends of our link meet: by an address, or by a hub that introduces them or relays.
//!
//! A runner does more: it tries all paths at once and chooses. Here the path is what is measured.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mpyc_party_core::addr::{Address, Reflexive};
use mpyc_party_core::name::PartyName;
use mpyc_party_core::sni::Tag;
use mpyc_party_net::addr::OwnAddresses;
use mpyc_party_net::client::lighthouse::{Client, Event, Presence};
use mpyc_party_net::client::relay;
use mpyc_party_transport::quic::{Connection, Endpoint};
use mpyc_party_transport::{Expect, Identity, Protocol, Secure, SecureStream, accept, connect};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use super::ends::Transport;

/// The parties' names, in the benchmarks' network.
pub(crate) const NEAR: &str = "near";
pub(crate) const FAR: &str = "far";
/// How often the far end opens its NAT for the near one until that has come.
const PUNCH_EVERY: Duration = Duration::from_millis(100);

fn tag(identity: &Identity) -> Tag {
    Tag::hub(&identity.root().fingerprint)
}

/// The other end, and what has to live as long as the stream does.
pub(super) struct Met {
    pub(super) stream: SecureStream,
    _connection: Option<Connection>,
    _present: Option<Present>,
}

impl Met {
    fn new(met: Secure, connection: Option<Connection>, present: Option<Present>) -> Self {
        Self { stream: met.stream, _connection: connection, _present: present }
    }
}

/// A presence at a hub, until it is dropped.
pub(super) struct Present {
    events: mpsc::Receiver<Event>,
    _client: Client,
    _identity: watch::Sender<Identity>,
}

impl Present {
    fn new(
        hub: SocketAddr,
        identity: &Identity,
        peer: &str,
        endpoint: Option<&Endpoint>,
    ) -> Result<Self> {
        let peer: PartyName = peer.parse()?;
        let (allow, watch) = (vec![peer.clone()], vec![peer]);
        // How it is seen from outside, the hub puts before this.
        let own = endpoint.map(|endpoint| anyhow::Ok((own_address(hub)?, endpoint.port()).into()));
        let at = |at: SocketAddr| Address::new("quic", at);
        let addresses = own.transpose()?.map(at).into_iter().collect();
        let reflexive = vec![Reflexive { kind: "quic".to_owned(), port: None }];
        let own = OwnAddresses { addresses, reflexive };
        let groups = Vec::new();
        let presence = Presence { tag: tag(identity), own, allow, groups, watch };
        let (sender, receiver) = watch::channel(identity.clone());
        let (client, events) =
            Client::start(&[hub.to_string()], &receiver, presence, endpoint.cloned());
        Ok(Self { events, _client: client, _identity: sender })
    }

    async fn next(&mut self) -> Result<Event> {
        let event = self.events.recv().await.context("the hub's client has ended")?;
        if let Event::Disconnected { hub, reason } = &event {
            bail!("hub {hub}: {reason}");
        }
        Ok(event)
    }

    /// Waits until the hub knows the peer.
    async fn until_callable(&mut self) -> Result<()> {
        loop {
            if let Event::Present { hubs, .. } = self.next().await?
                && !hubs.is_empty()
            {
                return Ok(());
            }
        }
    }

    /// Where the hub says that the peer speaks QUIC.
    async fn address(&mut self) -> Result<SocketAddr> {
        loop {
            let Event::Present { addresses, .. } = self.next().await? else { continue };
            let quic = addresses.into_iter().find(|(address, _)| address.kind == "quic");
            if let Some(found) = quic.and_then(|(address, _)| address.socket()) {
                return Ok(found);
            }
        }
    }
}

/// The address from which this host speaks to `other`; nothing is sent.
fn own_address(other: SocketAddr) -> Result<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(other)?;
    Ok(socket.local_addr()?.ip())
}

/// Dials the far end.
pub(super) async fn near(transport: Transport, at: SocketAddr, identity: &Identity) -> Result<Met> {
    let (name, anyone) = (tag(identity).server_name(), Expect::AnyParty);
    match transport {
        Transport::Tcp => {
            let tcp = TcpStream::connect(at).await?;
            let secure = connect(tcp, identity, Protocol::Stream, &anyone, &name).await?;
            Ok(Met::new(secure, None, None))
        }
        Transport::Relay => {
            let mut present = Present::new(at, identity, FAR, None)?;
            present.until_callable().await?;
            let far = FAR.parse()?;
            let pipe = relay::call(&at.to_string(), identity, tag(identity), &far).await?;
            let secure = connect(pipe, identity, Protocol::Stream, &anyone, &name).await?;
            Ok(Met::new(secure, None, Some(present)))
        }
        Transport::Quic => {
            let endpoint = Endpoint::bind(0)?;
            let mut present = Present::new(at, identity, FAR, Some(&endpoint))?;
            let far = present.address().await?;
            let dialled = endpoint.connect(far, identity, Protocol::Peer, &anyone, &name).await?;
            let secure = dialled.open(Protocol::Stream).await?;
            Ok(Met::new(secure, Some(dialled), Some(present)))
        }
    }
}

/// The far end, which is dialled.
pub(super) enum Far {
    Listening(TcpListener),
    Called { present: Present, hub: SocketAddr },
    Introduced { present: Present, endpoint: Endpoint },
}

impl Far {
    /// Makes it known where it is.
    pub(super) async fn prepare(
        transport: Transport,
        at: SocketAddr,
        identity: &Identity,
    ) -> Result<Self> {
        Ok(match transport {
            Transport::Tcp => Self::Listening(TcpListener::bind(at).await?),
            Transport::Relay => {
                Self::Called { present: Present::new(at, identity, NEAR, None)?, hub: at }
            }
            Transport::Quic => {
                let endpoint = Endpoint::bind(0)?;
                let present = Present::new(at, identity, NEAR, Some(&endpoint))?;
                Self::Introduced { present, endpoint }
            }
        })
    }

    /// Waits for the near end.
    pub(super) async fn meet(self, identity: &Identity) -> Result<Met> {
        let anyone = [(Protocol::Stream, Expect::AnyParty)];
        match self {
            Self::Listening(listener) => {
                let secure = accept(listener.accept().await?.0, identity, &anyone).await?;
                Ok(Met::new(secure, None, None))
            }
            Self::Called { mut present, hub } => loop {
                if let Event::Call { call, .. } = present.next().await? {
                    let pipe = relay::join(&hub.to_string(), identity, call).await?;
                    let secure = accept(pipe, identity, &anyone).await?;
                    return Ok(Met::new(secure, None, Some(present)));
                }
            },
            Self::Introduced { mut present, endpoint } => {
                let near = present.address().await?;
                let name = tag(identity).server_name();
                let (connection, secure) = tokio::select! {
                    taken = take(&endpoint, identity, &name) => taken?,
                    never = punch(&endpoint, near, identity, &name) => never,
                };
                Ok(Met::new(secure, Some(connection), Some(present)))
            }
        }
    }
}

/// Takes the near end's connection and its stream.
async fn take(
    endpoint: &Endpoint,
    identity: &Identity,
    name: &str,
) -> Result<(Connection, Secure)> {
    let names = [name.to_owned()];
    let incoming = endpoint.next().await.context("the endpoint is closed")?;
    let accepted = incoming.accept(identity, Protocol::Peer, &names, &Expect::AnyParty).await?;
    let stream = accepted.accept().await?;
    Ok((accepted, stream))
}

/// Dials the near end, which does not answer: what is sent there lets in what comes from there.
async fn punch(endpoint: &Endpoint, to: SocketAddr, identity: &Identity, name: &str) -> ! {
    loop {
        let dialled = endpoint.connect(to, identity, Protocol::Peer, &Expect::AnyParty, name);
        // Given up each time, so that the first packet of another goes out soon.
        let _ = tokio::time::timeout(PUNCH_EVERY, dialled).await;
    }
}

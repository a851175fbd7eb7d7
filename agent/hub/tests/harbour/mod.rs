//! A network for the tests: an authority with its hub on loopback, and parties that enrol there.
#![allow(dead_code, reason = "each test file uses its part of it")]

pub(crate) mod valve;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use mpyc_party_authority::{Authority, LIFETIME};
use mpyc_party_core::addr::{Address, Reflexive};
use mpyc_party_core::claims::Fingerprint;
use mpyc_party_core::name::PartyName;
use mpyc_party_core::role::Role;
use mpyc_party_core::sni::Tag;
use mpyc_party_core::token::Token;
use mpyc_party_hub::{HubConfig, Limits, serve};
use mpyc_party_net::client::enrolment;
use mpyc_party_net::client::lighthouse::{Client, Event, Presence};
use mpyc_party_net::stack::OwnAddresses;
use mpyc_party_transport::quic::Endpoint;
use mpyc_party_transport::task::Supervisor;
use mpyc_party_transport::{
    Expect, Identity, Protocol, Secure, TransportError, connect, generate_key, now,
};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Nothing here takes long; whoever waits longer has hung.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// An authority and its hub.
pub(crate) struct Harbour {
    pub(crate) authority: Arc<Authority>,
    pub(crate) hub: SocketAddr,
    /// Where the hub's UDP socket is: the same port, unless a valve is in between.
    pub(crate) udp: SocketAddr,
    task: JoinHandle<()>,
    _dir: TempDir,
}

impl Drop for Harbour {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The UDP half of a hub's port.
pub(crate) fn udp(listener: &TcpListener) -> Endpoint {
    Endpoint::on(UdpSocket::bind(listener.local_addr().unwrap()).unwrap()).unwrap()
}

/// A listener and a UDP socket on a given port that was in use a moment ago.
pub(crate) fn again(address: SocketAddr) -> (TcpListener, Endpoint) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    let listener = socket.listen(64).unwrap();
    let endpoint = udp(&listener);
    (listener, endpoint)
}

impl Harbour {
    pub(crate) async fn open() -> Self {
        Self::limited(Limits::default()).await
    }

    pub(crate) async fn limited(limits: Limits) -> Self {
        Self::made(limits, udp).await
    }

    /// One whose UDP socket is on another port than the TCP listener.
    pub(crate) async fn behind_a_valve() -> Self {
        let elsewhere =
            |_: &TcpListener| Endpoint::on(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        Self::made(Limits::default(), elsewhere).await
    }

    async fn made(limits: Limits, endpoint: impl Fn(&TcpListener) -> Endpoint) -> Self {
        let dir = TempDir::new().unwrap();
        let network = "example".parse().unwrap();
        // There since yesterday, so that certificates can be made that are about to expire.
        let made = now() - LIFETIME;
        let authority = Arc::new(Authority::init(dir.path(), &network, None, made).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (hub, endpoint) = (listener.local_addr().unwrap(), endpoint(&listener));
        let udp = SocketAddr::new(hub.ip(), endpoint.port());
        let config = HubConfig::WithAuthority(Arc::clone(&authority), 1);
        let task = tokio::spawn(async move {
            serve(
                listener,
                endpoint,
                config,
                limits,
                Supervisor::default(),
                std::future::pending(),
            )
            .await
            .unwrap();
        });
        Self { authority, hub, udp, task, _dir: dir }
    }

    pub(crate) fn hubs(&self) -> Vec<String> {
        vec![self.hub.to_string()]
    }

    pub(crate) fn token_for(&self, role: &Role) -> Token {
        self.authority.new_token(role, &[], 3600, self.hubs(), now()).unwrap()
    }

    pub(crate) fn token(&self, party: &str) -> Token {
        self.token_for(&Role::party(name(party)).unwrap())
    }

    pub(crate) async fn enrol(&self, token: &Token) -> Identity {
        let key = generate_key().unwrap();
        let enrolled = enrolment::request(token, &key).await.unwrap();
        Identity::new(enrolled.certificate, key, enrolled.root).unwrap()
    }

    pub(crate) async fn party(&self, party: &str) -> Identity {
        self.enrol(&self.token(party)).await
    }

    /// A party whose certificate expires in a few seconds.
    pub(crate) fn ephemeral(&self, party: &str, seconds: u64) -> Identity {
        let made = now() - LIFETIME + seconds;
        let role = Role::party(name(party)).unwrap();
        self.authority.own_credentials(&role, made).unwrap().try_into().unwrap()
    }

    /// Another hub of the network on this one's address, until it is told to stop.
    pub(crate) async fn second_hub(&self) -> Second {
        let hub = self.enrol(&self.token_for(&Role::Hub(2))).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (sender, identity) = watch::channel(hub);
        let address = listener.local_addr().unwrap();
        let endpoint = udp(&listener);
        let mut second = Second { address, identity, _sender: sender, running: None };
        second.serve(listener, endpoint);
        second
    }

    pub(crate) async fn visit(&self, identity: &Identity) -> Result<Secure, TransportError> {
        self.connect(identity, Protocol::Hub).await
    }

    pub(crate) async fn connect(
        &self,
        identity: &Identity,
        protocol: Protocol,
    ) -> Result<Secure, TransportError> {
        let tcp = TcpStream::connect(self.hub).await.unwrap();
        let name = Tag::hub(&identity.root().fingerprint).server_name();
        connect(tcp, identity, protocol, &Expect::Hub, &name).await
    }
}

/// A hub without the authority, which can be stopped and started again.
pub(crate) struct Second {
    pub(crate) address: SocketAddr,
    identity: watch::Receiver<Identity>,
    _sender: watch::Sender<Identity>,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Second {
    pub(crate) fn hubs(&self) -> Vec<String> {
        vec![self.address.to_string()]
    }

    fn serve(&mut self, listener: TcpListener, endpoint: Endpoint) {
        let (stop, stopped) = oneshot::channel();
        let config = HubConfig::Alone(self.identity.clone());
        let task = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            serve(listener, endpoint, config, Limits::default(), Supervisor::default(), stopped)
                .await
                .unwrap();
        });
        self.running = Some((stop, task));
    }

    /// Ends it properly; all its sockets are closed when this returns.
    pub(crate) async fn stop(&mut self) {
        let (stop, task) = self.running.take().unwrap();
        stop.send(()).unwrap();
        timeout(SOON, task).await.unwrap().unwrap();
    }

    /// Starts it again, where it was before.
    pub(crate) fn start(&mut self) {
        let (listener, endpoint) = again(self.address);
        self.serve(listener, endpoint);
    }
}

pub(crate) fn name(text: &str) -> PartyName {
    text.parse().unwrap()
}

pub(crate) fn tag() -> Tag {
    Tag::new(&Fingerprint([1; 32]), &"demo".parse().unwrap(), &[])
}

/// At a TCP port of this machine, with a whole roster to know and to be known by.
pub(crate) fn presence(port: u16, roster: &[&str]) -> Presence {
    let roster: Vec<PartyName> = roster.iter().map(|party| name(party)).collect();
    let addresses = vec![tcp(port)];
    let reflexive = |kind: &str, port| Reflexive { kind: kind.to_owned(), port };
    let reflexive = vec![reflexive("quic", None), reflexive("tcp", Some(port))];
    let own = OwnAddresses { addresses, reflexive };
    Presence { tag: tag(), own, allow: roster.clone(), groups: Vec::new(), watch: roster }
}

/// A TCP port of this machine.
pub(crate) fn tcp(port: u16) -> Address {
    Address::new("tcp", SocketAddr::from(([127, 0, 0, 1], port)))
}

/// A client that knows TCP only.
pub(crate) fn start(
    hubs: &[String],
    identity: Identity,
    presence: Presence,
) -> (Client, mpsc::Receiver<Event>, watch::Sender<Identity>) {
    let (sender, receiver) = watch::channel(identity);
    let (client, events) = Client::start(hubs, &receiver, presence, None);
    (client, events, sender)
}

/// A client with a UDP socket of its own on loopback, and that socket's address.
pub(crate) fn start_udp(
    hubs: &[String],
    identity: Identity,
    presence: Presence,
) -> (Client, mpsc::Receiver<Event>, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let (_, receiver) = watch::channel(identity);
    let endpoint = Endpoint::on(socket).unwrap();
    let (client, events) = Client::start(hubs, &receiver, presence, Some(endpoint));
    (client, events, address)
}

/// The next event that is not about a hub.
pub(crate) async fn about_parties(events: &mut mpsc::Receiver<Event>) -> Event {
    until(events, |e| !matches!(e, Event::Connected { .. } | Event::Disconnected { .. })).await
}

pub(crate) async fn until(
    events: &mut mpsc::Receiver<Event>,
    wanted: impl Fn(&Event) -> bool,
) -> Event {
    loop {
        let event = timeout(SOON, events.recv()).await.unwrap().unwrap();
        if wanted(&event) {
            return event;
        }
    }
}

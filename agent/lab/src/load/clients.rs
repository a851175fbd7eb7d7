//! The parties: who they are, and from where they connect.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::OnceLock;

use anyhow::Result;
use mpyc_party_authority::Authority;
use mpyc_party_core::addr::Address;
use mpyc_party_core::name::PartyName;
use mpyc_party_core::role::Role;
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::quic::Endpoint;
use mpyc_party_transport::{Expect, Identity, Protocol, connect, now};
use tokio::net::TcpSocket;

use super::Transport;
use super::client::{Client, Connection};

/// The size of a roster.
const ROSTER: usize = 5;
/// Parties at one address: fewer than may be undecided at once.
const NEIGHBOURS: usize = 50;

/// One party.
pub(super) struct Member {
    identity: Identity,
    pub(super) name: PartyName,
    pub(super) tag: Tag,
    /// The others of its roster.
    pub(super) others: Vec<PartyName>,
}

/// All parties, and the UDP sockets at their addresses.
pub(super) struct Clients {
    pub(super) members: Vec<Member>,
    pub(super) transport: Transport,
    sockets: Vec<OnceLock<Endpoint>>,
}

impl Clients {
    /// Makes certificates for `count` parties.
    pub(super) fn enrol(authority: &Authority, count: usize, transport: Transport) -> Result<Self> {
        let name = |number: usize| Ok(format!("p{number}").parse::<PartyName>()?);
        let mut members = Vec::with_capacity(count);
        for number in 0..count {
            let first = number - number % ROSTER;
            let roster: Vec<_> =
                (first..count.min(first + ROSTER)).map(name).collect::<Result<_>>()?;
            let own = name(number)?;
            let credentials = authority.own_credentials(&Role::party(own.clone())?, now())?;
            let identity = Identity::try_from(credentials)?;
            let session = format!("load-{first}").parse()?;
            let tag = Tag::session(&authority.root().fingerprint, &session);
            let others = roster.into_iter().filter(|other| *other != own).collect();
            members.push(Member { identity, name: own, tag, others });
        }
        let sockets = (0..=count / NEIGHBOURS).map(|_| OnceLock::new()).collect();
        Ok(Self { members, transport, sockets })
    }

    /// The number of another party in the roster of `member`.
    pub(super) fn peer(&self, member: usize) -> usize {
        let first = member - member % ROSTER;
        let size = ROSTER.min(self.members.len() - first);
        first + (member + 1 - first) % size
    }

    /// From where a party connects: one of 127.1.0.0/16.
    pub(super) fn home(member: usize) -> Ipv4Addr {
        let [.., third, fourth] = (member / NEIGHBOURS + 1).to_be_bytes();
        Ipv4Addr::new(127, 1, third, fourth)
    }

    /// Connects party `member` to the hub on `port` and announces it as a new instance.
    pub(super) async fn arrive(&self, member: usize, port: u16) -> Result<Client> {
        let connection = match self.transport {
            Transport::Tcp => self.over_tcp(member, Self::home(member), port).await?,
            Transport::Udp => {
                let socket = &self.sockets[member / NEIGHBOURS];
                let endpoint = match socket.get() {
                    Some(endpoint) => endpoint,
                    None => {
                        let made = Endpoint::on(UdpSocket::bind((Self::home(member), 0))?)?;
                        socket.get_or_init(|| made)
                    }
                };
                self.over_udp(member, endpoint, port).await?
            }
        };
        self.client(member, connection).await
    }

    /// The same from an address of one's choice.
    pub(super) async fn arrive_from(
        &self,
        member: usize,
        from: Ipv4Addr,
        port: u16,
    ) -> Result<Client> {
        let connection = match self.transport {
            Transport::Tcp => self.over_tcp(member, from, port).await?,
            Transport::Udp => {
                let endpoint = Endpoint::on(UdpSocket::bind((from, 0))?)?;
                self.over_udp(member, &endpoint, port).await?
            }
        };
        self.client(member, connection).await
    }

    async fn client(&self, member: usize, connection: Connection) -> Result<Client> {
        Client::take(connection, &self.members[member], Self::address(member, 1)).await
    }

    /// Where a party says that it is reached, on a port of its choice.
    pub(super) fn address(member: usize, port: u16) -> Address {
        let [.., b, c, d] = member.to_be_bytes();
        Address::new("tcp", SocketAddr::from(([10, b, c, d], port)))
    }

    async fn over_tcp(&self, member: usize, from: Ipv4Addr, port: u16) -> Result<Connection> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind((from, 0).into())?;
        let tcp = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?;
        let identity = &self.members[member].identity;
        let name = Tag::hub(&identity.root().fingerprint).server_name();
        let secure = connect(tcp, identity, Protocol::Hub, &Expect::Hub, &name).await?;
        Ok(Connection { secure, quic: None })
    }

    async fn over_udp(&self, member: usize, endpoint: &Endpoint, port: u16) -> Result<Connection> {
        let identity = &self.members[member].identity;
        let name = Tag::hub(&identity.root().fingerprint).server_name();
        let hub = (Ipv4Addr::LOCALHOST, port).into();
        let expect = Expect::Hub;
        let quic = endpoint.connect(hub, identity, Protocol::Hub, &expect, &name).await?;
        Ok(Connection { secure: quic.open(Protocol::Hub).await?, quic: Some(quic) })
    }
}

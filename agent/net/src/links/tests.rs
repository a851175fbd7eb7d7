//! One peer that takes all the room it can get, and another that wants in.

use std::net::{Ipv4Addr, SocketAddr};

use mpyc_party_authority::Authority;
use mpyc_party_core::control::{Control, MAX_CONTROL_BYTES, MAX_OPENING_BYTES, Purpose};
use mpyc_party_core::name::PartyName;
use mpyc_party_core::role::Role;
use mpyc_party_core::roster::PeerIndex;
use mpyc_party_transport::{Identity, Protocol, Secure, connect, frame, now, quic};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;
use crate::accept::{Entrance, MAX_CONNECTIONS};

/// Three parties of a session; the first accepts at `at` and over its UDP socket.
struct Meeting {
    peers: Vec<SessionPeers>,
    at: SocketAddr,
    _links: Links,
}

async fn meeting() -> Meeting {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::init(dir.path(), &"example".parse().unwrap(), None, now()).unwrap();
    let names: Vec<PartyName> =
        ["alice", "bob", "carol"].iter().map(|name| name.parse().unwrap()).collect();
    let identity = |name: &PartyName| -> Identity {
        let own = authority.own_credentials(&Role::party(name.clone()).unwrap(), now());
        own.unwrap().try_into().unwrap()
    };
    let peer = |(me, name): (usize, &PartyName)| {
        let (roster, pins) = (names.clone().try_into().unwrap(), vec![None; 3]);
        let identity = watch::channel(identity(name)).1;
        SessionPeers::new(identity, &"demo".parse().unwrap(), roster, PeerIndex::new(me), pins)
    };
    let peers: Vec<SessionPeers> = names.iter().enumerate().map(peer).collect();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    let endpoint = quic::Endpoint::on(std::net::UdpSocket::bind(at).unwrap()).unwrap();
    let (local, stack) = (LocalEnd { tcp: None, udp: Some(endpoint) }, Arc::<Stack>::default());
    let mut listeners = stack.listen(&local).unwrap();
    listeners.push(crate::dial::public_port(Entrance::Own(listener)));
    let entry = watch::channel(None).1;
    let (links, _) = Links::open(peers[0].clone(), stack, local, listeners, entry).unwrap();
    Meeting { peers, at, _links: links }
}

impl Meeting {
    /// A connection of party `me` on which every beat is answered, if there is room for it.
    async fn ping(&self, me: usize) -> Option<Secure> {
        let peer = &self.peers[me];
        let (identity, name) = (peer.identity(), peer.tag(PeerIndex::new(0)).server_name());
        let expect = peer.expect(Some(PeerIndex::new(0)), &peer.pins);
        let tcp = TcpStream::connect(self.at).await.unwrap();
        let mut secure = connect(tcp, &identity, Protocol::Check, &expect, &name).await.ok()?;
        frame::write(&mut secure.stream, &Purpose::Ping, MAX_OPENING_BYTES).await.ok()?;
        frame::write(&mut secure.stream, &Control::Beat(1), MAX_CONTROL_BYTES).await.ok()?;
        let echo = frame::read::<Control>(&mut secure.stream, MAX_CONTROL_BYTES).await;
        echo.ok()?.map(|_| secure)
    }

    async fn over_quic(&self, me: usize, from: &quic::Endpoint) -> Option<quic::Connection> {
        let peer = &self.peers[me];
        let (identity, name) = (peer.identity(), peer.tag(PeerIndex::new(0)).server_name());
        let expect = peer.expect(Some(PeerIndex::new(0)), &peer.pins);
        from.connect(self.at, &identity, Protocol::Peer, &expect, &name).await.ok()
    }
}

#[tokio::test]
async fn a_peer_that_takes_all_it_can_get_leaves_room_for_the_others() {
    let meeting = meeting().await;
    let mut held = Vec::new();
    for _ in 0..MAX_CONNECTIONS + 8 {
        held.extend(meeting.ping(2).await);
    }
    assert_eq!(held.len(), MAX_CONNECTIONS_PER_PEER);
    assert!(meeting.ping(1).await.is_some());
    // What it gives back, it may have again.
    let mut first = held.swap_remove(0);
    tokio::io::AsyncWriteExt::shutdown(&mut first.stream).await.unwrap();
    let _ = first.stream.read(&mut [0]).await;
    let again = async { while meeting.ping(2).await.is_none() {} };
    tokio::time::timeout(std::time::Duration::from_secs(20), again).await.unwrap();
}

#[tokio::test]
async fn a_peer_has_so_many_quic_connections_and_no_more() {
    let meeting = meeting().await;
    let socket = || std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (own, other) =
        (quic::Endpoint::on(socket()).unwrap(), quic::Endpoint::on(socket()).unwrap());
    let mut held = Vec::new();
    for _ in 0..MAX_CONNECTIONS_PER_PEER {
        held.push(meeting.over_quic(2, &own).await.unwrap());
    }
    // It is closed right after the handshake.
    if let Some(surplus) = meeting.over_quic(2, &own).await {
        let closed = tokio::time::timeout(std::time::Duration::from_secs(5), surplus.closed());
        assert!(closed.await.is_ok(), "one too many");
    }
    let bob = meeting.over_quic(1, &other).await.unwrap();
    assert!(bob.open(Protocol::Control).await.is_ok());
}

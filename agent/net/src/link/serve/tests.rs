//! One peer that takes all the room it can get, and another that wants in.

use std::net::{Ipv4Addr, SocketAddr};

use mpyc_party_authority::Authority;
use mpyc_party_core::control::{Control, MAX_CONTROL_BYTES, MAX_OPENING_BYTES, Purpose};
use mpyc_party_core::name::PartyName;
use mpyc_party_core::role::Role;
use mpyc_party_transport::{Identity, Secure, connect, frame, now};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;
use crate::link::{Circle, Links};

/// Three parties of a session; the first accepts at `at` and over its UDP socket.
struct Meeting {
    circles: Vec<Circle>,
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
    let circle = |(me, name): (usize, &PartyName)| {
        let (roster, pins) = (names.clone().try_into().unwrap(), vec![None; 3]);
        let identity = watch::channel(identity(name)).1;
        Circle::new(identity, &"demo".parse().unwrap(), roster, me, pins)
    };
    let circles: Vec<Circle> = names.iter().enumerate().map(circle).collect();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    let endpoint = quic::Endpoint::on(std::net::UdpSocket::bind(at).unwrap()).unwrap();
    let (entrance, entry) = (Entrance::Own(listener), watch::channel(None).1);
    let (links, _) = Links::open(circles[0].clone(), entrance, Some(endpoint), entry).unwrap();
    Meeting { circles, at, _links: links }
}

impl Meeting {
    /// A connection of party `me` on which every beat is answered, if there is room for it.
    async fn ping(&self, me: usize) -> Option<Secure> {
        let circle = &self.circles[me];
        let (identity, name) = (circle.identity(), circle.tag.server_name());
        let expect = circle.expect(Some(0), &circle.pins);
        let tcp = TcpStream::connect(self.at).await.unwrap();
        let mut secure = connect(tcp, &identity, Protocol::Check, &expect, &name).await.ok()?;
        frame::write(&mut secure.stream, &Purpose::Ping, MAX_OPENING_BYTES).await.ok()?;
        frame::write(&mut secure.stream, &Control::Beat(1), MAX_CONTROL_BYTES).await.ok()?;
        let echo = frame::read::<Control>(&mut secure.stream, MAX_CONTROL_BYTES).await;
        echo.ok()?.map(|_| secure)
    }

    async fn over_quic(&self, me: usize, from: &quic::Endpoint) -> Option<quic::Connection> {
        let circle = &self.circles[me];
        let (identity, name) = (circle.identity(), circle.tag.server_name());
        let expect = circle.expect(Some(0), &circle.pins);
        from.connect(self.at, &identity, Protocol::Peer, &expect, &name).await.ok()
    }
}

#[tokio::test]
async fn a_peer_that_takes_all_it_can_get_leaves_room_for_the_others() {
    let meeting = meeting().await;
    let mut held = Vec::new();
    for _ in 0..MOST_GUESTS + 8 {
        held.extend(meeting.ping(2).await);
    }
    assert_eq!(held.len(), MOST_OF_ONE);
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
    for _ in 0..MOST_OF_ONE {
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

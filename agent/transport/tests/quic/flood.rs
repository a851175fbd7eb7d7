//! Strangers who begin handshakes and leave it at that.

use std::net::{SocketAddr, UdpSocket};

use mpyc_party_transport::Protocol;
use tokio::task::JoinSet;

use crate::forge::{Forge, leaf_params};
use crate::pair::{NAME, endpoint, only, stream};
use crate::raw::{Client, Papers};

/// The first packet of one who then says nothing more.
async fn half_open(name: &str) -> Vec<u8> {
    let home = Forge::new("example");
    let papers = home.sign(&leaf_params("example", "alice", "party/alice"));
    let papers = Papers { chain: vec![papers.certificate], key: papers.key };
    let trap = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let _dialling = Client::new(&papers).dial(trap.local_addr().unwrap(), name);
    let mut first = vec![0; 2048];
    let length = trap.recv(&mut first).await.unwrap();
    first.truncate(length);
    first
}

/// The kind of long packet (RFC 9000, section 17.2) that says: prove your address first.
const RETRY: u8 = 3;

#[tokio::test]
async fn a_flood_from_invented_addresses_takes_no_place_from_a_member() {
    let home = Forge::new("example");
    let (alice, bob) = (home.party("alice"), home.party("bob"));
    let ((alices, _), (bobs, at)) = (endpoint(), endpoint());
    let (of_alice, of_bob) = (only("alice"), only("bob"));
    let (flood, mut kinds) = (100, Vec::new());
    let mut sockets = Vec::new();
    let (bob, of) = (bob.clone(), of_alice.clone());
    let server = tokio::spawn(async move {
        let mut handshakes = JoinSet::new();
        loop {
            tokio::select! {
                incoming = bobs.next() => {
                    let (incoming, bob, of) = (incoming.unwrap(), bob.clone(), of.clone());
                    handshakes.spawn(async move {
                        incoming.accept(&bob, Protocol::Peer, NAME, &of).await
                    });
                }
                Some(outcome) = handshakes.join_next() => {
                    if let Ok(connection) = outcome.unwrap() { break connection }
                }
            }
        }
    });
    for i in 0..flood {
        let from = SocketAddr::from(([127, 0, 1, i], 0));
        let socket = UdpSocket::bind(from).unwrap();
        socket.set_nonblocking(true).unwrap();
        let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
        socket.send_to(&half_open(NAME).await, at).await.unwrap();
        // Each is answered before the next one comes.
        let mut answer = [0; 2048];
        socket.recv(&mut answer).await.unwrap();
        kinds.push(answer[0] >> 4 & 3);
        sockets.push(socket);
    }
    let retried = kinds.iter().filter(|kind| **kind == RETRY).count();
    assert!(!kinds[..16].contains(&RETRY), "who comes when all is quiet needs not prove anything");
    assert_eq!(retried, usize::from(flood) - 16, "{kinds:?}");
    let client = alices.connect(at, &alice, Protocol::Peer, &of_bob, NAME).await.unwrap();
    stream(&client, &server.await.unwrap(), Protocol::Control).await;
}

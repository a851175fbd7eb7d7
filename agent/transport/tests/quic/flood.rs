//! Strangers who begin handshakes and leave it at that.

use std::net::SocketAddr;

use mpyc_party_transport::{HANDSHAKE_TIMEOUT, Protocol, TransportError};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::forge::{Forge, leaf_params};
use crate::pair::{NAME, endpoint, names, only, stream};
use crate::raw::{Client, Papers};

/// The first packet of one who then says nothing more.
async fn half_open(home: &Forge) -> Vec<u8> {
    let papers = home.sign(&leaf_params("example", "alice", "party/alice"));
    let papers = Papers { chain: vec![papers.certificate], key: papers.key };
    let trap = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let _dialling = Client::new(&papers).dial(trap.local_addr().unwrap(), NAME);
    let mut first = vec![0; 2048];
    let length = trap.recv(&mut first).await.unwrap();
    first.truncate(length);
    first
}

#[tokio::test]
async fn who_falls_silent_in_the_middle_is_given_up() {
    let home = Forge::new("example");
    let (bob, (bobs, at)) = (home.party("bob"), endpoint());
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&half_open(&home).await, at).await.unwrap();
    let incoming = bobs.next().await.unwrap();
    tokio::time::pause();
    let before = Instant::now();
    let outcome = incoming.accept(&bob, Protocol::Peer, &names(), &only("alice")).await;
    assert!(matches!(outcome, Err(TransportError::Timeout { .. })), "{outcome:?}");
    assert!(before.elapsed() < 2 * HANDSHAKE_TIMEOUT, "{:?}", before.elapsed());
}

/// The kind of long packet (RFC 9000, section 17.2) that says: prove your address first.
const RETRY: u8 = 3;

#[tokio::test]
async fn a_flood_from_invented_addresses_takes_no_place_from_a_member() {
    let home = Forge::new("example");
    let (alice, bob) = (home.party("alice"), home.party("bob"));
    let ((alices, _), (bobs, at)) = (endpoint(), endpoint());
    let (of_alice, of_bob) = (only("alice"), only("bob"));
    let mut flood = Vec::new();
    for _ in 0..40 {
        flood.push(half_open(&home).await);
    }
    let (bob, of) = (bob.clone(), of_alice.clone());
    let server = tokio::spawn(async move {
        let mut handshakes = JoinSet::new();
        loop {
            tokio::select! {
                incoming = bobs.next() => {
                    let (incoming, bob, of) = (incoming.unwrap(), bob.clone(), of.clone());
                    handshakes.spawn(async move {
                        incoming.accept(&bob, Protocol::Peer, &names(), &of).await
                    });
                }
                Some(outcome) = handshakes.join_next() => {
                    if let Ok(connection) = outcome.unwrap() { break connection }
                }
            }
        }
    });
    let mut retried = Vec::new();
    for (host, first) in (1..).zip(&flood) {
        let from = SocketAddr::from(([127, 0, 1, host], 0));
        let socket = UdpSocket::bind(from).await.unwrap();
        socket.send_to(first, at).await.unwrap();
        // Each is answered before the next one comes.
        let mut answer = [0; 2048];
        socket.recv(&mut answer).await.unwrap();
        retried.push(answer[0] >> 4 & 3 == RETRY);
    }
    // Who comes when all is quiet needs not prove anything.
    assert_eq!(retried, [[false; 16].as_slice(), &[true; 24]].concat());
    let client = alices.connect(at, &alice, Protocol::Peer, &of_bob, NAME).await.unwrap();
    stream(&client, &server.await.unwrap(), Protocol::Control).await;
}

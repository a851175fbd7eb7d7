//! What the streams of a connection carry, how they end, and what a connection outlives.

use std::io::ErrorKind;
use std::time::Duration;

use crate::forge::{Forge, leaf_params};
use crate::nat::Nat;
use crate::pair::{NAME, endpoint, handshake, names, only, say, stream};
use crate::raw::{Client, Papers};
use mpyc_party_transport::Protocol;
use mpyc_party_transport::quic::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// A connection from alice to bob, at both ends.
async fn connection() -> (Connection, Connection) {
    let home = Forge::new("example");
    let (alice, bob) = (home.party("alice"), home.party("bob"));
    let (client, server) = handshake(&alice, only("bob"), &bob, only("alice")).await;
    (client.unwrap(), server.unwrap())
}

/// The same with a client that may do anything.
async fn with_stranger() -> (quinn::Connection, Connection) {
    let home = Forge::new("example");
    let ((bobs, at), bob) = (endpoint(), home.party("bob"));
    let alice = home.sign(&leaf_params("example", "alice", "party/alice"));
    let papers = Papers { chain: vec![alice.certificate], key: alice.key };
    let expect = only("alice");
    let server = async {
        let incoming = bobs.next().await.unwrap();
        incoming.accept(&bob, Protocol::Peer, &names(), &expect).await.unwrap()
    };
    let (client, server) = tokio::join!(Client::new(&papers).dial(at, NAME), server);
    (client.unwrap(), server)
}

#[tokio::test]
async fn a_stream_that_is_for_nothing_known_is_refused() {
    let (client, server) = with_stranger().await;
    let mut refused = Vec::new();
    for first in [&[9][..], &[], &[3, 2]] {
        let (mut send, recv) = client.open_bi().await.unwrap();
        send.write_all(first).await.unwrap();
        send.finish().unwrap();
        refused.push(recv);
    }
    let (mut send, _recv) = client.open_bi().await.unwrap();
    send.write_all(&[2, 42]).await.unwrap();
    let mut accepted = server.accept().await.unwrap();
    assert_eq!(accepted.protocol, Protocol::Stream);
    assert_eq!(accepted.stream.read_u8().await.unwrap(), 42);
    for mut recv in refused {
        let why = recv.read(&mut [0]).await;
        assert!(matches!(why, Err(quinn::ReadError::Reset(code)) if code == 2u32.into()));
    }
}

#[tokio::test]
async fn a_silent_stream_does_not_stop_the_next_one() {
    let (client, server) = with_stranger().await;
    let (mut silent, _recv) = client.open_bi().await.unwrap();
    silent.set_priority(-1).unwrap();
    let (mut send, _recv) = client.open_bi().await.unwrap();
    send.write_all(&[1]).await.unwrap();
    // Whoever waits for it may give up and come back as often as they like.
    let accepted = async {
        loop {
            let attempt = timeout(Duration::from_millis(300), server.accept()).await;
            if let Ok(accepted) = attempt {
                break accepted.unwrap();
            }
        }
    };
    let accepted = timeout(Duration::from_secs(10), accepted).await.unwrap();
    assert_eq!(accepted.protocol, Protocol::Control);
    silent.write_all(&[1]).await.unwrap();
    let why = silent.stopped().await.unwrap();
    assert_eq!(why, Some(2u32.into()), "refused");
}

#[tokio::test]
async fn a_peer_opens_a_bounded_number_of_streams_of_one_sort() {
    let (client, server) = with_stranger().await;
    let now = |work| timeout(Duration::ZERO, work);
    assert!(timeout(Duration::ZERO, client.open_uni()).await.is_err(), "unidirectional");
    assert_eq!(client.max_datagram_size(), None);
    let mut open = Vec::new();
    while let Ok(pair) = now(client.open_bi()).await {
        let (mut send, recv) = pair.unwrap();
        send.write_all(&[2]).await.unwrap();
        open.push((send, recv));
    }
    assert_eq!(open.len(), 16);
    // Those that are over free their places, which the other end learns a few at a time.
    for (mut send, _recv) in open.drain(..3) {
        send.finish().unwrap();
        server.accept().await.unwrap().stream.shutdown().await.unwrap();
    }
    client.open_bi().await.unwrap();
}

#[tokio::test]
async fn a_connection_carries_its_own_kinds_alone() {
    let (client, _server) = connection().await;
    let refused = client.open(Protocol::Hub).await;
    assert!(refused.is_err(), "{refused:?}");
}

#[tokio::test]
async fn an_end_is_told_from_a_cut() {
    let (client, server) = connection().await;
    let (mut ended, mut other) = stream(&client, &server, Protocol::Stream).await;
    // Done when the other end has it, whether it has read it or not.
    ended.stream.shutdown().await.unwrap();
    assert_eq!(other.stream.read(&mut [0]).await.unwrap(), 0, "an end");
    ended.stream.shutdown().await.unwrap();
    // The other direction is still open.
    say(&mut other, &mut ended).await;
    drop(other);
    let cut = ended.stream.read(&mut [0]).await.unwrap_err();
    assert_eq!(cut.kind(), ErrorKind::UnexpectedEof, "{cut}");
    let (mut reading, writing) = stream(&client, &server, Protocol::Stream).await;
    drop(writing);
    let cut = reading.stream.read(&mut [0]).await.unwrap_err();
    assert_eq!(cut.kind(), ErrorKind::UnexpectedEof, "{cut}");
    let (mut reading, _writing) = stream(&client, &server, Protocol::Stream).await;
    server.close("the run is over\u{1b}[2J");
    let cut = reading.stream.read(&mut [0]).await.unwrap_err();
    assert_eq!(cut.kind(), ErrorKind::UnexpectedEof, "{cut}");
    assert!(cut.to_string().contains("the run is over"), "{cut}");
    let why = client.closed().await;
    assert!(why.contains("the run is over") && !why.contains('\u{1b}'), "{why}");
    assert!(server.closed().await.contains("closed here"));
    let over = client.open(Protocol::Stream).await.unwrap_err();
    assert!(over.to_string().contains("the run is over"), "{over}");
    let over = client.accept().await.unwrap_err();
    assert!(over.to_string().contains("the run is over"), "{over}");
}

#[tokio::test]
async fn what_was_shut_down_arrives_though_everything_is_dropped() {
    let (client, server) = connection().await;
    let (mut sending, mut receiving) = stream(&client, &server, Protocol::Stream).await;
    let sent = vec![7; 1 << 20];
    let send = async {
        sending.stream.write_all(&sent).await.unwrap();
        sending.stream.shutdown().await.unwrap();
        drop((sending, client));
    };
    let mut received = Vec::new();
    let ((), outcome) = tokio::join!(send, receiving.stream.read_to_end(&mut received));
    outcome.unwrap();
    assert!(received == sent);
    // The last one has gone.
    assert!(server.closed().await.contains("the other end closed"));
}

#[tokio::test]
async fn both_ends_may_dial_at_once() {
    let home = Forge::new("example");
    let (alice, bob) = (home.party("alice"), home.party("bob"));
    let ((alices, a), (bobs, b)) = (endpoint(), endpoint());
    let (of_alice, of_bob) = (only("alice"), only("bob"));
    let accept_at = async |endpoint: &mpyc_party_transport::quic::Endpoint, identity, expect| {
        endpoint.next().await.unwrap().accept(identity, Protocol::Peer, &names(), expect).await
    };
    let (there, back, at_bob, at_alice) = tokio::join!(
        alices.connect(b, &alice, Protocol::Peer, &of_bob, NAME),
        bobs.connect(a, &bob, Protocol::Peer, &of_alice, NAME),
        accept_at(&bobs, &bob, &of_alice),
        accept_at(&alices, &alice, &of_bob),
    );
    let (there, back, at_bob) = (there.unwrap(), back.unwrap(), at_bob.unwrap());
    let at_alice = at_alice.unwrap();
    assert_eq!((there.address(), at_bob.address()), (b, a));
    back.close("the other one is used");
    assert!(at_alice.closed().await.contains("the other one is used"));
    stream(&there, &at_bob, Protocol::Control).await;
    stream(&at_bob, &there, Protocol::Control).await;
    alices.close("alice ends");
    assert!(at_bob.closed().await.contains("alice ends"));
    alices.wait_idle().await;
    assert!(alices.next().await.is_none());
}

#[tokio::test]
async fn a_connection_outlives_its_nat_mapping_but_not_silence() {
    let home = Forge::new("example");
    let (alice, bob) = (home.party("alice"), home.party("bob"));
    let ((alices, _), (bobs, at)) = (endpoint(), endpoint());
    let nat = Nat::before(at).await;
    let (of_alice, of_bob) = (only("alice"), only("bob"));
    let accept = async {
        let incoming = bobs.next().await.unwrap();
        incoming.accept(&bob, Protocol::Peer, &names(), &of_alice).await.unwrap()
    };
    let dial = alices.connect(nat.inside, &alice, Protocol::Peer, &of_bob, NAME);
    let (client, server) = tokio::join!(dial, accept);
    let client = client.unwrap();
    let (mut near, mut far) = stream(&client, &server, Protocol::Stream).await;
    let before = server.address();
    let after = nat.rebind().await;
    say(&mut near, &mut far).await;
    say(&mut far, &mut near).await;
    assert_ne!(before, after);
    assert_eq!(server.address(), after);
    nat.cut();
    tokio::time::pause();
    let why = client.closed().await;
    assert!(why.contains("silent"), "{why}");
}

//! Presence over QUIC and TCP: which is used when, what a move leads to, and what a hub bounds.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod fixture;

use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use fixture::udp_proxy::{Passes, UdpProxy};
use fixture::{
    TEST_TIMEOUT, TestNetwork, about_parties, name, presence, start, start_udp, tag, tcp, until,
};
use mpyc_party_core::addr::{Address, Vantage};
use mpyc_party_core::lighthouse::{
    self, Answer, Instance, MAX_MESSAGE_BYTES, Reason, Request, Transport,
};
use mpyc_party_core::sni::Tag;
use mpyc_party_hub::Limits;
use mpyc_party_net::client::lighthouse::Event;
use mpyc_party_transport::quic::Endpoint;
use mpyc_party_transport::{Expect, Identity, Protocol, Secure, frame};
use tokio::sync::mpsc;
use tokio::time::{Duration, timeout};

const ROSTER: [&str; 2] = ["alice", "bob"];

/// Where the hub sees the client from now on, and over what.
async fn connected(events: &mut mpsc::Receiver<Event>) -> (SocketAddr, Transport) {
    match until(events, |event| matches!(event, Event::Connected { .. })).await {
        Event::Connected { observed, transport, .. } => (observed, transport),
        event => panic!("{event:?}"),
    }
}

/// Where `party` can be tried.
/// The addresses alone.
fn untold(addresses: Vec<(Address, Vantage)>) -> Vec<Address> {
    addresses.into_iter().map(|(address, _)| address).collect()
}

async fn addresses(events: &mut mpsc::Receiver<Event>, party: &str) -> Vec<Address> {
    let present = |e: &Event| matches!(e, Event::Present { party: p, .. } if *p == name(party));
    match until(events, present).await {
        Event::Present { addresses, .. } => untold(addresses),
        event => panic!("{event:?}"),
    }
}

#[tokio::test]
async fn over_quic_the_address_that_the_hub_sees_is_a_candidate() {
    let network = TestNetwork::open().await;
    let (alice, bob) = (network.party("alice").await, network.party("bob").await);
    let (_alice, mut at_alice, from) = start_udp(&network.hubs(), alice, presence(1, &ROSTER));
    assert_eq!(connected(&mut at_alice).await, (from, Transport::Udp));
    let (_bob, mut at_bob, _b) = start(&network.hubs(), bob, presence(2, &ROSTER));
    assert_eq!(addresses(&mut at_bob, "alice").await, [Address::new("quic", from), tcp(1)]);
    assert_eq!(addresses(&mut at_alice, "bob").await, [tcp(2)]);
}

#[tokio::test]
async fn where_udp_is_blocked_there_is_tcp_until_it_is_not() {
    let network = TestNetwork::behind_a_udp_proxy().await;
    let proxy = UdpProxy::new(network.hub, network.udp, Passes::Nothing).await;
    let (alice, bob) = (network.party("alice").await, network.party("bob").await);
    let begun = Instant::now();
    let (_alice, mut at_alice, _) = start_udp(&network.hubs(), alice, presence(1, &ROSTER));
    assert_eq!(connected(&mut at_alice).await.1, Transport::Tcp);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let (_bob, mut at_bob, _b) = start(&network.hubs(), bob, presence(2, &["alice"]));
    assert_eq!(addresses(&mut at_bob, "alice").await.len(), 1);
    proxy.set(Passes::Everything);
    // Neither the party nor those who look for it notice a gap.
    let next = until(&mut at_alice, |event| !matches!(event, Event::Present { .. })).await;
    assert!(matches!(next, Event::Connected { transport: Transport::Udp, .. }), "{next:?}");
    match about_parties(&mut at_bob).await {
        Event::Present { addresses, .. } => {
            let kinds: Vec<String> = untold(addresses).into_iter().map(|a| a.kind).collect();
            assert_eq!(kinds, ["quic", "tcp"]);
        }
        event => panic!("{event:?}"),
    }
}

#[tokio::test]
async fn a_migrated_address_is_pushed() {
    let network = TestNetwork::behind_a_udp_proxy().await;
    let proxy = UdpProxy::new(network.hub, network.udp, Passes::Everything).await;
    let (alice, bob) = (network.party("alice").await, network.party("bob").await);
    let (client, mut at_alice, _) = start_udp(&network.hubs(), alice, presence(1, &["bob"]));
    let before = connected(&mut at_alice).await;
    let (_bob, mut at_bob, _b) = start(&network.hubs(), bob, presence(2, &["alice"]));
    assert_eq!(addresses(&mut at_bob, "alice").await[0], Address::new("quic", before.0));
    proxy.forget();
    client.nudge();
    // The same connection, seen elsewhere.
    let after = until(&mut at_alice, |event| !matches!(event, Event::Present { .. })).await;
    let Event::Connected { observed, transport: Transport::Udp, .. } = after else {
        panic!("{after:?}")
    };
    assert_ne!(observed, before.0);
    let pushed = about_parties(&mut at_bob).await;
    let Event::Present { addresses, .. } = pushed else { panic!("{pushed:?}") };
    assert_eq!(untold(addresses)[0], Address::new("quic", observed));
}

#[tokio::test]
async fn a_hub_that_comes_back_is_told_everything_again() {
    let network = TestNetwork::open().await;
    let (alice, bob) = (network.party("alice").await, network.party("bob").await);
    let mut second = network.second_hub().await;
    let (_alice, mut at_alice, _) = start_udp(&second.hubs(), alice, presence(1, &ROSTER));
    assert_eq!(connected(&mut at_alice).await.1, Transport::Udp);
    second.stop().await;
    // A hub that stops says so, nobody has to wait for silence.
    let begun = Instant::now();
    until(&mut at_alice, |event| matches!(event, Event::Disconnected { .. })).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    second.start();
    let (_bob, mut at_bob, _) = start_udp(&second.hubs(), bob, presence(2, &ROSTER));
    addresses(&mut at_alice, "bob").await;
    addresses(&mut at_bob, "alice").await;
}

/// Announces as `instance` on a connection of its own.
async fn announced(network: &TestNetwork, identity: &Identity, instance: u8) -> Secure {
    let mut secure = network.connect_to_lighthouse(identity).await.unwrap();
    let (tag, instance) = (tag(), Instance([instance; 16]));
    let (addresses, reflexive, allow) = Default::default();
    let announce = Request::Announce { tag, instance, addresses, reflexive, allow };
    frame::write(&mut secure.stream, &announce, MAX_MESSAGE_BYTES).await.unwrap();
    frame::write(&mut secure.stream, &Request::Ping, MAX_MESSAGE_BYTES).await.unwrap();
    secure
}

/// What the hub says until it says this.
async fn heard(secure: &mut Secure, last: fn(&Answer) -> bool) -> Answer {
    loop {
        let answer =
            timeout(TEST_TIMEOUT, frame::read::<Answer>(&mut secure.stream, MAX_MESSAGE_BYTES))
                .await;
        let answer = answer.unwrap().unwrap().unwrap();
        if last(&answer) {
            return answer;
        }
    }
}

fn pong_or_goodbye(answer: &Answer) -> bool {
    matches!(answer, Answer::Pong | Answer::Goodbye(_))
}

fn goodbye(answer: &Answer) -> bool {
    matches!(answer, Answer::Goodbye(_))
}

#[tokio::test]
async fn an_instance_that_connects_anew_ends_its_older_connection() {
    let network = TestNetwork::open().await;
    let alice = network.party("alice").await;
    let mut older = announced(&network, &alice, 1).await;
    assert_eq!(heard(&mut older, pong_or_goodbye).await, Answer::Pong);
    let mut newer = announced(&network, &alice, 1).await;
    assert_eq!(heard(&mut newer, pong_or_goodbye).await, Answer::Pong);
    assert_eq!(heard(&mut older, goodbye).await, Answer::Goodbye(Reason::Replaced));
    assert!(matches!(frame::read::<Answer>(&mut older.stream, MAX_MESSAGE_BYTES).await, Ok(None)));
}

#[tokio::test]
async fn at_a_limit_newcomers_are_told_why_and_the_others_stay() {
    let lighthouse =
        lighthouse::Limits { per_party: 2, per_address: 3, ..lighthouse::Limits::default() };
    let network = TestNetwork::limited(Limits { lighthouse, ..Limits::default() }).await;
    let (alice, bob) = (network.party("alice").await, network.party("bob").await);
    let (mut one, mut two) =
        (announced(&network, &alice, 1).await, announced(&network, &alice, 2).await);
    for secure in [&mut one, &mut two] {
        assert_eq!(heard(secure, pong_or_goodbye).await, Answer::Pong);
    }
    let mut third = announced(&network, &alice, 3).await;
    assert_eq!(heard(&mut third, goodbye).await, Answer::Goodbye(Reason::PartyFull));
    drop(third);
    let (client, mut events, _) = start_udp(&network.hubs(), bob, presence(1, &ROSTER));
    assert_eq!(connected(&mut events).await.1, Transport::Udp);
    let carol = network.party("carol").await;
    let (_carol, mut at_carol, _c) = start(&network.hubs(), carol, presence(1, &ROSTER));
    let refused = until(&mut at_carol, |event| matches!(event, Event::Disconnected { .. })).await;
    let Event::Disconnected { reason, .. } = refused else { unreachable!() };
    assert!(reason.to_string().contains("from this address"), "{reason}");
    for secure in [&mut one, &mut two] {
        frame::write(&mut secure.stream, &Request::Ping, MAX_MESSAGE_BYTES).await.unwrap();
        assert_eq!(heard(secure, pong_or_goodbye).await, Answer::Pong);
    }
    // Where somebody leaves there is room for somebody else.
    drop(client);
    connected(&mut at_carol).await;
}

#[tokio::test]
async fn presence_ends_with_the_certificate() {
    let network = TestNetwork::open().await;
    let alice = network.ephemeral("alice", 3);
    let mut secure = announced(&network, &alice, 1).await;
    assert_eq!(heard(&mut secure, pong_or_goodbye).await, Answer::Pong);
    let end = timeout(TEST_TIMEOUT, frame::read::<Answer>(&mut secure.stream, MAX_MESSAGE_BYTES))
        .await
        .unwrap();
    assert!(!matches!(end, Ok(Some(_))), "{end:?}");
    assert!(mpyc_party_transport::now() >= alice.claims().not_after);
}

#[tokio::test]
async fn half_open_quic_handshakes_keep_nobody_out() {
    let network = TestNetwork::open().await;
    let (alice, bob) = (network.party("alice").await, network.party("bob").await);
    let front = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _proxy = UdpProxy::new(front, network.udp, Passes::Requests).await;
    let name = Tag::hub(&alice.root().fingerprint).server_name();
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (alice, name) = (alice.clone(), name.clone());
        let endpoint = Endpoint::on(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        flood.spawn(async move {
            let expect = Expect::Hub;
            endpoint.connect(front, &alice, Protocol::Hub, &expect, &name).await.is_ok()
        });
    }
    for round in 1..4 {
        let begun = Instant::now();
        let mine = bob.clone();
        let (client, mut events, _) = start_udp(&network.hubs(), mine, presence(round, &ROSTER));
        assert_eq!(connected(&mut events).await.1, Transport::Udp);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        drop(client);
    }
    assert!(flood.join_all().await.into_iter().all(|got_in| !got_in));
}

#[tokio::test]
async fn a_quic_connection_without_a_stream_is_ended() {
    let network = TestNetwork::open().await;
    let alice = network.party("alice").await;
    let name = Tag::hub(&alice.root().fingerprint).server_name();
    let endpoint = Endpoint::on(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    let expect = Expect::Hub;
    let connection =
        endpoint.connect(network.udp, &alice, Protocol::Hub, &expect, &name).await.unwrap();
    let why = timeout(TEST_TIMEOUT, connection.closed()).await.unwrap();
    assert!(why.contains("no stream"), "{why}");
}

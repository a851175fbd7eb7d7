//! A hub over real sockets: enrolment, renewal, the lighthouse, and those who mean no good.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::time::Duration;

use fixture::{
    TEST_TIMEOUT, TestNetwork, about_parties, listener, name, presence, start, tag, tcp, udp, until,
};
use mpyc_party_core::addr::Vantage;
use mpyc_party_core::lighthouse::{Answer, Instance, MAX_MESSAGE_BYTES, Request};
use mpyc_party_core::name::PartyName;
use mpyc_party_core::role::Role;
use mpyc_party_core::sni::Tag;
use mpyc_party_hub::{HubConfig, Limits, serve};
use mpyc_party_net::RequestError;
use mpyc_party_net::client::lighthouse::Event;
use mpyc_party_net::client::{enrolment, renewal};
use mpyc_party_transport::frame::MAX_EXTENSION_BYTES;
use mpyc_party_transport::task::Supervisor;
use mpyc_party_transport::{
    Expect, Identity, Protocol, TransportError, accept, connect, frame, generate_key, now,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

#[tokio::test]
async fn a_newcomer_enrols_and_is_a_party() {
    let network = TestNetwork::open().await;
    let (token, key) = (network.token("alice"), generate_key().unwrap());
    let first = enrolment::request(&token, &key).await.unwrap();
    assert_eq!(first.claims.role, Role::Party(name("alice")));
    let again = enrolment::request(&token, &key).await.unwrap();
    assert_eq!(again.certificate, first.certificate);
    let other = enrolment::request(&token, &generate_key().unwrap()).await;
    let Err(RequestError::Refused(why)) = other else { panic!("{other:?}") };
    assert!(why.contains("used before"), "{why}");
    let alice = Identity::new(first.certificate, key, first.root).unwrap();
    assert!(network.connect_to_lighthouse(&alice).await.is_ok());
}

#[tokio::test]
async fn an_unreachable_hub_is_passed_over() {
    let network = TestNetwork::open().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut token = network.token("alice");
    token.hubs.insert(0, closed.to_string());
    network.enrol(&token).await;
    token.hubs.truncate(1);
    let outcome = enrolment::request(&token, &generate_key().unwrap()).await;
    assert!(matches!(outcome, Err(RequestError::Unreachable { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_token_of_another_network_is_told_apart_before_anything_is_sent() {
    let (home, abroad) = (TestNetwork::open().await, TestNetwork::open().await);
    let mut token = abroad.token("alice");
    token.hubs = home.hubs();
    let outcome = enrolment::request(&token, &generate_key().unwrap()).await;
    let Err(RequestError::Transport(TransportError::Refused { reason, .. })) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(reason.contains("another network"), "{reason}");
}

#[tokio::test]
async fn strangers_who_probe_the_hub_see_no_certificate() {
    let (home, abroad) = (TestNetwork::open().await, TestNetwork::open().await);
    let stranger = abroad.party("alice").await;
    for protocol in Protocol::ALL {
        for name in [Tag::hub(&stranger.root().fingerprint), tag()] {
            let tcp = TcpStream::connect(home.hub).await.unwrap();
            let name = name.server_name();
            let outcome = connect(tcp, &stranger, protocol, &Expect::Hub, &name).await;
            // Had it seen one, it would complain about that.
            assert!(matches!(outcome, Err(TransportError::Refused { .. })), "{outcome:?}");
        }
    }
}

#[tokio::test]
async fn members_renew_and_look_each_other_up() {
    let network = TestNetwork::open().await;
    let (alice, bob) = (network.party("alice").await, network.party("bob").await);
    let renewed = renewal::renew(&network.hubs(), &alice).await.unwrap();
    assert_eq!(renewed, alice.certificate());
    let names = [name("bob"), name("zoe"), name("authority"), name("hub-1")];
    let found = renewal::directory(&network.hubs(), &alice, &names).await.unwrap();
    assert_eq!(found, [(bob.claims().clone(), bob.certificate().to_vec())]);
    network.authority.revoke("alice", now()).unwrap();
    let outcome = renewal::renew(&network.hubs(), &alice).await;
    let Err(RequestError::Refused(why)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(why, "alice has been revoked");
    assert!(renewal::directory(&network.hubs(), &alice, &names).await.is_err());
}

#[tokio::test]
async fn parties_find_each_other_and_notice_who_leaves() {
    let network = TestNetwork::open().await;
    let roster = ["alice", "bob"];
    let (alice, bob) = (network.party("alice").await, network.party("bob").await);
    let (_alice, mut at_alice, _a) = start(&network.hubs(), alice, presence(1111, &roster));
    until(&mut at_alice, |event| matches!(event, Event::Connected { .. })).await;
    let (client, mut at_bob, _b) = start(&network.hubs(), bob, presence(2222, &roster));
    let seen = |party, port| {
        let addresses = vec![(tcp(port), Vantage::SameHost)];
        Event::Present { party: name(party), addresses, hubs: network.hubs() }
    };
    // A party is in its own roster, and so hears of itself too.
    until(&mut at_alice, |event| *event == seen("bob", 2222)).await;
    until(&mut at_bob, |event| *event == seen("alice", 1111)).await;
    client.set(presence(3333, &roster));
    until(&mut at_alice, |event| *event == seen("bob", 3333)).await;
    drop(client);
    until(&mut at_alice, |event| *event == Event::Gone { party: name("bob") }).await;
}

#[tokio::test]
async fn a_bystander_hears_nothing() {
    let network = TestNetwork::open().await;
    let (alice, eve) = (network.party("alice").await, network.party("eve").await);
    let (_eve, mut at_eve, _e) = start(&network.hubs(), eve.clone(), presence(1, &["alice"]));
    until(&mut at_eve, |event| matches!(event, Event::Connected { .. })).await;
    let (_alice, mut at_alice, _a) = start(&network.hubs(), alice, presence(2, &["alice", "bob"]));
    until(&mut at_alice, |event| matches!(event, Event::Present { .. })).await;
    // Eve asks the same question by hand; the answer to a later ping shows that none came.
    let mut secure = network.connect_to_lighthouse(&eve).await.unwrap();
    let instance = Instance([1; 16]);
    let (addresses, reflexive, allow) = Default::default();
    let announce = Request::Announce { tag: tag(), instance, addresses, reflexive, allow };
    frame::write(&mut secure.stream, &announce, MAX_MESSAGE_BYTES).await.unwrap();
    let watch = Request::Watch { tag: tag(), parties: vec![name("alice"), name("zoe")] };
    frame::write(&mut secure.stream, &watch, MAX_MESSAGE_BYTES).await.unwrap();
    frame::write(&mut secure.stream, &Request::Ping, MAX_MESSAGE_BYTES).await.unwrap();
    let mut heard = Vec::new();
    while heard.last() != Some(&Answer::Pong) {
        heard.push(
            frame::read::<Answer>(&mut secure.stream, MAX_MESSAGE_BYTES).await.unwrap().unwrap(),
        );
    }
    assert!(matches!(heard[..], [Answer::Welcome { .. }, Answer::Pong]), "{heard:?}");
    assert!(at_eve.try_recv().is_err());
}

#[tokio::test]
async fn a_client_outlives_its_hub() {
    let network = TestNetwork::open().await;
    let roster = ["alice", "bob"];
    let (alice, bob) = (network.party("alice").await, network.party("bob").await);
    let mut second = network.second_hub().await;
    let hubs = second.hubs();
    let (_alice, mut at_alice, _a) = start(&hubs, alice, presence(1111, &roster));
    until(&mut at_alice, |event| matches!(event, Event::Connected { .. })).await;
    second.stop().await;
    until(&mut at_alice, |event| matches!(event, Event::Disconnected { .. })).await;
    second.start();
    let (_bob, mut at_bob, _b) = start(&hubs, bob, presence(2222, &roster));
    until(&mut at_alice, |e| matches!(e, Event::Present { party, .. } if *party == name("bob")))
        .await;
    until(&mut at_bob, |e| matches!(e, Event::Present { party, .. } if *party == name("alice")))
        .await;
}

#[tokio::test]
async fn two_hubs_are_as_good_as_one() {
    let network = TestNetwork::open().await;
    let roster = ["bob"];
    let (alice, bob) = (network.party("alice").await, network.party("bob").await);
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let both = vec![closed.to_string(), network.hub.to_string()];
    let (_alice, mut at_alice, _a) = start(&both, alice, presence(1111, &roster));
    let (_bob, _at_bob, _b) = start(&network.hubs(), bob, presence(2222, &["alice"]));
    let event = about_parties(&mut at_alice).await;
    assert!(matches!(event, Event::Present { party, .. } if party == name("bob")));
}

#[tokio::test]
async fn a_hub_without_the_authority_enrols_nobody() {
    let network = TestNetwork::open().await;
    let second = network.second_hub().await;
    let mut token = network.token("alice");
    token.hubs = second.hubs();
    let outcome = enrolment::request(&token, &generate_key().unwrap()).await;
    let Err(RequestError::Transport(TransportError::Refused { .. })) = outcome else {
        panic!("{outcome:?}")
    };
    let alice = network.party("alice").await;
    let outcome = renewal::renew(&second.hubs(), &alice).await;
    assert!(matches!(outcome, Err(RequestError::Transport(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_party_is_no_hub() {
    let network = TestNetwork::open().await;
    let (_sender, identity) = watch::channel(network.party("alice").await);
    let listener = listener().await;
    let forever = std::future::pending();
    let (endpoint, config) = (udp(&listener), HubConfig::Alone(identity));
    let outcome =
        serve(listener, endpoint, config, Limits::default(), Supervisor::default(), forever).await;
    assert_eq!(outcome.unwrap_err().to_string(), "a hub's identity is needed, not alice's");
}

#[tokio::test]
async fn half_open_handshakes_keep_nobody_out() {
    let network = TestNetwork::open().await;
    let alice = network.party("alice").await;
    let mut flood = Vec::new();
    for _ in 0..200 {
        let mut tcp = TcpStream::connect(network.hub).await.unwrap();
        tcp.write_all(&[22, 3, 1]).await.unwrap();
        flood.push(tcp);
        if flood.len() % 50 == 0 {
            let begun = std::time::Instant::now();
            assert!(network.connect_to_lighthouse(&alice).await.is_ok());
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        }
    }
    // None of the flood is served for long.
    for mut tcp in flood {
        let end = timeout(TEST_TIMEOUT, tcp.read(&mut [0; 64])).await.unwrap();
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
}

#[tokio::test]
async fn oversized_and_foreign_messages_end_the_connection() {
    let network = TestNetwork::open().await;
    let alice = network.party("alice").await;
    let long = (u32::try_from(MAX_MESSAGE_BYTES + MAX_EXTENSION_BYTES).unwrap() + 1).to_be_bytes();
    for bytes in [&long[..], &[0, 0, 0, 0], &[0, 0, 0, 1, 99], &[0, 0, 0, 3, 2, 0, 0]] {
        let mut secure = network.connect_to_lighthouse(&alice).await.unwrap();
        secure.stream.write_all(bytes).await.unwrap();
        secure.stream.flush().await.unwrap();
        let mut rest = Vec::new();
        let end = timeout(TEST_TIMEOUT, secure.stream.read_to_end(&mut rest)).await;
        assert!(end.is_ok(), "{bytes:?} must end the connection");
    }
    assert!(network.connect_to_lighthouse(&alice).await.is_ok());
}

/// An authority's server that answers every renewal with `certificate`.
async fn confused(authority: Identity, certificate: Vec<u8>) -> String {
    #[derive(serde::Serialize)]
    enum Reply {
        Granted(Option<Vec<u8>>, Vec<Vec<u8>>),
    }
    let listener = listener().await;
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let expects = [(Protocol::Renew, Expect::Renewing)];
            let mut secure = accept(tcp, &authority, &expects).await.unwrap();
            let asked = frame::read::<(bool, Vec<PartyName>)>(&mut secure.stream, 1024).await;
            assert!(asked.unwrap().unwrap().0);
            let reply = Reply::Granted(Some(certificate.clone()), Vec::new());
            frame::write(&mut secure.stream, &reply, 16 * 1024).await.unwrap();
            secure.stream.shutdown().await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn what_is_no_renewal_is_not_taken_for_one() {
    let network = TestNetwork::open().await;
    let (alice, bob) = (network.party("alice").await, network.party("bob").await);
    let server = network.authority.own_credentials(&Role::Authority, now()).unwrap();
    let server = Identity::try_from(server).unwrap();
    for (certificate, fine) in [
        (alice.certificate().to_vec(), true),
        (bob.certificate().to_vec(), false),
        (alice.root().der().to_vec(), false),
        (Vec::new(), false),
    ] {
        let at = confused(server.clone(), certificate.clone()).await;
        match renewal::renew(&[at], &alice).await {
            Ok(renewed) => assert!(fine && renewed == certificate),
            Err(error) => assert!(!fine && matches!(error, RequestError::NotRenewed(_)), "{error}"),
        }
    }
}

#[tokio::test]
async fn members_who_ask_for_nothing_make_room_for_others() {
    let network = TestNetwork::open().await;
    let alice = network.party("alice").await;
    let name = Tag::hub(&alice.root().fingerprint).server_name();
    let mut idle = Vec::new();
    for _ in 0..=64 {
        let tcp = TcpStream::connect(network.hub).await.unwrap();
        let authority = Expect::Authority;
        let secure = connect(tcp, &alice, Protocol::Renew, &authority, &name).await.unwrap();
        idle.push(secure.stream);
    }
    let mut byte = [0];
    // The oldest has to go at once; the next is given its time.
    let _ = timeout(TEST_TIMEOUT, idle[0].read(&mut byte)).await.unwrap();
    assert!(timeout(Duration::from_secs(1), idle[1].read(&mut byte)).await.is_err());
}

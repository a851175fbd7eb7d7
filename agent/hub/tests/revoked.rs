//! What becomes of those who are revoked while they are connected, and of those who come afterwards.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use fixture::{TEST_TIMEOUT, TestNetwork, name, presence, start, start_udp, tag, until};
use mpyc_party_core::lighthouse::{Answer, MAX_MESSAGE_BYTES, Reason, Request};
use mpyc_party_net::RequestError;
use mpyc_party_net::client::lighthouse::Event;
use mpyc_party_net::client::relay::{call, join};
use mpyc_party_transport::{Secure, frame, now};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

const ROSTER: [&str; 3] = ["alice", "bob", "carol"];

async fn hear(secure: &mut Secure) -> Option<Answer> {
    timeout(TEST_TIMEOUT, frame::read(&mut secure.stream, MAX_MESSAGE_BYTES))
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn they_are_told_to_go_and_others_stay() {
    let network = TestNetwork::open().await;
    let (alice, bob) = (network.party("alice").await, network.party("bob").await);
    let mut at_alice = network.connect_to_lighthouse(&alice).await.unwrap();
    let mut at_bob = network.connect_to_lighthouse(&bob).await.unwrap();
    for secure in [&mut at_alice, &mut at_bob] {
        assert!(matches!(hear(secure).await, Some(Answer::Welcome { .. })));
    }
    network.authority.revoke("alice", now()).unwrap();
    assert_eq!(hear(&mut at_alice).await, Some(Answer::Goodbye(Reason::NotMember)));
    assert_eq!(hear(&mut at_alice).await, None);
    let mut again = network.connect_to_lighthouse(&alice).await.unwrap();
    assert_eq!(hear(&mut again).await, Some(Answer::Goodbye(Reason::NotMember)));
    frame::write(&mut at_bob.stream, &Request::Ping, MAX_MESSAGE_BYTES).await.unwrap();
    assert_eq!(hear(&mut at_bob).await, Some(Answer::Pong));
}

#[tokio::test]
async fn they_learn_why_and_the_others_that_they_are_gone() {
    let network = TestNetwork::open().await;
    let (alice, bob, carol) =
        (network.party("alice").await, network.party("bob").await, network.party("carol").await);
    let (_a, mut at_alice, _from) = start_udp(&network.hubs(), alice, presence(1, &ROSTER));
    let (_b, mut at_bob, _) = start(&network.hubs(), bob, presence(2, &ROSTER));
    let (_c, mut at_carol, _) = start(&network.hubs(), carol, presence(3, &ROSTER));
    let mut away = vec![name("alice"), name("bob")];
    while !away.is_empty() {
        match until(&mut at_carol, |event| matches!(event, Event::Present { .. })).await {
            Event::Present { party, .. } => away.retain(|other| *other != party),
            event => panic!("{event:?}"),
        }
    }
    for (party, events) in [("alice", &mut at_alice), ("bob", &mut at_bob)] {
        network.authority.revoke(party, now()).unwrap();
        let end = until(events, |event| matches!(event, Event::Disconnected { .. })).await;
        let Event::Disconnected { reason, .. } = end else { panic!("{end:?}") };
        assert_eq!(reason.to_string(), Reason::NotMember.to_string());
        until(&mut at_carol, |event| *event == Event::Gone { party: name(party) }).await;
    }
}

#[tokio::test]
async fn nothing_is_relayed_for_them_any_more() {
    for revoked in ["alice", "bob"] {
        let network = TestNetwork::open().await;
        let hub = network.hub.to_string();
        let (alice, bob) = (network.party("alice").await, network.party("bob").await);
        let (_b, mut at_bob, _) = start(&network.hubs(), bob.clone(), presence(2, &ROSTER));
        until(&mut at_bob, |event| matches!(event, Event::Connected { .. })).await;
        // Bob sees himself once the hub has taken in whom he allows.
        until(&mut at_bob, |event| matches!(event, Event::Present { .. })).await;
        let joined = async {
            match until(&mut at_bob, |event| matches!(event, Event::Call { .. })).await {
                Event::Call { call, .. } => join(&hub, &bob, call).await.unwrap(),
                event => panic!("{event:?}"),
            }
        };
        let to_bob = name("bob");
        let (near, mut far) = tokio::join!(call(&hub, &alice, tag(), &to_bob), joined);
        let mut near = near.unwrap();
        network.authority.revoke(revoked, now()).unwrap();
        for end in [&mut near, &mut far] {
            let cut = timeout(TEST_TIMEOUT, end.read(&mut [0; 1])).await.unwrap();
            assert!(cut.is_err(), "{revoked}: {cut:?}");
        }
        let again = call(&hub, &alice, tag(), &to_bob).await;
        assert!(matches!(again, Err(RequestError::Frame { .. } | RequestError::Relay { .. })));
    }
}

//! The relay over real sockets: who may call and join, what passes, and what it bounds.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod fixture;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fixture::{TEST_TIMEOUT, TestNetwork, name, presence, start, tag, until};
use mpyc_party_core::name::PartyName;
use mpyc_party_core::relay::{
    self as rules, CallId, JOIN_TIMEOUT, MAX_MESSAGE_BYTES, Refusal, Reply, Request,
};
use mpyc_party_hub::Limits;
use mpyc_party_net::RequestError;
use mpyc_party_net::client::lighthouse::{Client, Event};
use mpyc_party_net::client::relay::{call, join};
use mpyc_party_transport::{
    Expect, Identity, Incoming, Protocol, RawStream, Secure, connect, frame, now,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A party that is present at the hub.
struct Party {
    identity: Identity,
    events: mpsc::Receiver<Event>,
    _presence: (Client, watch::Sender<Identity>),
}

impl Party {
    /// Present for the others of `allow`.
    async fn new(network: &TestNetwork, party: &str, allow: &[&str]) -> Self {
        Self::with(network, network.party(party).await, allow).await
    }

    async fn with(network: &TestNetwork, identity: Identity, allow: &[&str]) -> Self {
        let presence = presence(1, allow);
        let (client, mut events, sender) = start(&network.hubs(), identity.clone(), presence);
        until(&mut events, |event| matches!(event, Event::Connected { .. })).await;
        // Only now it is sure that the announcement has been heard.
        until(&mut events, |e| matches!(e, Event::Present { .. })).await;
        Self { identity, events, _presence: (client, sender) }
    }

    /// The next call, and who it is from.
    async fn called(&mut self) -> (PartyName, CallId) {
        match until(&mut self.events, |event| matches!(event, Event::Call { .. })).await {
            Event::Call { from, call, .. } => (from, call),
            event => panic!("{event:?}"),
        }
    }
}

/// The two ends of a pipe from `caller` to `callee`, both present.
async fn pipe(
    network: &TestNetwork,
    caller: &Identity,
    callee: &mut Party,
) -> (RawStream, RawStream) {
    let (hub, to) = (network.hub.to_string(), callee.identity.claims().party().unwrap().clone());
    let identity = callee.identity.clone();
    let answer = async {
        let (from, id) = callee.called().await;
        assert_eq!(Some(&from), caller.claims().party());
        join(&hub, &identity, id).await.unwrap()
    };
    let (called, joined) = tokio::join!(call(&hub, caller, tag(), &to), answer);
    (called.unwrap(), joined)
}

/// A party watches itself, so that it knows when it is announced.
const ALICE: [&str; 2] = ["alice", "bob"];

fn refusal<T>(outcome: Result<T, RequestError>) -> Option<Refusal> {
    match outcome {
        Err(RequestError::Relay { refusal, .. }) => Some(refusal),
        Err(error) => panic!("{error}"),
        Ok(_) => None,
    }
}

#[tokio::test]
async fn two_parties_do_their_own_handshake_through_the_hub() {
    let network = TestNetwork::open().await;
    let alice = network.party("alice").await;
    let mut bob = Party::new(&network, "bob", &ALICE).await;
    let (to_bob, to_alice) = pipe(&network, &alice, &mut bob).await;
    let only = |party| Expect::Parties(vec![(name(party), None)]);
    let (from_alice, from_bob) = (only("alice"), only("bob"));
    let server_name = tag().server_name();
    let accept = async {
        let incoming = Incoming::read(to_alice).await.unwrap();
        incoming.accept(&bob.identity, Protocol::Stream, &from_alice).await.unwrap()
    };
    let dial = connect(to_bob, &alice, Protocol::Stream, &from_bob, &server_name);
    let (dialled, mut accepted) = tokio::join!(dial, accept);
    let mut dialled: Secure = dialled.unwrap();
    // One direction ends, the other goes on.
    dialled.stream.write_all(b"question").await.unwrap();
    dialled.stream.shutdown().await.unwrap();
    let mut asked = Vec::new();
    accepted.stream.read_to_end(&mut asked).await.unwrap();
    accepted.stream.write_all(b"answer").await.unwrap();
    accepted.stream.shutdown().await.unwrap();
    let mut answered = Vec::new();
    timeout(TEST_TIMEOUT, dialled.stream.read_to_end(&mut answered)).await.unwrap().unwrap();
    assert_eq!((&asked[..], &answered[..]), (&b"question"[..], &b"answer"[..]));
}

#[tokio::test]
async fn a_half_close_passes_and_a_cut_shows_as_one() {
    let network = TestNetwork::open().await;
    let alice = network.party("alice").await;
    let mut bob = Party::new(&network, "bob", &ALICE).await;
    let (mut near, mut far) = pipe(&network, &alice, &mut bob).await;
    near.write_all(b"all").await.unwrap();
    near.shutdown().await.unwrap();
    let mut said = Vec::new();
    timeout(TEST_TIMEOUT, far.read_to_end(&mut said)).await.unwrap().unwrap();
    assert_eq!(said, b"all");
    far.write_all(b"more").await.unwrap();
    far.flush().await.unwrap();
    let mut more = [0; 4];
    timeout(TEST_TIMEOUT, near.read_exact(&mut more)).await.unwrap().unwrap();
    // Gone without a word.
    drop(far);
    let cut = timeout(TEST_TIMEOUT, near.read(&mut more)).await.unwrap();
    assert!(cut.is_err(), "{cut:?}");
}

#[tokio::test]
async fn a_stranger_and_an_absent_party_are_answered_alike() {
    let network = TestNetwork::open().await;
    let (alice, eve) = (network.party("alice").await, network.party("eve").await);
    let mut bob = Party::new(&network, "bob", &ALICE).await;
    let hub = network.hub.to_string();
    assert_eq!(refusal(call(&hub, &eve, tag(), &name("bob")).await), Some(Refusal::Absent));
    assert_eq!(refusal(call(&hub, &alice, tag(), &name("carol")).await), Some(Refusal::Absent));
    pipe(&network, &alice, &mut bob).await;
}

#[tokio::test]
async fn nobody_but_the_called_party_joins_and_only_once() {
    let network = TestNetwork::open().await;
    let (alice, eve) = (network.party("alice").await, network.party("eve").await);
    let mut bob = Party::new(&network, "bob", &ALICE).await;
    let hub = network.hub.to_string();
    let identity = bob.identity.clone();
    let answer = async {
        let (_, id) = bob.called().await;
        // Somebody has got hold of the id.
        assert_eq!(refusal(join(&hub, &eve, id).await), Some(Refusal::NoSuchCall));
        assert_eq!(refusal(join(&hub, &alice, id).await), Some(Refusal::NoSuchCall));
        let joined = join(&hub, &identity, id).await.unwrap();
        assert_eq!(refusal(join(&hub, &identity, id).await), Some(Refusal::NoSuchCall));
        joined
    };
    let to = name("bob");
    let (called, _joined) = tokio::join!(call(&hub, &alice, tag(), &to), answer);
    called.unwrap();
    let guessed = join(&hub, &identity, CallId([0; 16])).await;
    assert_eq!(refusal(guessed), Some(Refusal::NoSuchCall));
}

#[tokio::test]
async fn a_call_that_nobody_answers_ends() {
    let network = TestNetwork::open().await;
    let alice = network.party("alice").await;
    let mut bob = Party::new(&network, "bob", &ALICE).await;
    let (hub, begun) = (network.hub.to_string(), Instant::now());
    let outcome = call(&hub, &alice, tag(), &name("bob")).await;
    assert_eq!(refusal(outcome), Some(Refusal::Unanswered));
    assert!((JOIN_TIMEOUT..JOIN_TIMEOUT + Duration::from_secs(2)).contains(&begun.elapsed()));
    let (_, late) = bob.called().await;
    assert_eq!(refusal(join(&hub, &bob.identity, late).await), Some(Refusal::NoSuchCall));
}

#[tokio::test]
async fn who_hangs_up_does_not_wait_any_longer() {
    let network = TestNetwork::open().await;
    let alice = network.party("alice").await;
    let mut bob = Party::new(&network, "bob", &ALICE).await;
    let request = Request::Call { tag: tag(), party: name("bob") };
    for impatient in [true, false] {
        let mut secure = network.connect(&alice, Protocol::Relay).await.unwrap();
        frame::write(&mut secure.stream, &request, MAX_MESSAGE_BYTES).await.unwrap();
        let (_, id) = bob.called().await;
        if impatient {
            // Bytes before the reply keep to no protocol.
            secure.stream.write_all(b"too early").await.unwrap();
            secure.stream.flush().await.unwrap();
            let end = timeout(TEST_TIMEOUT, secure.stream.read(&mut [0; 1])).await.unwrap();
            assert!(!matches!(end, Ok(1..)), "{end:?}");
        } else {
            secure.stream.shutdown().await.unwrap();
            let end = timeout(TEST_TIMEOUT, secure.stream.read(&mut [0; 1])).await.unwrap();
            assert!(!matches!(end, Ok(1..)), "{end:?}");
        }
        let joined = join(&network.hub.to_string(), &bob.identity, id).await;
        assert_eq!(refusal(joined), Some(Refusal::NoSuchCall));
    }
}

#[tokio::test]
async fn pairs_of_a_party_are_bounded() {
    let relay = rules::Limits { per_party: 2, ..rules::Limits::default() };
    let network = TestNetwork::limited(Limits { relay, ..Limits::default() }).await;
    let alice = network.party("alice").await;
    let mut bob = Party::new(&network, "bob", &ALICE).await;
    let hub = network.hub.to_string();
    let first = pipe(&network, &alice, &mut bob).await;
    let _second = pipe(&network, &alice, &mut bob).await;
    let full = Some(Refusal::PartyFull);
    assert_eq!(refusal(call(&hub, &alice, tag(), &name("bob")).await), full);
    assert_eq!(refusal(join(&hub, &bob.identity, CallId([0; 16])).await), full);
    let (mut near, far) = first;
    drop(far);
    let cut = timeout(TEST_TIMEOUT, near.read(&mut [0; 1])).await.unwrap();
    assert!(cut.is_err(), "{cut:?}");
    pipe(&network, &alice, &mut bob).await;
}

#[tokio::test]
async fn a_busy_party_leaves_the_others_their_share() {
    let relay_rate = NonZeroU64::new(1_000_000);
    let network = TestNetwork::limited(Limits { relay_rate, ..Limits::default() }).await;
    let (alice, carol) = (network.party("alice").await, network.party("carol").await);
    let mut bob = Party::new(&network, "bob", &["alice", "bob", "carol"]).await;
    let mut pairs = Vec::new();
    for who in [0, 0, 0, 0, 0, 0, 0, 0, 1] {
        pairs.push((who, pipe(&network, [&alice, &carol][who], &mut bob).await));
    }
    let sent = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
    let mut pumps = JoinSet::new();
    for (who, (mut near, mut far)) in pairs {
        let sent = Arc::clone(&sent[who]);
        pumps.spawn(async move { while near.write_all(&[0; 4096]).await.is_ok() {} });
        pumps.spawn(async move {
            let mut buffer = vec![0; 65_536];
            while let Ok(length @ 1..) = far.read(&mut buffer).await {
                sent.fetch_add(length as u64, Ordering::Relaxed);
            }
        });
    }
    let counts = || [0, 1].map(|who: usize| sent[who].load(Ordering::Relaxed));
    let until = async |enough: &dyn Fn([u64; 2]) -> bool| {
        while !enough(counts()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        counts()
    };
    let shares = async {
        let before = until(&|[busy, single]| busy > 0 && single > 0).await;
        let (begun, enough) = (Instant::now(), before.iter().sum::<u64>() + 2_000_000);
        let after = until(&|now| now.iter().sum::<u64>() > enough).await;
        // Some of it was on its way already when counting began.
        assert!(begun.elapsed() > Duration::from_millis(1500), "the ceiling holds");
        [after[0] - before[0], after[1] - before[1]]
    };
    let [busy, single] = timeout(TEST_TIMEOUT, shares).await.unwrap();
    assert!(single * 2 > busy, "8 pairs have carried {busy} bytes, a single one {single}");
}

#[tokio::test]
async fn a_pair_ends_with_a_certificate() {
    let network = TestNetwork::open().await;
    let alice = network.party("alice").await;
    let bob = network.ephemeral("bob", 4);
    let expires = bob.claims().not_after;
    let mut bob = Party::with(&network, bob, &ALICE).await;
    let (mut near, _far) = pipe(&network, &alice, &mut bob).await;
    let cut = timeout(TEST_TIMEOUT, near.read(&mut [0; 1])).await.unwrap();
    assert!(cut.is_err(), "{cut:?}");
    assert!(now() >= expires);
}

#[tokio::test]
async fn anything_but_a_request_ends_the_pipe() {
    let network = TestNetwork::open().await;
    let alice = network.party("alice").await;
    let long = (u32::try_from(MAX_MESSAGE_BYTES).unwrap() + 1).to_be_bytes();
    for bytes in [&long[..], &[0, 0, 0, 0], &[0, 0, 0, 1, 9], &[0, 0, 0, 2, 1, 0]] {
        let mut secure = network.connect(&alice, Protocol::Relay).await.unwrap();
        secure.stream.write_all(bytes).await.unwrap();
        secure.stream.flush().await.unwrap();
        let answer =
            timeout(TEST_TIMEOUT, frame::read::<Reply>(&mut secure.stream, MAX_MESSAGE_BYTES))
                .await;
        assert!(!matches!(answer.unwrap(), Ok(Some(_))), "{bytes:?}");
    }
}

#[tokio::test]
async fn a_hub_that_stops_cuts_its_pairs() {
    let network = TestNetwork::open().await;
    let mut second = network.second_hub().await;
    let (alice, bob) = (network.party("alice").await, network.party("bob").await);
    let (_client, mut events, _b) = start(&second.hubs(), bob.clone(), presence(1, &ALICE));
    let hub = second.address.to_string();
    let mut ends = Vec::new();
    for round in 0..2 {
        until(&mut events, |event| matches!(event, Event::Connected { .. })).await;
        let answer = async {
            match until(&mut events, |event| matches!(event, Event::Call { .. })).await {
                Event::Call { call, .. } => join(&hub, &bob, call).await.unwrap(),
                event => panic!("{event:?}"),
            }
        };
        // Until it has announced itself again, bob is not there.
        let call_again = async {
            loop {
                match call(&hub, &alice, tag(), &name("bob")).await {
                    Err(RequestError::Relay { refusal: Refusal::Absent, .. }) => {}
                    outcome => return outcome.unwrap(),
                }
            }
        };
        let pair = timeout(TEST_TIMEOUT, async { tokio::join!(call_again, answer) }).await.unwrap();
        if round == 0 {
            second.stop().await;
            second.start();
        }
        ends.push(pair);
    }
    let (mut near, mut far) = ends.swap_remove(0);
    for end in [&mut near, &mut far] {
        let cut = timeout(TEST_TIMEOUT, end.read(&mut [0; 1])).await.unwrap();
        assert!(cut.is_err(), "{cut:?}");
    }
}

//! A hub whose authority's signer is slow, fails or panics.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod fixture;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fixture::signer::{Barrier, is_for_a_party, open_with};
use fixture::{TEST_TIMEOUT, TestNetwork, listener, name, udp};
use mpyc_party_authority::{Authority, LocalSigner, Signer, SignerError, SigningRequest};
use mpyc_party_hub::{HubConfig, HubError, Limits, serve};
use mpyc_party_net::RequestError;
use mpyc_party_net::client::{enrolment, renewal};
use mpyc_party_transport::quic::Endpoint;
use mpyc_party_transport::task::{Supervisor, TaskFailure};
use mpyc_party_transport::{Identity, generate_key, now};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

fn refused<T: std::fmt::Debug>(outcome: Result<T, RequestError>) -> String {
    match outcome {
        Err(RequestError::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(TEST_TIMEOUT, waiting).await.unwrap();
}

/// A network with a slow signer, and alice, who was enrolled before it became slow.
async fn slow() -> (TestNetwork, Arc<Barrier>, Identity) {
    let (alices, barrier) = (generate_key().unwrap(), Arc::new(Barrier::default()));
    let signer = barrier.signer();
    let first = AtomicUsize::new(0);
    let network = TestNetwork::with_signer(move |key: &LocalSigner, request: &SigningRequest| {
        if is_for_a_party(request) && first.fetch_add(1, Ordering::SeqCst) == 0 {
            return key.sign(request);
        }
        signer(key, request)
    })
    .await;
    let alice = enrolment::request(&network.token("alice"), &alices).await.unwrap();
    let alice = Identity::new(alice.certificate, alices, alice.root).unwrap();
    (network, barrier, alice)
}

#[tokio::test]
async fn a_slow_signer_holds_up_nobody_else() {
    let (network, barrier, alice) = slow().await;
    let mut enrolling = JoinSet::new();
    // Not all at once: they come from one address, which has only so many handshakes.
    for (batch, arrived) in [(0..40, 40), (40..64, 64), (64..100, 64)] {
        for party in batch {
            let (token, key) = (network.token(&format!("p{party}")), generate_key().unwrap());
            enrolling.spawn(async move { enrolment::request(&token, &key).await });
        }
        until(|| barrier.arrived() >= arrived).await;
    }
    sleep(Duration::from_millis(500)).await;
    let begun = Instant::now();
    network.connect_to_lighthouse(&alice).await.unwrap();
    let found = renewal::directory(&network.hubs(), &alice, &[name("alice")]).await.unwrap();
    assert_eq!(found.len(), 1);
    network.authority.check(alice.claims()).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(barrier.arrived(), 64, "signatures under way are bounded");
    // Those who have waited long enough are told so, whether or not their turn has come.
    let first = enrolling.join_next().await.unwrap().unwrap();
    assert_eq!(refused(first), "the certificate is not signed yet: ask again in a few seconds");
    barrier.open();
    enrolling.join_all().await;
}

#[tokio::test]
async fn whoever_asks_again_gets_what_was_signed_meanwhile() {
    let (network, barrier, alice) = slow().await;
    let (token, key) = (network.token("bob"), generate_key().unwrap());
    let why = refused(enrolment::request(&token, &key).await);
    assert!(why.contains("ask again"), "{why}");
    let mut asking = JoinSet::new();
    for _ in 0..3 {
        let (token, key) = (token.clone(), key.clone());
        asking.spawn(async move { enrolment::request(&token, &key).await });
    }
    sleep(Duration::from_millis(500)).await;
    assert_eq!(barrier.arrived(), 1, "one signature for one requester");
    barrier.open();
    let mut issued = Vec::new();
    while let Some(enrolled) = asking.join_next().await {
        issued.push(enrolled.unwrap().unwrap().certificate);
    }
    issued.push(enrolment::request(&token, &key).await.unwrap().certificate);
    issued.dedup();
    assert_eq!((issued.len(), barrier.arrived()), (1, 1));
    let hubs = network.hubs();
    let renewed = renewal::renew(&hubs, &alice).await.unwrap();
    assert_eq!(renewed, alice.certificate(), "not twice within a minute");
}

#[tokio::test]
async fn whoever_is_revoked_meanwhile_gets_nothing() {
    let (network, barrier, _alice) = slow().await;
    let (token, key) = (network.token("bob"), generate_key().unwrap());
    let asking = tokio::spawn(async move { enrolment::request(&token, &key).await });
    until(|| barrier.arrived() == 1).await;
    network.authority.revoke("bob", now()).unwrap();
    barrier.open();
    assert_eq!(refused(asking.await.unwrap()), "bob has been revoked");
}

#[tokio::test]
async fn why_a_signer_fails_reaches_the_requester() {
    let network = TestNetwork::with_signer(|key: &LocalSigner, request: &SigningRequest| {
        if is_for_a_party(request) { Err(SignerError::Unavailable) } else { key.sign(request) }
    })
    .await;
    let why = refused(enrolment::request(&network.token("bob"), &generate_key().unwrap()).await);
    assert_eq!(why, SignerError::Unavailable.to_string());
}

#[tokio::test]
async fn a_signer_that_panics_costs_one_request() {
    let asked = AtomicUsize::new(0);
    let network = TestNetwork::with_signer(move |key: &LocalSigner, request: &SigningRequest| {
        let first = is_for_a_party(request) && asked.fetch_add(1, Ordering::SeqCst) == 0;
        assert!(!first, "a bug in the signer");
        key.sign(request)
    })
    .await;
    let (token, key) = (network.token("bob"), generate_key().unwrap());
    let why = refused(enrolment::request(&token, &key).await);
    assert_eq!(why, "an internal error; see the authority's log");
    let bob = enrolment::request(&token, &key).await.unwrap();
    let bob = Identity::new(bob.certificate, key, bob.root).unwrap();
    network.connect_to_lighthouse(&bob).await.unwrap();
}

/// What a hub beside this authority ends with.
async fn served(authority: Authority) -> Result<(), HubError> {
    let listener = listener().await;
    let (endpoint, config) = (udp(&listener), HubConfig::WithAuthority(Arc::new(authority), 1));
    let (supervisor, forever) = (Supervisor::default(), std::future::pending());
    let serving = serve(listener, endpoint, config, Limits::default(), supervisor, forever);
    timeout(TEST_TIMEOUT, serving).await.unwrap()
}

/// How long a root is valid, in seconds.
const ROOT_LIFETIME: u64 = 10 * 365 * 86_400;

#[tokio::test]
async fn a_service_that_panics_ends_the_hub_with_an_error() {
    let dir = TempDir::new().unwrap();
    // A root near its end: what it signs is to be renewed at once.
    let made = now() - ROOT_LIFETIME + 1000;
    Authority::init(dir.path(), &"example".parse().unwrap(), None, made).unwrap();
    let asked = AtomicUsize::new(0);
    let authority = open_with(dir.path(), move |key: &LocalSigner, request: &SigningRequest| {
        let renewal = asked.fetch_add(1, Ordering::SeqCst) >= 2;
        assert!(!renewal, "a bug in the signer");
        key.sign(request)
    });
    let ended = served(authority).await.unwrap_err();
    let HubError::Task(TaskFailure::Panicked { task, message }) = &ended else { panic!("{ended}") };
    assert!(task.starts_with("renewal of the identity of "), "{task}");
    assert_eq!(message, "a bug in the signer");
}

#[tokio::test]
async fn a_hub_that_gets_no_certificate_says_so() {
    let dir = TempDir::new().unwrap();
    Authority::init(dir.path(), &"example".parse().unwrap(), None, now()).unwrap();
    let fails = |_: &LocalSigner, _: &SigningRequest| Err(SignerError::Declined);
    let ended = served(open_with(dir.path(), fails)).await.unwrap_err();
    assert!(ended.to_string().contains("refuses to sign"), "{ended}");
}

#[tokio::test]
async fn a_hub_whose_udp_socket_is_closed_ends_with_an_error() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::init(dir.path(), &"example".parse().unwrap(), None, now()).unwrap();
    let listener = listener().await;
    let endpoint: Endpoint = udp(&listener);
    let config = HubConfig::WithAuthority(Arc::new(authority), 1);
    let closer = endpoint.clone();
    closer.close("somebody else closes it");
    let (supervisor, forever) = (Supervisor::default(), std::future::pending());
    let serving = serve(listener, endpoint, config, Limits::default(), supervisor, forever);
    let ended = timeout(TEST_TIMEOUT, serving).await.unwrap();
    assert!(matches!(ended, Err(HubError::Endpoint)), "{ended:?}");
}

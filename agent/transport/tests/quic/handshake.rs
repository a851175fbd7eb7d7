//! Who gets a connection and who does not.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::forge::{Forge, Forged, leaf_params};
use crate::pair::{NAME, endpoint, handshake, meet, names, only, reason, stream};
use crate::raw::{self, Client, Papers};
use mpyc_party_core::claims::{ClaimsError, PublicKey};
use mpyc_party_core::role::Role;
use mpyc_party_transport::quic::Endpoint;
use mpyc_party_transport::{Expect, HANDSHAKE_TIMEOUT, PeerError, Protocol, TransportError};
use rcgen::CertificateParams;
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};
use time::{Duration, OffsetDateTime};

fn papers(forged: Forged) -> Papers {
    Papers { chain: vec![forged.certificate], key: forged.key }
}

fn params() -> CertificateParams {
    leaf_params("example", "alice", "party/alice")
}

/// Why a proper server that expects alice does not take a client with these papers.
async fn refused(home: &Forge, papers: &Papers) -> PeerError {
    let ((bob, at), identity) = (endpoint(), home.party("bob"));
    let client = async {
        // The client's own handshake is over before the server has seen its certificate.
        let connection = Client::new(papers).dial(at, NAME).await.unwrap();
        assert!(connection.accept_uni().await.is_err(), "the server must not accept");
    };
    let expect = only("alice");
    let server = async {
        let incoming = bob.next().await.unwrap();
        incoming.accept(&identity, Protocol::Peer, &names(), &expect).await
    };
    let ((), server) = tokio::join!(client, server);
    reason(server)
}

#[tokio::test]
async fn two_parties_that_expect_each_other_talk() {
    let home = Forge::new("example");
    let (alice, bob) = (home.party("alice"), home.party("bob"));
    let (client, server) = handshake(&alice, only("bob"), &bob, only("alice")).await;
    let (client, server) = (client.unwrap(), server.unwrap());
    assert_eq!(client.peer(), bob.claims());
    assert_eq!(server.peer(), alice.claims());
    assert_eq!(client.peer_certificate(), bob.certificate());
    let (opened, accepted) = stream(&client, &server, Protocol::Stream).await;
    assert!(matches!(opened.stream, mpyc_party_transport::SecureStream::Quic(_)));
    assert_eq!(opened.peer, *bob.claims());
    assert_eq!(accepted.peer, *alice.claims());
    stream(&server, &client, Protocol::Control).await;
    let ((sent, received), round_trip) = (client.traffic(), client.round_trip());
    assert!(sent > 1200 && received > 1200 && round_trip < std::time::Duration::from_secs(1));
}

#[tokio::test]
async fn bad_certificates_are_refused_by_name() {
    let (home, twin) = (Forge::new("example"), Forge::new("example"));
    let now = OffsetDateTime::now_utc();
    let mut expired = params();
    expired.not_after = now - Duration::minutes(1);
    let why = refused(&home, &papers(home.sign(&expired))).await;
    assert!(matches!(why, PeerError::Claims(ClaimsError::Expired { .. })), "{why}");
    let mut early = params();
    early.not_before = now + Duration::minutes(10);
    let why = refused(&home, &papers(home.sign(&early))).await;
    assert!(matches!(why, PeerError::Claims(ClaimsError::NotYetValid { .. })), "{why}");
    let why = refused(&home, &papers(twin.sign(&params()))).await;
    assert_eq!(why, PeerError::OtherAuthority);
    let abroad = leaf_params("elsewhere", "alice", "party/alice");
    let why = refused(&home, &papers(Forge::new("elsewhere").sign(&abroad))).await;
    assert!(matches!(why, PeerError::Root(_)), "{why}");
    let mut long = papers(home.sign(&params()));
    long.chain.push(home.root.clone());
    assert_eq!(refused(&home, &long).await, PeerError::Chain(2, 1));
    for (label, path) in [("hub-1", "hub/1"), ("authority", "authority"), ("carol", "party/carol")]
    {
        let other = home.sign(&leaf_params("example", label, path));
        let why = refused(&home, &papers(other)).await;
        assert!(matches!(why, PeerError::Unexpected { .. }), "{why}");
    }
}

#[tokio::test]
async fn the_wrong_party_is_named_and_learns_of_its_refusal() {
    let home = Forge::new("example");
    let (alice, bob, carol) = (home.party("alice"), home.party("bob"), home.party("carol"));
    let (client, server) = handshake(&carol, only("bob"), &bob, only("alice")).await;
    let Err(TransportError::Refused { reason: why, .. }) = client else { panic!("{client:?}") };
    assert!(why.contains("does not expect this member"), "{why}");
    assert_eq!(reason(server).to_string(), "this is carol, expected alice");
    let (client, server) = handshake(&alice, only("bob"), &carol, only("alice")).await;
    let carol = Role::Party("carol".parse().unwrap());
    let expected = "bob".to_owned();
    assert_eq!(reason(client), PeerError::Unexpected { found: carol, expected });
    let Err(TransportError::Refused { reason: why, .. }) = server else { panic!("{server:?}") };
    assert!(why.contains("does not expect this member"), "{why}");
}

#[tokio::test]
async fn a_pinned_key_holds_against_the_authority() {
    let home = Forge::new("example");
    let (alice, bob) = (home.party("alice"), home.party("bob"));
    let pin = |key| Expect::Parties(vec![("bob".parse().unwrap(), Some(key))]);
    let right = handshake(&alice, pin(bob.claims().key), &bob, only("alice")).await;
    assert!(right.0.is_ok() && right.1.is_ok());
    let (client, _) = handshake(&alice, pin(PublicKey([1; 32])), &bob, only("alice")).await;
    assert!(matches!(reason(client), PeerError::Pin { .. }));
}

#[tokio::test]
async fn who_asks_for_something_else_is_told_and_sees_no_certificate() {
    let home = Forge::new("example");
    let (alice, bob) = (home.party("alice"), home.party("bob"));
    let ends = || ((&alice, only("bob")), (&bob, only("alice")));
    let (one, other) = ends();
    let (client, server) = meet(one, other, Protocol::Peer, "other.mpyc.internal").await;
    assert!(matches!(server, Err(TransportError::Name { .. })), "{server:?}");
    let Err(TransportError::Refused { reason: why, .. }) = client else { panic!("{client:?}") };
    assert!(why.contains("session"), "{why}");
    let (one, other) = ends();
    let (client, server) = meet(one, other, Protocol::Hub, NAME).await;
    assert!(matches!(server, Err(TransportError::Protocol { .. })), "{server:?}");
    let Err(TransportError::Refused { reason: why, .. }) = client else { panic!("{client:?}") };
    assert!(why.contains("protocol"), "{why}");

    let peer = || vec![Protocol::Peer.alpn().to_vec()];
    for (name, alpn, shown) in [
        (NAME, peer(), 1),
        ("other.mpyc.internal", peer(), 0),
        // Without any name.
        ("127.0.0.1", peer(), 0),
        (NAME, vec![b"h3".to_vec()], 0),
        (NAME, vec![], 0),
    ] {
        let mut stranger = Client::new(&papers(home.sign(&params())));
        stranger.tls.alpn_protocols = alpn;
        let (bobs, at) = endpoint();
        let server = async {
            let incoming = bobs.next().await.unwrap();
            incoming.accept(&bob, Protocol::Peer, &names(), &only("alice")).await
        };
        let (client, _) = tokio::join!(stranger.dial(at, name), server);
        assert_eq!((stranger.certificates(), client.is_ok()), (shown, shown == 1), "{name}");
    }
}

#[tokio::test]
async fn a_server_gives_nothing_to_resume_with() {
    let home = Forge::new("example");
    let ((bobs, at), bob) = (endpoint(), home.party("bob"));
    let stranger = Client::new(&papers(home.sign(&params())));
    let dialling = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    for _ in 0..2 {
        let connecting = dialling.connect_with(stranger.config(), at, NAME).unwrap();
        let Err(connecting) = connecting.into_0rtt() else { panic!("early data") };
        let server = async {
            let incoming = bobs.next().await.unwrap();
            incoming.accept(&bob, Protocol::Peer, &names(), &only("alice")).await.unwrap()
        };
        let (client, server) = tokio::join!(connecting, server);
        let (mut send, mut recv) = client.as_ref().unwrap().open_bi().await.unwrap();
        send.write_all(&[2]).await.unwrap();
        drop(server.accept().await.unwrap());
        // By now all has come that belongs to the handshake.
        assert!(recv.read(&mut [0]).await.is_err());
        assert_eq!(client.unwrap().stats().frame_rx.new_token, 0);
    }
    assert_eq!(stranger.certificates(), 2, "each handshake is a whole one");
}

/// Counts what is kept for clients and what they bring back.
#[derive(Debug)]
struct Sessions {
    kept: AtomicUsize,
    asked: AtomicUsize,
    inner: Arc<ServerSessionMemoryCache>,
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.kept.fetch_add(1, Ordering::SeqCst);
        self.inner.put(key, value)
    }
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.inner.get(key)
    }
    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.inner.take(key)
    }
    fn can_cache(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_client_resumes_nothing_and_grants_no_more_than_one_word() {
    let home = Forge::new("example");
    let alice = home.party("alice");
    let bob = home.sign(&leaf_params("example", "bob", "party/bob"));
    let (kept, asked) = Default::default();
    let sessions = Arc::new(Sessions { kept, asked, inner: ServerSessionMemoryCache::new(8) });
    let server = raw::server(&papers(bob), |tls| {
        tls.session_storage = sessions.clone();
        tls.max_early_data_size = u32::MAX;
    });
    let (dialling, _) = endpoint();
    for _ in 0..2 {
        let at = server.local_addr().unwrap();
        let accept = async {
            let connection = server.accept().await.unwrap().await.unwrap();
            let mut word = connection.open_uni().await.unwrap();
            word.write_all(&[1]).await.unwrap();
            word.finish().unwrap();
            connection
        };
        let expect = only("bob");
        let dial = dialling.connect(at, &alice, Protocol::Peer, &expect, NAME);
        let (client, server) = tokio::join!(dial, accept);
        let client = client.unwrap();
        let (opened, accepted) = tokio::join!(client.open(Protocol::Stream), server.accept_bi());
        assert!(opened.is_ok() && accepted.is_ok());
        assert!(at_once(server.open_uni()).await.is_none(), "a second word");
        assert_eq!(server.max_datagram_size(), None);
    }
    assert!(sessions.kept.load(Ordering::SeqCst) > 0, "this server offers tickets");
    assert_eq!(sessions.asked.load(Ordering::SeqCst), 0);
}

/// The outcome of `work` if it needs not wait.
async fn at_once<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(std::time::Duration::ZERO, work).await.ok()
}

#[tokio::test]
async fn a_taken_port_gives_way_to_a_free_one() {
    let first = Endpoint::bind(0).unwrap();
    let second = Endpoint::bind(first.port()).unwrap();
    assert_ne!(first.port(), second.port());
    let home = Forge::new("example");
    let (alice, bob) = (home.party("alice"), home.party("bob"));
    let (bobs, alices) = (only("bob"), only("alice"));
    let at = (Ipv4Addr::LOCALHOST, second.port()).into();
    let accept = async {
        second.next().await.unwrap().accept(&bob, Protocol::Peer, &names(), &alices).await
    };
    let dial = first.connect(at, &alice, Protocol::Peer, &bobs, NAME);
    let (client, server) = tokio::join!(dial, accept);
    // A socket for both families: people see IPv4 addresses as such.
    assert_eq!(client.unwrap().address(), at);
    assert!(server.unwrap().address().is_ipv4());
}

#[tokio::test]
async fn who_is_refused_or_finds_nobody_is_told() {
    let home = Forge::new("example");
    let (alice, bobs) = (home.party("alice"), only("bob"));
    let ((dialling, _), (refusing, at)) = (endpoint(), endpoint());
    let dial = |at| dialling.connect(at, &alice, Protocol::Peer, &bobs, NAME);
    let (outcome, ()) = tokio::join!(dial(at), async { refusing.next().await.unwrap().refuse() });
    assert!(matches!(outcome, Err(TransportError::HungUp { .. })), "{outcome:?}");
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = silent.local_addr().unwrap();
    tokio::time::pause();
    let before = tokio::time::Instant::now();
    let outcome = dial(at).await;
    assert!(matches!(outcome, Err(TransportError::Timeout { .. })), "{outcome:?}");
    assert!(before.elapsed() < 2 * HANDSHAKE_TIMEOUT, "{:?}", before.elapsed());
    dialling.close("");
    let outcome = dial(at).await;
    assert!(matches!(outcome, Err(TransportError::Over { .. })), "{outcome:?}");
}

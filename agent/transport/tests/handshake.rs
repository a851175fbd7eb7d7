//! Who gets a connection and who does not, over real sockets.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod forge;
mod trusting;

use forge::{Forge, Forged, leaf_params, root_params};
use mpyc_party_core::claims::{ClaimsError, PublicKey, RootError};
use mpyc_party_core::name::PartyName;
use mpyc_party_core::role::Role;
use mpyc_party_transport::{
    Carrier, Expect, Identity, Incoming, Path, PeerError, Protocol, Secure, SecureStream,
    TransportError, accept, connect, connect_to_enrol,
};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, SanType};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use trusting::Trusting;

/// Any name; the one who accepts may look at it.
const NAME: &str = "name.mpyc.internal";

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (dialled, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (dialled.unwrap(), accepted.unwrap().0)
}

type Outcome = Result<Secure, TransportError>;

async fn handshake(
    client: &Identity,
    from_client: Expect,
    server: &Identity,
    from_server: Expect,
) -> (Outcome, Outcome) {
    let (dialled, accepted) = sockets().await;
    let expects = [(Protocol::Control, from_server)];
    tokio::join!(
        connect(dialled, client, Protocol::Control, &from_client, NAME),
        accept(accepted, server, &expects)
    )
}

fn only(name: &str) -> Expect {
    Expect::Parties(vec![(name.parse().unwrap(), None)])
}

fn reason(outcome: Outcome) -> PeerError {
    match outcome {
        Err(TransportError::Peer { reason, .. }) => reason,
        other => panic!("no refusal of the peer: {other:?}"),
    }
}

#[tokio::test]
async fn an_end_without_a_farewell_is_told_in_plain_words() {
    let home = Forge::new("example");
    let (alice, bob) = (home.party("alice"), home.party("bob"));
    let (dialled, accepted) = handshake(&alice, only("bob"), &bob, only("alice")).await;
    drop(accepted.unwrap());
    let error = dialled.unwrap().stream.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    assert_eq!(error.to_string(), "the connection was closed without a farewell");
}

/// A client with the certificate `forged` meets a proper server that expects alice.
async fn refused(home: &Forge, forged: Forged) -> PeerError {
    refused_chain(home, vec![forged.certificate], &forged.key).await
}

/// The same with a chain that no [`Identity`] would send: built on plain rustls.
async fn refused_chain(home: &Forge, chain: Vec<Vec<u8>>, key: &rcgen::KeyPair) -> PeerError {
    let (dialled, accepted) = sockets().await;
    let bob = home.party("bob");
    let expects = [(Protocol::Control, only("alice"))];
    let client = async {
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(std::sync::Arc::new(Trusting::default()))
            .with_client_auth_cert(chain, key.into())
            .unwrap();
        config.alpn_protocols = vec![Protocol::Control.alpn().to_vec()];
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        let name = ServerName::try_from(NAME).unwrap();
        let mut stream = connector.connect(name, dialled).await.unwrap();
        assert!(stream.read_u8().await.is_err(), "the server must not accept");
    };
    let ((), server) = tokio::join!(client, accept(accepted, &bob, &expects));
    reason(server)
}

fn alice() -> CertificateParams {
    leaf_params("example", "alice", "party/alice")
}

#[tokio::test]
async fn two_parties_that_expect_each_other_talk() {
    let home = Forge::new("example");
    let (alice, bob) = (home.party("alice"), home.party("bob"));
    let (client, server) = handshake(&alice, only("bob"), &bob, only("alice")).await;
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    assert_eq!(client.peer, *bob.claims());
    assert_eq!(server.peer, *alice.claims());
    assert_eq!(server.peer.groups, ["lab"]);
    assert_eq!(client.peer_certificate, bob.certificate());
    client.stream.write_all(b"hello").await.unwrap();
    client.stream.flush().await.unwrap();
    let mut heard = [0; 5];
    server.stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
    server.stream.write_all(b"!").await.unwrap();
    server.stream.flush().await.unwrap();
    client.stream.read_u8().await.unwrap();
    assert_eq!(client.path(), Path::Tcp);
    let SecureStream::Tls(stream) = client.stream else { panic!("QUIC") };
    let tokio_rustls::TlsStream::Client(client) = *stream else { panic!("a server") };
    let (Carrier::Tcp(tcp), tls) = client.get_ref() else { panic!("relayed") };
    assert!(tcp.nodelay().unwrap());
    assert_eq!(tls.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(tls.tls13_tickets_received(), 0, "nothing to resume with");
}

#[tokio::test]
async fn certificates_outside_their_time_are_refused_by_name() {
    let home = Forge::new("example");
    let now = OffsetDateTime::now_utc();
    let mut expired = alice();
    expired.not_after = now - Duration::minutes(1);
    let why = refused(&home, home.sign(&expired)).await;
    assert!(matches!(why, PeerError::Claims(ClaimsError::Expired { .. })), "{why}");
    let mut early = alice();
    early.not_before = now + Duration::minutes(10);
    let why = refused(&home, home.sign(&early)).await;
    assert!(matches!(why, PeerError::Claims(ClaimsError::NotYetValid { .. })), "{why}");
}

#[tokio::test]
async fn other_authorities_and_networks_are_refused() {
    let (home, twin, abroad) =
        (Forge::new("example"), Forge::new("example"), Forge::new("elsewhere"));
    let why = refused(&home, twin.sign(&alice())).await;
    assert_eq!(why, PeerError::OtherAuthority);
    let foreign = leaf_params("elsewhere", "alice", "party/alice");
    let why = refused(&home, abroad.sign(&foreign)).await;
    assert!(matches!(why, PeerError::Root(RootError::OtherNetwork { .. })), "{why}");
    // Signed by the right authority, outside its own constraints.
    let why = refused(&home, home.sign(&foreign)).await;
    assert!(matches!(why, PeerError::Root(RootError::OtherNetwork { .. })), "{why}");
    let mut outside = alice();
    outside.subject_alt_names[1] = SanType::IpAddress([192, 0, 2, 1].into());
    let why = refused(&home, home.sign(&outside)).await;
    assert!(matches!(why, PeerError::Root(RootError::OutsidePool { .. })), "{why}");
}

#[tokio::test]
async fn certificates_of_another_shape_are_refused() {
    let home = Forge::new("example");
    let claims = |error| PeerError::Claims(error);
    let dns = |text: &str| SanType::DnsName(text.try_into().unwrap());
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());

    let mut params = alice();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    assert_eq!(refused(&home, home.sign(&params)).await, claims(ClaimsError::Usage));

    let mut params = alice();
    params.extended_key_usages = vec![];
    assert_eq!(refused(&home, home.sign(&params)).await, claims(ClaimsError::Usage));

    let mut params = alice();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    assert_eq!(refused(&home, home.sign(&params)).await, claims(ClaimsError::IsAuthority));

    for extra in [
        dns("bob.example.mpyc.internal"),
        dns("alice.example.mpyc.internal"),
        uri("spiffe://example/party/alice"),
        SanType::IpAddress([10, 64, 0, 2].into()),
        SanType::Rfc822Name("alice@example.org".try_into().unwrap()),
    ] {
        let mut params = alice();
        params.subject_alt_names.push(extra.clone());
        let why = refused(&home, home.sign(&params)).await;
        assert_eq!(why, claims(ClaimsError::Names), "{extra:?}");
    }
    for missing in 0..3 {
        let mut params = alice();
        params.subject_alt_names.remove(missing);
        assert_eq!(refused(&home, home.sign(&params)).await, claims(ClaimsError::Names));
    }

    let mut params = alice();
    params.subject_alt_names[2] = uri("spiffe://example/party/bob");
    let why = refused(&home, home.sign(&params)).await;
    assert!(matches!(why, PeerError::Claims(ClaimsError::Disagree { .. })), "{why}");

    let mut params = alice();
    params.subject_alt_names[0] = dns("alice.example.mpyc.internal.evil.org");
    let why = refused(&home, home.sign(&params)).await;
    assert!(matches!(why, PeerError::Claims(ClaimsError::Role(_))), "{why}");

    // An ECDSA key under a proper signature.
    let ecdsa = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = home.sign_for(&alice(), &ecdsa);
    let why = mpyc_party_core::claims::Claims::from_der(&certificate).unwrap_err();
    assert_eq!(why, ClaimsError::Algorithm);

    // A key of the same length for key agreement: X25519, 1.3.101.110 (RFC 8410, section 3).
    let mut certificate = home.sign(&alice()).certificate;
    let spki = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
    let at = certificate.windows(spki.len()).position(|window| window == spki).unwrap();
    certificate[at + 8] = 0x6e;
    let why = mpyc_party_core::claims::Claims::from_der(&certificate).unwrap_err();
    assert_eq!(why, ClaimsError::Algorithm);
}

#[tokio::test]
async fn a_chain_is_one_certificate() {
    let home = Forge::new("example");
    let forged = home.sign(&alice());
    let chain = vec![forged.certificate, home.root.clone()];
    assert_eq!(refused_chain(&home, chain, &forged.key).await, PeerError::Chain(2, 1));
}

#[tokio::test]
async fn roles_are_not_exchangeable() {
    let home = Forge::new("example");
    let party = home.party("alice");
    let hub = home.identity("hub-1", "hub/1");
    let authority = home.identity("authority", "authority");
    let all = [(&party, only("alice")), (&hub, Expect::Hub), (&authority, Expect::Authority)];
    for (i, (server, _)) in all.iter().enumerate() {
        for (j, (_, expect)) in all.iter().enumerate() {
            let (client, _) = handshake(&party, expect.clone(), server, Expect::AnyParty).await;
            match client {
                Ok(_) => assert_eq!(i, j, "{:?} passed for {expect}", server.claims().role),
                Err(_) if i == j => panic!("{expect} was refused"),
                outcome => {
                    let why = reason(outcome);
                    assert!(matches!(why, PeerError::Unexpected { .. }), "{why}");
                }
            }
        }
    }
    for stranger in [&hub, &authority] {
        let (client, server) = handshake(stranger, only("alice"), &party, Expect::AnyParty).await;
        assert!(matches!(reason(server), PeerError::Unexpected { .. }));
        assert!(matches!(client, Err(TransportError::Refused { .. })), "{client:?}");
    }
}

#[tokio::test]
async fn the_wrong_party_is_named_and_learns_of_its_refusal() {
    let home = Forge::new("example");
    let (alice, bob, carol) = (home.party("alice"), home.party("bob"), home.party("carol"));
    let (client, server) = handshake(&carol, only("bob"), &bob, only("alice")).await;
    assert!(matches!(client, Err(TransportError::Refused { .. })), "{client:?}");
    assert_eq!(reason(server).to_string(), "this is carol, expected alice");
    let (client, server) = handshake(&alice, only("bob"), &carol, only("alice")).await;
    let carol = Role::Party("carol".parse().unwrap());
    let expected = "bob".to_owned();
    assert_eq!(reason(client), PeerError::Unexpected { found: carol, expected });
    assert!(matches!(server, Err(TransportError::Refused { .. })), "{server:?}");
}

#[tokio::test]
async fn a_pinned_key_holds_against_the_authority() {
    let home = Forge::new("example");
    let (alice, bob) = (home.party("alice"), home.party("bob"));
    let name: PartyName = "bob".parse().unwrap();
    let pin = |key| Expect::Parties(vec![(name.clone(), Some(key))]);
    let right = handshake(&alice, pin(bob.claims().key), &bob, only("alice")).await;
    assert!(right.0.is_ok() && right.1.is_ok());
    let other = PublicKey([1; 32]);
    let (client, _) = handshake(&alice, pin(other), &bob, only("alice")).await;
    let found = bob.claims().key;
    assert_eq!(reason(client), PeerError::Pin { party: name, pinned: other, found });
}

#[tokio::test]
async fn an_expired_root_ends_everything() {
    let mut params = root_params("example");
    params.not_after = OffsetDateTime::now_utc() - Duration::minutes(1);
    let home = Forge::with(params);
    let (alice, bob) = (home.party("alice"), home.party("bob"));
    let (client, _) = handshake(&alice, only("bob"), &bob, only("alice")).await;
    assert!(matches!(reason(client), PeerError::Root(RootError::Validity(_))));
}

#[tokio::test]
async fn only_renewal_takes_an_expired_certificate_and_only_for_a_month() {
    let home = Forge::new("example");
    let authority = home.identity("authority", "authority");
    let expired = |days| {
        let mut params = alice();
        params.not_before = OffsetDateTime::now_utc() - Duration::days(90);
        params.not_after = OffsetDateTime::now_utc() - Duration::days(days);
        home.sign(&params).identity(&home)
    };
    for (days, expect, passes) in
        [(29, Expect::Renewing, true), (31, Expect::Renewing, false), (1, Expect::AnyParty, false)]
    {
        let (_, server) = handshake(&expired(days), Expect::Authority, &authority, expect).await;
        assert_eq!(server.is_ok(), passes, "{days} days: {server:?}");
    }
}

#[tokio::test]
async fn roots_of_another_shape_are_refused() {
    use mpyc_party_core::claims::Root;
    let mut unconstrained = root_params("example");
    unconstrained.name_constraints = None;
    assert_eq!(Root::from_der(&Forge::with(unconstrained).root), Err(RootError::Constraints));
    let mut deep = root_params("example");
    deep.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    assert_eq!(Root::from_der(&Forge::with(deep).root), Err(RootError::NotAuthority));
    let home = Forge::new("example");
    let leaf = home.sign(&alice()).certificate;
    assert_eq!(Root::from_der(&leaf), Err(RootError::NotAuthority));
    let mut damaged = home.root.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(Root::from_der(&damaged), Err(RootError::Signature));
    assert!(Root::from_der(&home.root).is_ok());
}

#[tokio::test]
async fn unserved_protocols_are_refused_with_a_reason() {
    let home = Forge::new("example");
    let (alice, bob) = (home.party("alice"), home.party("bob"));
    let (dialled, accepted) = sockets().await;
    let expects = [(Protocol::Control, only("alice"))];
    let bobs = only("bob");
    let (client, server) = tokio::join!(
        connect(dialled, &alice, Protocol::Stream, &bobs, NAME),
        accept(accepted, &bob, &expects)
    );
    assert!(matches!(server, Err(TransportError::Protocol { .. })), "{server:?}");
    let Err(TransportError::Refused { reason, .. }) = client else { panic!("{client:?}") };
    assert!(reason.contains("protocol"), "{reason}");
}

#[tokio::test]
async fn who_asks_for_another_name_sees_no_certificate() {
    let home = Forge::new("example");
    let alice = home.party("alice");
    let (dialled, accepted) = sockets().await;
    let bobs = only("bob");
    let server = async { Incoming::read(accepted).await.unwrap().refuse_name().await };
    let (client, server) =
        tokio::join!(connect(dialled, &alice, Protocol::Control, &bobs, NAME), server);
    assert!(matches!(server, TransportError::Name { .. }));
    let Err(TransportError::Refused { reason, .. }) = client else { panic!("{client:?}") };
    assert!(reason.contains("session"), "{reason}");
}

#[tokio::test]
async fn a_newcomer_finds_the_authority_by_its_fingerprint_and_nobody_else() {
    let (home, abroad) = (Forge::new("example"), Forge::new("example"));
    let authority = home.identity("authority", "authority");
    let fingerprint = authority.root().fingerprint;
    let enrol = async |server: Identity| {
        let (dialled, accepted) = sockets().await;
        let server = async move {
            let incoming = Incoming::read(accepted).await.unwrap();
            assert_eq!(incoming.protocol(), Some(Protocol::Enrol));
            let name = mpyc_party_core::sni::Tag::hub(&fingerprint).server_name();
            assert_eq!(incoming.server_name(), Some(name));
            incoming.accept_to_enrol(&server).await
        };
        tokio::join!(connect_to_enrol(dialled, fingerprint), server)
    };
    let (client, server) = enrol(authority.clone()).await;
    let (client, root) = client.unwrap();
    assert_eq!(client.exporter, server.unwrap().exporter);
    assert_eq!(root, *authority.root());
    for impostor in [home.party("alice"), home.identity("hub-1", "hub/1")] {
        let (client, _) = enrol(impostor).await;
        let Err(TransportError::Peer { reason, .. }) = client else { panic!("accepted") };
        assert!(matches!(reason, PeerError::Unexpected { .. }), "{reason}");
    }
    let (client, _) = enrol(abroad.identity("authority", "authority")).await;
    let Err(TransportError::Peer { reason, .. }) = client else { panic!("accepted") };
    assert!(matches!(reason, PeerError::OtherRoot { .. }), "{reason}");
}

#[tokio::test]
async fn issued_certificates_are_told_from_others_even_after_their_time() {
    use mpyc_party_transport::verify_issued;
    let (home, twin) = (Forge::new("example"), Forge::new("example"));
    let root = mpyc_party_core::claims::Root::from_der(&home.root).unwrap();
    let mut params = alice();
    params.not_after = OffsetDateTime::now_utc() - Duration::minutes(1);
    assert!(verify_issued(&root, &home.sign(&params).certificate).is_ok());
    let other = verify_issued(&root, &twin.sign(&params).certificate);
    assert_eq!(other, Err(PeerError::OtherAuthority));
}

#[test]
fn no_damaged_certificate_passes_or_panics() {
    use mpyc_party_core::claims::Root;
    use mpyc_party_transport::verify_issued;
    let home = Forge::new("example");
    let root = Root::from_der(&home.root).unwrap();
    let proper = home.sign(&alice()).certificate;
    assert!(verify_issued(&root, &proper).is_ok());
    for at in 0..proper.len() {
        let mut damaged = proper.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(verify_issued(&root, &damaged).is_err(), "byte {at}");
        assert!(verify_issued(&root, &proper[..at]).is_err(), "cut at {at}");
    }
    for at in 0..home.root.len() {
        let mut damaged = home.root.clone();
        damaged[at] ^= 1 << (at % 8);
        // The few bytes around the signature leave room, but change nothing that is signed; and
        // the fingerprint notices every one.
        if let Ok(other) = Root::from_der(&damaged) {
            assert_ne!(other.fingerprint, root.fingerprint);
            assert_eq!((other.network, other.pool), (root.network.clone(), root.pool));
            assert_eq!((other.key, other.not_after), (root.key, root.not_after));
        }
    }
}

#[tokio::test]
async fn an_identity_is_of_one_piece_and_hides_its_key() {
    use mpyc_party_transport::IdentityError;
    use zeroize::Zeroizing;
    let (home, abroad) = (Forge::new("example"), Forge::new("elsewhere"));
    let forged = home.sign(&alice());
    let key = || Zeroizing::new(forged.key.serialize_der());
    let other = Zeroizing::new(forge::key().serialize_der());
    let new = |key, root: &Forge| Identity::new(forged.certificate.clone(), key, root.root.clone());
    assert!(matches!(new(other, &home), Err(IdentityError::Mismatch(_))));
    assert!(matches!(new(key(), &abroad), Err(IdentityError::Root(_))));
    let identity = new(key(), &home).unwrap();
    assert!(!format!("{identity:?}").contains("key_pair"));
    let signature = identity.sign(b"bundle");
    assert!(mpyc_party_transport::verify(&identity.claims().key, b"bundle", &signature));
    assert!(!mpyc_party_transport::verify(&identity.claims().key, b"bundlf", &signature));
}

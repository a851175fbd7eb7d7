//! What a party refuses that is shown something else than a proper certificate.

use mpyc_party_core::claims::{ClaimsError, RootError};
use mpyc_party_transport::{PeerError, Protocol, accept};
use rcgen::{ExtendedKeyUsagePurpose, IsCa, SanType};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use time::{Duration, OffsetDateTime};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::forge::{Forge, Forged, leaf_params};
use crate::trusting::Trusting;
use crate::{NAME, alice, only, reason, sockets};

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
        let mut stream = connected(dialled, chain, key, &[Protocol::Control.alpn()]).await;
        assert!(stream.read_u8().await.is_err(), "the server must not accept");
    };
    let ((), server) = tokio::join!(client, accept(accepted, &bob, &expects));
    reason(server)
}

/// A client built on plain rustls, which sends this chain and offers these protocols.
async fn connected(
    dialled: TcpStream,
    chain: Vec<Vec<u8>>,
    key: &rcgen::KeyPair,
    offered: &[&[u8]],
) -> TlsStream<TcpStream> {
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
    config.alpn_protocols = offered.iter().map(|alpn| alpn.to_vec()).collect();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    connector.connect(ServerName::try_from(NAME).unwrap(), dialled).await.unwrap()
}

#[tokio::test]
async fn a_later_version_may_offer_its_own_number_beside_the_known_one() {
    let home = Forge::new("example");
    let (bob, later) = (home.party("bob"), home.sign(&alice()));
    let (dialled, accepted) = sockets().await;
    let expects = [(Protocol::Control, only("alice"))];
    let client = async {
        let offered: [&[u8]; 2] = [b"mpyc-control/4", Protocol::Control.alpn()];
        let stream = connected(dialled, vec![later.certificate], &later.key, &offered).await;
        let chosen = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        (chosen, stream)
    };
    let ((chosen, _open), server) = tokio::join!(client, accept(accepted, &bob, &expects));
    assert_eq!(chosen.as_deref(), Some(Protocol::Control.alpn()));
    assert_eq!(server.unwrap().protocol, Protocol::Control);
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

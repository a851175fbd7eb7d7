//! Who gets a connection: with a proper certificate, but perhaps not the one that is expected.

use mpyc_party_core::claims::{PublicKey, RootError};
use mpyc_party_core::name::PartyName;
use mpyc_party_core::role::Role;
use mpyc_party_transport::{
    Expect, Identity, Incoming, PeerError, Protocol, RawStream, SecureStream, TransportError,
    accept, connect, connect_to_enrol,
};
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::forge::{Forge, root_params};
use crate::{NAME, alice, handshake, only, reason, sockets};

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
    let SecureStream::Tls(stream) = client.stream else { panic!("QUIC") };
    let tokio_rustls::TlsStream::Client(client) = *stream else { panic!("a server") };
    let (RawStream::Tcp(tcp), tls) = client.get_ref() else { panic!("relayed") };
    assert!(tcp.nodelay().unwrap());
    assert_eq!(tls.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(tls.tls13_tickets_received(), 0, "nothing to resume with");
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

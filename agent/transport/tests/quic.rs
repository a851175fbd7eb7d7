//! Who gets a QUIC connection and who does not, over real sockets.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod forge;
mod pair;

use forge::Forge;
use mpyc_party_transport::{Path, Protocol};
use pair::{handshake, only, stream};

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
    assert_eq!((opened.path(), opened.peer), (Path::Quic, bob.claims().clone()));
    assert_eq!(accepted.peer, *alice.claims());
    stream(&server, &client, Protocol::Control).await;
}

//! End-to-end TLS through a hub that passes on bytes, and through hubs that do worse.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod forge;

use std::io::ErrorKind;

use forge::Forge;
use mpyc_party_transport::{
    Expect, Identity, Incoming, PeerError, Protocol, RawStream, Secure, SecureStream,
    TransportError, accept, connect,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

const NAME: &str = "name.mpyc.internal";

/// A party's pipe: its end, and the hub's.
async fn pipe(party: &Identity, hub: &Identity) -> (RawStream, SecureStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (dialled, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let expects = [(Protocol::Relay, Expect::AnyParty)];
    let (near, far) = tokio::join!(
        connect(dialled.unwrap(), party, Protocol::Relay, &Expect::Hub, NAME),
        accept(accepted.unwrap().0, hub, &expects)
    );
    (near.unwrap().into(), far.unwrap().stream)
}

fn only(name: &str) -> Expect {
    Expect::Parties(vec![(name.parse().unwrap(), None)])
}

struct Pipes {
    home: Forge,
    /// The carriers of alice and of bob.
    ends: (RawStream, RawStream),
    /// The hub's ends of the two.
    hub: (SecureStream, SecureStream),
}

async fn pipes() -> Pipes {
    let home = Forge::new("example");
    let (alice, bob) = (home.party("alice"), home.party("bob"));
    let hub = home.identity("hub-1", "hub/1");
    let ((alice, to_alice), (bob, to_bob)) = tokio::join!(pipe(&alice, &hub), pipe(&bob, &hub));
    Pipes { home, ends: (alice, bob), hub: (to_alice, to_bob) }
}

/// What becomes of alice's connection through the pipe to `bob`, who expects her.
async fn through(
    (near, far): (RawStream, RawStream),
    alice: &Identity,
    bob: &Identity,
) -> (Result<Secure, TransportError>, Result<Secure, TransportError>) {
    let of_bob = only("bob");
    let server = async {
        let incoming = Incoming::read(far).await?;
        incoming.accept(bob, Protocol::Stream, &only("alice")).await
    };
    tokio::join!(connect(near, alice, Protocol::Stream, &of_bob, NAME), server)
}

#[tokio::test]
async fn two_parties_talk_through_a_hub_and_end_properly() {
    let Pipes { home, ends, hub: (mut one, mut other) } = pipes().await;
    let splice = tokio::spawn(async move { copy_bidirectional(&mut one, &mut other).await });
    let (alice, bob) = (home.party("alice"), home.party("bob"));
    let (near, far) = through(ends, &alice, &bob).await;
    let (mut near, mut far) = (near.unwrap(), far.unwrap());
    assert_eq!((&near.peer, &far.peer), (bob.claims(), alice.claims()));
    let sent = vec![7; 1 << 20];
    let send = async {
        near.stream.write_all(&sent).await.unwrap();
        near.stream.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    let ((), outcome) = tokio::join!(send, far.stream.read_to_end(&mut received));
    outcome.unwrap();
    assert!(received == sent);
    far.stream.write_all(b"heard").await.unwrap();
    far.stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    near.stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"heard");
    splice.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_hub_that_hangs_up_ends_nothing_properly() {
    let Pipes { home, ends, hub: (mut one, mut other) } = pipes().await;
    let (alice, bob) = (home.party("alice"), home.party("bob"));
    let secured = tokio::select! {
        secured = through(ends, &alice, &bob) => secured,
        _ = copy_bidirectional(&mut one, &mut other) => panic!("the pipe ended"),
    };
    let (near, far) = (secured.0.unwrap(), secured.1.unwrap());
    // Its own connections it ends as is proper: that says nothing about what was inside.
    one.shutdown().await.unwrap();
    drop(other);
    for mut end in [near, far] {
        let cut = end.stream.read(&mut [0]).await.unwrap_err();
        assert_eq!(cut.kind(), ErrorKind::UnexpectedEof, "{cut}");
    }
}

#[tokio::test]
async fn a_hub_that_changes_a_byte_is_noticed() {
    let Pipes { home, ends, hub: (mut one, mut other) } = pipes().await;
    let (alice, bob) = (home.party("alice"), home.party("bob"));
    let secured = tokio::select! {
        secured = through(ends, &alice, &bob) => secured,
        _ = copy_bidirectional(&mut one, &mut other) => panic!("the pipe ended"),
    };
    let (mut near, mut far) = (secured.0.unwrap(), secured.1.unwrap());
    near.stream.write_all(b"secret").await.unwrap();
    near.stream.flush().await.unwrap();
    let mut sealed = vec![0; 1024];
    let length = one.read(&mut sealed).await.unwrap();
    sealed.truncate(length);
    assert!(!sealed.windows(6).any(|window| window == b"secret"));
    sealed[length - 1] ^= 1;
    other.write_all(&sealed).await.unwrap();
    other.flush().await.unwrap();
    assert!(far.stream.read(&mut [0]).await.is_err());
}

#[tokio::test]
async fn a_hub_cannot_take_the_place_of_a_party() {
    let Pipes { home, ends: (near, _), hub: (one, _) } = pipes().await;
    let (alice, hub) = (home.party("alice"), home.identity("hub-1", "hub/1"));
    let of_bob = only("bob");
    // The hub answers in its own name at its end of the pipe.
    let hub_end = async {
        let mut one = one;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (inside, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let expects = [(Protocol::Stream, Expect::AnyParty)];
        let mut inside = inside.unwrap();
        tokio::spawn(async move { copy_bidirectional(&mut one, &mut inside).await });
        accept(accepted.unwrap().0, &hub, &expects).await
    };
    let dial = connect(near, &alice, Protocol::Stream, &of_bob, NAME);
    let (outcome, refused) = tokio::join!(dial, hub_end);
    let Err(TransportError::Peer { reason, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(matches!(reason, PeerError::Unexpected { .. }), "{reason}");
    assert!(matches!(refused, Err(TransportError::Refused { .. })), "{refused:?}");
}

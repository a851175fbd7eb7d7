//! Two endpoints on this machine that dial each other.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use mpyc_party_transport::quic::{Connection, Endpoint};
use mpyc_party_transport::{Expect, Identity, PeerError, Protocol, Secure, TransportError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The name that is served.
pub(crate) const NAME: &str = "name.mpyc.internal";

/// What the accepting end answers to.
pub(crate) fn names() -> [String; 2] {
    ["another.mpyc.internal", NAME].map(str::to_owned)
}

pub(crate) type Outcome = Result<Connection, TransportError>;

/// An endpoint on 127.0.0.1, and where it is.
pub(crate) fn endpoint() -> (Endpoint, SocketAddr) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    (Endpoint::on(socket).unwrap(), address)
}

pub(crate) fn only(name: &str) -> Expect {
    Expect::Parties(vec![(name.parse().unwrap(), None)])
}

/// What both ends make of a connection that asks for `protocol` and `name`.
pub(crate) async fn meet(
    (client, from_client): (&Identity, Expect),
    (server, from_server): (&Identity, Expect),
    protocol: Protocol,
    name: &str,
) -> (Outcome, Outcome) {
    let ((dialling, _), (accepting, at)) = (endpoint(), endpoint());
    let accept = async {
        let incoming = accepting.next().await.unwrap();
        incoming.accept(server, Protocol::Peer, &names(), &from_server).await
    };
    tokio::join!(dialling.connect(at, client, protocol, &from_client, name), accept)
}

pub(crate) async fn handshake(
    client: &Identity,
    from_client: Expect,
    server: &Identity,
    from_server: Expect,
) -> (Outcome, Outcome) {
    meet((client, from_client), (server, from_server), Protocol::Peer, NAME).await
}

/// One word from one end to the other.
pub(crate) async fn say(from: &mut Secure, to: &mut Secure) {
    from.stream.write_all(b"hello").await.unwrap();
    from.stream.flush().await.unwrap();
    let mut heard = [0; 5];
    to.stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
}

/// A stream that `client` has opened, at both ends, after a word each way.
pub(crate) async fn stream(
    client: &Connection,
    server: &Connection,
    protocol: Protocol,
) -> (Secure, Secure) {
    let (opened, accepted) = tokio::join!(client.open(protocol), server.accept());
    let (mut opened, mut accepted) = (opened.unwrap(), accepted.unwrap());
    assert_eq!((opened.protocol, accepted.protocol), (protocol, protocol));
    say(&mut opened, &mut accepted).await;
    say(&mut accepted, &mut opened).await;
    (opened, accepted)
}

pub(crate) fn reason(outcome: Outcome) -> PeerError {
    match outcome {
        Err(TransportError::Peer { reason, .. }) => reason,
        other => panic!("no refusal of the peer: {other:?}"),
    }
}

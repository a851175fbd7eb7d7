//! Who gets a connection and who does not, over real sockets, and what passes for a certificate.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod certificates;
#[path = "../forge/mod.rs"]
mod forge;
mod forged;
mod peers;
#[path = "../trusting/mod.rs"]
mod trusting;

use forge::leaf_params;
use mpyc_party_transport::{
    Expect, Identity, PeerError, Protocol, Secure, TransportError, accept, connect,
};
use rcgen::CertificateParams;
use tokio::net::{TcpListener, TcpStream};

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

fn alice() -> CertificateParams {
    leaf_params("example", "alice", "party/alice")
}

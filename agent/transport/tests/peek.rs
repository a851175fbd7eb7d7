//! Looking at whom a connection asks for: nothing is taken from it, and nobody holds it up.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use mpyc_party_transport::{TransportError, peek};
use proptest::prelude::*;
use rustls::ClientConnection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

const NAME: &str = "00112233445566778899aabbccddeeff.mpyc.internal";

/// The first message of one that asks for [`NAME`] with ALPNs of this many bytes.
fn hello(padding: usize) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let roots = rustls::RootCertStore::empty();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![vec![b'x'; 255]; padding / 256];
    let mut client = ClientConnection::new(Arc::new(config), NAME.try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// Both ends of a connection.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (client, accepted) = tokio::join!(client, listener.accept());
    let client = client.unwrap();
    client.set_nodelay(true).unwrap();
    (client, accepted.unwrap().0)
}

async fn asked(tcp: &TcpStream) -> Result<Option<String>, TransportError> {
    peek::server_name(tcp, tcp.peer_addr().unwrap()).await
}

#[tokio::test]
async fn the_name_is_seen_and_every_byte_is_still_there() {
    let (mut client, mut server) = pair().await;
    let hello = hello(0);
    client.write_all(&hello).await.unwrap();
    assert_eq!(asked(&server).await.unwrap().as_deref(), Some(NAME));
    let mut left = vec![0; hello.len()];
    server.read_exact(&mut left).await.unwrap();
    assert_eq!(left, hello);
}

#[tokio::test]
async fn a_message_that_comes_byte_by_byte_is_waited_for() {
    let (mut client, server) = pair().await;
    let hello = hello(2048);
    let send = async {
        for byte in &hello {
            client.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let (name, ()) = tokio::join!(asked(&server), send);
    assert_eq!(name.unwrap().as_deref(), Some(NAME));
}

/// Waiting for the rest of a message costs no processor time to speak of: peeked bytes stay
/// readable, and whoever only asks for readiness goes round and round.
#[tokio::test]
async fn half_a_message_is_waited_for_in_vain_but_quietly() {
    let (mut client, server) = pair().await;
    client.write_all(&hello(0)[..50]).await.unwrap();
    let (begun, before) = (Instant::now(), processor_time());
    let outcome = asked(&server).await;
    assert!(matches!(outcome, Err(TransportError::Timeout { .. })), "{outcome:?}");
    assert!(begun.elapsed() >= Duration::from_secs(2));
    let used = processor_time() - before;
    assert!(used < Duration::from_millis(200), "{used:?}");
}

/// What this thread has used.
fn processor_time() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    used.try_into().unwrap()
}

#[tokio::test]
async fn who_hangs_up_half_way_is_not_waited_for() {
    let (mut client, server) = pair().await;
    client.write_all(&hello(0)[..50]).await.unwrap();
    client.shutdown().await.unwrap();
    let (begun, outcome) = (Instant::now(), asked(&server).await);
    assert!(matches!(outcome, Err(TransportError::HungUp { .. })), "{outcome:?}");
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn what_is_no_tls_or_too_long_is_refused_at_once() {
    for bytes in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), hello(20_000)] {
        let (mut client, server) = pair().await;
        client.write_all(&bytes).await.unwrap();
        let outcome = asked(&server).await;
        assert!(matches!(outcome, Err(TransportError::Tls { .. })), "{outcome:?}");
    }
}

proptest! {
    #[test]
    fn whatever_comes_first_is_told_or_waited_for(
        changes: Vec<(prop::sample::Index, u8)>,
        length: prop::sample::Index,
    ) {
        let mut bytes = hello(300);
        for (place, byte) in changes {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = peek::in_first_message(&bytes[..length.index(bytes.len() + 1)]);
        // Nobody is waited for beyond the longest first message.
        bytes.resize(16 * 1024, 0);
        prop_assert!(peek::in_first_message(&bytes).is_some());
    }
}

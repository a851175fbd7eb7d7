//! Connections to a listener whose packets larger than some size vanish, as far as a handshake shows that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::net::TcpListener;

use super::*;

/// What a handshake comes to.
#[derive(Debug, PartialEq, Eq)]
enum Failed {
    System(io::ErrorKind),
    Stalled(Stalled),
    Refused,
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::System(error.kind())
    }
}

impl From<Stalled> for Failed {
    fn from(stalled: Stalled) -> Self {
        Self::Stalled(stalled)
    }
}

/// A listener at an address of this machine that no other test has.
async fn listener(last: u8) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((std::net::Ipv4Addr::new(127, 77, 7, last), 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The size of the segments of `tcp` in bytes.
fn segment_of(tcp: &TcpStream) -> u32 {
    socket2::SockRef::from(tcp).tcp_mss().unwrap()
}

/// A handshake that hangs where segments are larger than `most` bytes.
async fn handshake(tcp: TcpStream, most: u32, attempts: Arc<AtomicU32>) -> Result<u32, Failed> {
    attempts.fetch_add(1, Ordering::Relaxed);
    match segment_of(&tcp) {
        bytes if bytes > most => std::future::pending().await,
        bytes => Ok(bytes),
    }
}

/// Connects through a path that passes segments of up to `most` bytes; how many attempts that took.
async fn connect(address: SocketAddr, most: u32) -> (Result<u32, Failed>, u32) {
    let attempts = Arc::new(AtomicU32::new(0));
    let tcp = open(address).await.unwrap();
    let done = shake(tcp, &|tcp| handshake(tcp, most, Arc::clone(&attempts))).await;
    (done, attempts.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_path_that_passes_everything_keeps_its_segments() {
    let (_listener, address) = listener(1).await;
    let (segment, attempts) = connect(address, u32::MAX).await;
    assert!(segment.unwrap() > 1024 && attempts == 1);
    assert_eq!(segment_for(address.ip()), None);
}

#[tokio::test]
async fn what_follows_a_stalled_connection_has_smaller_segments() {
    for (last, most) in [(2, 1024), (3, 512)] {
        let (_listener, address) = listener(last).await;
        let (segment, attempts) = connect(address, most).await;
        assert!(segment.unwrap() <= most && attempts > 1);
        assert_eq!(segment_for(address.ip()), Some(most));
        let (segment, attempts) = connect(address, most).await;
        assert!(segment.unwrap() <= most && attempts == 1, "it is remembered");
        let (_other, elsewhere) = listener(last + 10).await;
        assert_eq!(segment_for(elsewhere.ip()), None, "for that address alone");
    }
}

#[tokio::test]
async fn where_nothing_gets_through_that_is_said_and_nothing_remembered() {
    let (_listener, address) = listener(4).await;
    let (failed, attempts) = connect(address, 0).await;
    assert_eq!((failed, attempts), (Err(Failed::Stalled(Stalled { address, packet: 552 })), 3));
    assert_eq!(segment_for(address.ip()), None);
}

#[tokio::test]
async fn a_refusal_is_an_answer() {
    let (_listener, address) = listener(5).await;
    let tcp = open(address).await.unwrap();
    let refused: Result<u32, Failed> =
        shake(tcp, &|_| std::future::ready(Err(Failed::Refused))).await;
    assert_eq!(refused, Err(Failed::Refused));
    assert_eq!(segment_for(address.ip()), None);
}

#[tokio::test]
async fn a_link_that_stalls_makes_the_next_one_smaller_once_for_all_that_stall_together() {
    let ip = IpAddr::from([127, 77, 7, 6]);
    for (used, expected) in [(1448, 1024), (1448, 1024), (1012, 512), (1448, 512), (500, 512)] {
        stalled(ip, used);
        assert_eq!(segment_for(ip), Some(expected), "after {used}");
    }
}

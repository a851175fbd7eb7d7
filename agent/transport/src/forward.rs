//! Carries bytes between a local process and a peer, and tells whose side broke.
//!
//! Half-closes are passed on as they are: one end may stop sending and still listen.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes read at once: smaller ones cost more system calls per byte, larger ones gain nothing.
const BUFFER_BYTES: usize = 64 * 1024;

/// Whose side ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The link to the peer.
    #[error("the peer's side: {0}")]
    Peer(io::Error),
    /// The local process does not read any more.
    #[error("the local side: {0}")]
    Local(io::Error),
}

/// Carries what the peer sends to the local process, until the peer's end.
///
/// # Errors
/// Says whose side broke.
pub async fn inward(
    from_peer: &mut (impl AsyncRead + Unpin),
    to_local: &mut (impl AsyncWrite + Unpin),
) -> Result<(), Broken> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = from_peer.read(&mut buffer).await.map_err(Broken::Peer)?;
        if length == 0 {
            return to_local.shutdown().await.map_err(Broken::Local);
        }
        to_local.write_all(&buffer[..length]).await.map_err(Broken::Local)?;
    }
}

/// Carries what the local process sends to the peer, until the local process's end. A reset of a
/// socket pair is an end like any other: its process has gone.
///
/// # Errors
/// Where the peer's side broke.
pub async fn outward(
    from_local: &mut (impl AsyncRead + Unpin),
    to_peer: &mut (impl AsyncWrite + Unpin),
) -> Result<(), Broken> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = from_local.read(&mut buffer).await.unwrap_or(0);
        if length == 0 {
            return to_peer.shutdown().await.map_err(Broken::Peer);
        }
        to_peer.write_all(&buffer[..length]).await.map_err(Broken::Peer)?;
        to_peer.flush().await.map_err(Broken::Peer)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_half_close_leaves_the_other_direction_open() {
        let (mut peer, ours) = tokio::io::duplex(64);
        let (mut local, theirs) = tokio::io::duplex(64);
        let (mut from_peer, mut to_peer) = tokio::io::split(ours);
        let (mut from_local, mut to_local) = tokio::io::split(theirs);
        let carry = async {
            tokio::try_join!(
                inward(&mut from_peer, &mut to_local),
                outward(&mut from_local, &mut to_peer)
            )
        };
        let talk = async {
            peer.write_all(b"question").await.unwrap();
            peer.shutdown().await.unwrap();
            let mut asked = Vec::new();
            local.read_to_end(&mut asked).await.unwrap();
            local.write_all(b"answer").await.unwrap();
            local.shutdown().await.unwrap();
            let mut answered = Vec::new();
            peer.read_to_end(&mut answered).await.unwrap();
            (asked, answered)
        };
        let (carried, (asked, answered)) = tokio::join!(carry, talk);
        carried.unwrap();
        assert_eq!((&asked[..], &answered[..]), (&b"question"[..], &b"answer"[..]));
    }

    #[tokio::test]
    async fn whose_side_broke_is_told() {
        let mut cut = failing(io::ErrorKind::UnexpectedEof);
        let broken = inward(&mut cut, &mut tokio::io::sink()).await;
        assert!(matches!(broken, Err(Broken::Peer(_))));
        let (gone, mut local) = tokio::io::duplex(1);
        drop(gone);
        let broken = inward(&mut &b"data"[..], &mut local).await;
        assert!(matches!(broken, Err(Broken::Local(_))));
    }

    /// A reader that fails at once.
    fn failing(kind: io::ErrorKind) -> impl AsyncRead + Unpin {
        struct Failing(io::ErrorKind);
        impl AsyncRead for Failing {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
                _: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<io::Result<()>> {
                std::task::Poll::Ready(Err(self.0.into()))
            }
        }
        Failing(kind)
    }
}

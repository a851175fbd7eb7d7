//! Carries the bytes of one stream between MPyC and a peer.

use mpyc_party_transport::Secure;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::StreamEvent;

/// Bytes read at once: smaller ones cost more system calls per byte, larger ones gain nothing.
const BUFFER: usize = 64 * 1024;

/// Why one direction ended before its end.
enum Broken {
    /// The side of the peer.
    Peer(std::io::Error),
    /// The side of the local MPyC.
    Local,
}

/// Forwards both directions until both have ended. `claims` is the index that the peer's MPyC must
/// begin with; not a byte of it reaches the local MPyC before that was checked.
pub(super) async fn forward(
    peer: usize,
    claims: Option<usize>,
    secure: Secure,
    local: UnixStream,
    events: mpsc::Sender<StreamEvent>,
) {
    let (mut from_peer, to_peer) = tokio::io::split(secure.stream);
    let (from_local, mut to_local) = local.into_split();
    let incoming = async {
        let event = match incoming(claims, &mut from_peer, &mut to_local).await {
            Ok(Some(claimed)) => StreamEvent::ClaimedIndex(peer, claimed),
            Ok(None) => StreamEvent::Ended(peer),
            Err(Broken::Peer(error)) => StreamEvent::Cut(peer, error.to_string().into()),
            Err(Broken::Local) => {
                // The local MPyC has closed the connection: what the peer still says is read and
                // dropped, so that its own close is not answered by a reset.
                let _ = tokio::io::copy(&mut from_peer, &mut tokio::io::sink()).await;
                StreamEvent::Ended(peer)
            }
        };
        let _ = events.send(event).await;
    };
    let outgoing = async {
        if let Err(Broken::Peer(error)) = copy(from_local, to_peer).await {
            let _ = events.send(StreamEvent::Cut(peer, error.to_string().into())).await;
        }
    };
    tokio::join!(incoming, outgoing);
}

/// From the peer to the local MPyC; a false claim ends it with the claimed index.
async fn incoming(
    claims: Option<usize>,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<Option<u16>, Broken> {
    if let Some(index) = claims {
        let mut claim = [0; 2];
        from.read_exact(&mut claim).await.map_err(Broken::Peer)?;
        let claimed = u16::from_le_bytes(claim);
        if usize::from(claimed) != index {
            return Ok(Some(claimed));
        }
        to.write_all(&claim).await.map_err(|_| Broken::Local)?;
    }
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await.map_err(Broken::Peer)?;
        if length == 0 {
            to.shutdown().await.map_err(|_| Broken::Local)?;
            return Ok(None);
        }
        to.write_all(&buffer[..length]).await.map_err(|_| Broken::Local)?;
    }
}

/// From the local MPyC to the peer.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> Result<(), Broken> {
    let mut buffer = vec![0; BUFFER];
    loop {
        // A reset of a socket pair is the local process's end.
        let length = from.read(&mut buffer).await.unwrap_or(0);
        if length == 0 {
            return to.shutdown().await.map_err(Broken::Peer);
        }
        to.write_all(&buffer[..length]).await.map_err(Broken::Peer)?;
        to.flush().await.map_err(Broken::Peer)?;
    }
}

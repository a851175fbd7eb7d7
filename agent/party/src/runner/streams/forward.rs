//! Carries one stream between the local MPyC and a peer.

use mpyc_party_transport::Secure;
use mpyc_party_transport::forward::{Broken, inward, outward};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::StreamEvent;
use super::local::{Reader, Writer};

/// Forwards both directions until both have ended. `claims` is the index that the peer's MPyC must
/// begin with; not a byte of it reaches the local MPyC before that was checked.
pub(super) async fn forward(
    peer: usize,
    claims: Option<usize>,
    secure: Secure,
    (mut from_local, mut to_local): (Reader, Writer),
    events: mpsc::Sender<StreamEvent>,
) {
    let (mut from_peer, mut to_peer) = tokio::io::split(secure.stream);
    let incoming = async {
        let event = match incoming(claims, &mut from_peer, &mut to_local).await {
            Ok(Some(claimed)) => StreamEvent::ClaimedIndex(peer, claimed),
            Ok(None) => StreamEvent::Ended(peer),
            Err(Broken::Peer(error)) => StreamEvent::Cut(peer, error.to_string().into()),
            Err(Broken::Local(_)) => {
                // The local MPyC has closed the connection: what the peer still says is read and
                // dropped, so that its own close is not answered by a reset.
                let _ = tokio::io::copy(&mut from_peer, &mut tokio::io::sink()).await;
                StreamEvent::Ended(peer)
            }
        };
        let _ = events.send(event).await;
    };
    let outgoing = async {
        if let Err(broken) = outward(&mut from_local, &mut to_peer).await {
            let _ = events.send(StreamEvent::Cut(peer, broken.to_string().into())).await;
        }
    };
    tokio::join!(incoming, outgoing);
}

/// From the peer to the local MPyC; a false claim ends it with the claimed index.
async fn incoming(
    claims: Option<usize>,
    from_peer: &mut (impl AsyncRead + Unpin),
    to_local: &mut (impl AsyncWrite + Unpin),
) -> Result<Option<u16>, Broken> {
    if let Some(index) = claims {
        let mut claim = [0; 2];
        from_peer.read_exact(&mut claim).await.map_err(Broken::Peer)?;
        let claimed = u16::from_le_bytes(claim);
        if usize::from(claimed) != index {
            return Ok(Some(claimed));
        }
        to_local.write_all(&claim).await.map_err(Broken::Local)?;
    }
    inward(from_peer, to_local).await.map(|()| None)
}

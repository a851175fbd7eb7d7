//! How a carrier begins: the end that opens it says what it has received, and the other answers.

use std::time::Duration;

use mpyc_party_core::control::{MAX_OPENING_BYTES, StreamAnswer, StreamOpening};
use mpyc_party_core::roster::PeerIndex;
use mpyc_party_transport::frame::{self, FrameError};
use mpyc_party_transport::resume::{Declined, Handle};
use mpyc_party_transport::{Secure, SecureStream};
use tokio::time::timeout;

use mpyc_party_net::links::{CarrierDialer, CarrierError};

/// How long the other end may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a carrier is not in use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// It could not be opened.
    #[error(transparent)]
    Open(#[from] CarrierError),
    /// A newer one has come.
    #[error(transparent)]
    Declined(#[from] Declined),
    /// It broke at once.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The other end does not want it, or has gone.
    #[error("the peer does not take it")]
    Refused,
    /// The other end is silent.
    #[error("no answer")]
    Silent,
}

/// Opens a carrier and hands it to the stream.
pub(super) async fn bring(
    carriers: CarrierDialer,
    peer: PeerIndex,
    handle: Handle<SecureStream>,
    opening: StreamOpening,
) -> Result<(), Failed> {
    let epoch = opening.epoch;
    let Secure { mut stream, .. } = carriers.open(peer, epoch.link).await?;
    let opening = StreamOpening { received: handle.fence(epoch).await?, ..opening };
    let conversation = async {
        frame::write(&mut stream, &opening, MAX_OPENING_BYTES).await?;
        frame::read::<StreamAnswer>(&mut stream, MAX_OPENING_BYTES).await
    };
    let answer = timeout(ANSWER_TIMEOUT, conversation).await.map_err(|_| Failed::Silent)??;
    let StreamAnswer { received } = answer.ok_or(Failed::Refused)?;
    Ok(handle.attach(epoch, received, stream).await?)
}

/// Answers a carrier that the peer opened and hands it to the stream.
pub(super) async fn take(
    handle: Handle<SecureStream>,
    opening: StreamOpening,
    secure: Secure,
) -> Result<(), Failed> {
    let (epoch, mut stream) = (opening.epoch, secure.stream);
    let answer = StreamAnswer { received: handle.fence(epoch).await? };
    let answered =
        timeout(ANSWER_TIMEOUT, frame::write(&mut stream, &answer, MAX_OPENING_BYTES)).await;
    answered.map_err(|_| Failed::Silent)??;
    Ok(handle.attach(epoch, opening.received, stream).await?)
}

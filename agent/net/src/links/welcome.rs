//! What becomes of peers that come in: a control link, a carrier of a stream, or a question.

use std::sync::Arc;
use std::time::Duration;

use mpyc_party_core::control::{
    Control, MAX_CONTROL_BYTES, MAX_OPENING_BYTES, Purpose, StreamOpening,
};
use mpyc_party_transport::frame::FrameError;
use mpyc_party_transport::{Protocol, Secure, frame};
use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::connection::Way;
use super::peer_task::PeerEvent;
use super::{LinkEvent, Shared};
use crate::accept::permits::ConnectionPermits;
use crate::accept::{AcceptError, Admission, Origin, Reception};
use crate::dial::BoxFuture;
use crate::ping::{self, PingError};

/// How long a peer may take for its first message.
const OPENING_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a peer that was let in came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum WelcomeError {
    /// It was not let in.
    #[error(transparent)]
    Accept(#[from] AcceptError),
    /// Its certificate names nobody of the roster.
    #[error("it is not of the roster")]
    Stranger,
    /// It said nothing.
    #[error("it did not say in time what it wants")]
    Silent,
    /// It said something unreadable.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// It hung up first.
    #[error("it hung up before it said what it wants")]
    HungUp,
    /// It has changed its key since the agreement.
    #[error("it has another key than the one agreed")]
    OtherKey,
    /// It said something that does not go with the protocol it connected for.
    #[error("it wants something else than it connected for")]
    OtherPurpose,
    /// It pinged wrongly.
    #[error(transparent)]
    Ping(#[from] PingError),
    /// Nobody takes it any more.
    #[error("this runner ends")]
    Ended,
}

impl Reception for Shared {
    type Error = WelcomeError;

    fn admission(&self) -> Admission {
        Admission {
            identity: self.peers.identity(),
            server_names: self.peers.server_names(),
            protocols: &[Protocol::Control, Protocol::Check, Protocol::Stream],
            expect: self.expect(None),
        }
    }

    fn permits(&self) -> &ConnectionPermits {
        &self.permits
    }

    fn welcome(
        self: Arc<Self>,
        secure: Secure,
        origin: Origin,
    ) -> BoxFuture<'static, Result<(), WelcomeError>> {
        Box::pin(async move { welcome(&self, secure, origin).await })
    }
}

/// Takes one who passed the handshake to where it wants.
async fn welcome(shared: &Shared, mut secure: Secure, origin: Origin) -> Result<(), WelcomeError> {
    let peer = shared.peers.index_of(&secure.peer).ok_or(WelcomeError::Stranger)?;
    if secure.protocol == Protocol::Stream {
        let opening = opening::<StreamOpening>(&mut secure).await?;
        // It may have come in before the key was agreed.
        if shared.keys()[peer.get()].is_some_and(|key| key != secure.peer.key) {
            return Err(WelcomeError::OtherKey);
        }
        let stream = LinkEvent::Stream(peer, opening, Box::new(secure));
        return shared.events.send(stream).await.map_err(|_| WelcomeError::Ended);
    }
    match (secure.protocol, opening::<Purpose>(&mut secure).await?) {
        (Protocol::Control, Purpose::Run { lost }) => {
            let way = Way::accepted(&secure, origin);
            let opened = PeerEvent::Opened(Box::new(secure), way, lost);
            shared.inboxes[peer.get()].send(opened).await.map_err(|_| WelcomeError::Ended)
        }
        (Protocol::Check, Purpose::Check) => show_entry(shared, &mut secure).await,
        (Protocol::Check, Purpose::Ping) => Ok(ping::answer(&mut secure).await?),
        _ => Err(WelcomeError::OtherPurpose),
    }
}

/// The first message of a peer.
async fn opening<T: DeserializeOwned>(secure: &mut Secure) -> Result<T, WelcomeError> {
    let opening = frame::read::<T>(&mut secure.stream, MAX_OPENING_BYTES);
    let opening = timeout(OPENING_TIMEOUT, opening).await.map_err(|_| WelcomeError::Silent)??;
    opening.ok_or(WelcomeError::HungUp)
}

/// Shows an inquiring peer whom this party names, and what it would run.
async fn show_entry(shared: &Shared, secure: &mut Secure) -> Result<(), WelcomeError> {
    let mut entry = shared.entry.clone();
    let ready = timeout(OPENING_TIMEOUT, entry.wait_for(Option::is_some)).await;
    let Ok(Ok(ready)) = ready.map(|ready| ready.map(|entry| entry.clone())) else {
        return Err(WelcomeError::Ended);
    };
    if let Some(entry) = ready {
        let roster = Control::Roster(shared.peers.roster.clone());
        for message in [roster, Control::Entry(entry)] {
            frame::write(&mut secure.stream, &message, MAX_CONTROL_BYTES).await?;
        }
    }
    // That it has hung up already is as good.
    let _ = secure.stream.shutdown().await;
    Ok(())
}

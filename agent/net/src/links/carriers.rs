//! Carriers of streams, over the route of the link that is there.

use std::sync::Arc;
use std::time::Duration;

use mpyc_party_core::roster::PeerIndex;
use mpyc_party_transport::{Protocol, Secure};
use tokio::time::timeout;

use super::Shared;
use crate::dial::DialError;

/// How long a carrier may take to come up.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens carriers of streams to peers.
#[derive(Clone, Debug)]
pub struct CarrierDialer(pub(super) Arc<Shared>);

/// Why a carrier could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum CarrierError {
    /// The link it was for is not there any more: another brings carriers of its own.
    #[error("the link has gone")]
    Outdated,
    /// The route does not bring it up.
    #[error(transparent)]
    Route(#[from] DialError),
}

impl CarrierDialer {
    /// Opens a carrier to `peer` over its link of this epoch, which this end must have dialled. The
    /// peer must have the key that it has there.
    ///
    /// # Errors
    /// When that link has been replaced or lost, or its route does not bring the carrier up.
    pub async fn open(&self, peer: PeerIndex, epoch: u64) -> Result<Secure, CarrierError> {
        let link = self.0.slots()[peer.get()].link.clone();
        let link = link.filter(|link| link.path.epoch == epoch);
        let route = link.and_then(|link| link.way.route).ok_or(CarrierError::Outdated)?;
        let opened = route.open(Protocol::Stream, self.0.expect(Some(peer)));
        Ok(timeout(OPEN_TIMEOUT, opened).await.map_err(|_| DialError::Timeout)??)
    }

    /// Whether the link to `peer` still has this epoch.
    #[must_use]
    pub fn is_current(&self, peer: PeerIndex, epoch: u64) -> bool {
        self.0.is_current(peer, epoch)
    }
}

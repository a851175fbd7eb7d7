//! Carriers of streams, over the path of the link that is there.

use std::sync::Arc;
use std::time::Duration;

use mpyc_party_core::path::Kind;
use mpyc_party_transport::{Expect, Protocol, Secure};
use tokio::time::timeout;

use super::{BoxError, Shared, dial};

/// How long a carrier may take to come up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens carriers of streams to peers.
#[derive(Clone, Debug)]
pub struct Carriers(pub(super) Arc<Shared>);

/// Why a carrier could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum CarrierError {
    /// The link it was for is not there any more: another brings carriers of its own.
    #[error("the link has gone")]
    Outdated,
    /// The path does not bring it up.
    #[error(transparent)]
    Path(BoxError),
}

impl Carriers {
    /// Opens a carrier to `peer` over its link of this epoch, which this end must have dialled. The
    /// peer must have the key that it has there.
    ///
    /// # Errors
    /// When that link has been replaced or lost, or its path does not bring the carrier up.
    pub async fn open(&self, peer: usize, epoch: u64) -> Result<Secure, CarrierError> {
        let link = self.0.slots()[peer].link.clone();
        let link = link.filter(|link| link.path.epoch == epoch && link.way.dialled);
        let way = link.ok_or(CarrierError::Outdated)?.way;
        let (circle, expect): (_, Expect) = (&self.0.circle, self.0.expect(Some(peer)));
        let opened = async {
            match (way.kind, &way.quic, &way.via) {
                (Kind::Quic, Some(connection), _) => Ok(connection.open(Protocol::Stream).await?),
                (Kind::Relay, _, Some(hub)) => {
                    dial::relayed(circle, hub, peer, Protocol::Stream, &expect).await
                }
                _ => {
                    let place = way.address.to_string();
                    dial::tcp(circle, &place, Protocol::Stream, &expect).await
                }
            }
        };
        let opened = timeout(PATIENCE, opened).await;
        opened.map_err(|_| CarrierError::Path("no answer".into()))?.map_err(CarrierError::Path)
    }

    /// Whether the link to `peer` still has this epoch.
    #[must_use]
    pub fn is_current(&self, peer: usize, epoch: u64) -> bool {
        self.0.slots()[peer].link.as_ref().is_some_and(|link| link.path.epoch == epoch)
    }
}

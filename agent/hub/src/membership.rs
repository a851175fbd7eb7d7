//! Membership: whether those who are connected to this hub are members of its network still.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use mpyc_party_authority::{Authority, AuthorityError};
use mpyc_party_core::claims::{Claims, PublicKey};
use mpyc_party_core::lighthouse::Reason;
use mpyc_party_transport::task::blocking;
use tokio::sync::watch;
use tokio::time::sleep;

/// How often the records are asked who was revoked, as another process revokes.
const REVOCATION_POLL_INTERVAL: Duration = Duration::from_secs(2);

/// What the authority beside this hub says of members; without one nobody can know. Cloning shares
/// it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Membership(Option<Known>);

#[derive(Clone, Debug)]
struct Known {
    authority: Arc<Authority>,
    /// A key that was revoked never comes back.
    revoked: watch::Sender<HashSet<PublicKey>>,
}

impl Membership {
    pub(crate) fn new(authority: Arc<Authority>) -> Self {
        Self(Some(Known { authority, revoked: watch::Sender::default() }))
    }

    /// Looks again and again who was revoked; never ends.
    pub(crate) async fn watch_revocations(&self) {
        let Some(known) = &self.0 else { return std::future::pending().await };
        let mut failing = false;
        loop {
            let authority = Arc::clone(&known.authority);
            match blocking(move || authority.revoked()).await {
                Ok(keys) => {
                    failing = false;
                    known.revoked.send_if_modified(|revoked| {
                        let before = revoked.len();
                        revoked.extend(keys);
                        revoked.len() > before
                    });
                }
                // Once, not every time.
                Err(error) if !failing => {
                    failing = true;
                    log::error!("who was revoked keeps its place at this hub: {error}");
                }
                Err(_) => {}
            }
            sleep(REVOCATION_POLL_INTERVAL).await;
        }
    }

    /// Whether the one with these claims may have a place here.
    pub(crate) async fn check(&self, claims: &Claims) -> Result<(), Reason> {
        let Some(Known { authority, .. }) = &self.0 else { return Ok(()) };
        let (authority, asked) = (Arc::clone(authority), claims.clone());
        match blocking(move || authority.check(&asked)).await {
            Ok(()) => Ok(()),
            Err(AuthorityError::Revoked(_) | AuthorityError::NotEnrolled(_)) => {
                Err(Reason::NotMember)
            }
            Err(error) => {
                log::error!("whether {} is a member is not known: {error}", claims.role);
                Err(Reason::Records)
            }
        }
    }

    /// Completes when the holder of `key` is revoked.
    pub(crate) async fn revoked(&self, key: PublicKey) {
        if let Some(Known { revoked, .. }) = &self.0
            && revoked.subscribe().wait_for(|revoked| revoked.contains(&key)).await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}

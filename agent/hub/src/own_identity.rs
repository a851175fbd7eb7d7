//! The identities that the authority beside a hub makes for it: one for its own server, one for the
//! hub.

use std::sync::Arc;
use std::time::Duration;

use mpyc_party_authority::Authority;
use mpyc_party_core::role::Role;
use mpyc_party_transport::task::blocking;
use mpyc_party_transport::{Identity, now};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::error::HubError;

/// How often it is looked whether a renewal is due: machines sleep, and clocks are set.
const RENEWAL_CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// An identity that the authority makes anew in time. Meanwhile the one before it serves on.
#[derive(Debug)]
pub(crate) struct OwnIdentity {
    authority: Arc<Authority>,
    role: Role,
    current: watch::Sender<Identity>,
}

impl OwnIdentity {
    /// The identity of `role`, made by the authority.
    pub(crate) async fn new(authority: Arc<Authority>, role: Role) -> Result<Self, HubError> {
        let (current, _) = watch::channel(make(&authority, &role, now()).await?);
        Ok(Self { authority, role, current })
    }

    /// Whose it is.
    pub(crate) fn role(&self) -> &Role {
        &self.role
    }

    /// The identity as it is, and as it will be.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Identity> {
        self.current.subscribe()
    }

    /// Has it renewed for ever.
    pub(crate) async fn keep_fresh(self) {
        loop {
            if let Err(error) = self.renew_if_due(now()).await {
                log::error!("the certificate of {} is not renewed yet: {error}", self.role);
            }
            sleep(RENEWAL_CHECK_INTERVAL).await;
        }
    }

    /// Has it made anew once two thirds of its life are over.
    async fn renew_if_due(&self, now: u64) -> Result<(), HubError> {
        if now >= self.current.borrow().claims().renewal_due() {
            self.current.send_replace(make(&self.authority, &self.role, now).await?);
        }
        Ok(())
    }
}

async fn make(authority: &Arc<Authority>, role: &Role, now: u64) -> Result<Identity, HubError> {
    let (authority, role) = (Arc::clone(authority), role.clone());
    // The signer may take its time.
    Ok(blocking(move || authority.own_credentials(&role, now)).await?.try_into()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn own_identities_are_made_anew_at_two_thirds_of_their_life() {
        let dir = tempfile::TempDir::new().unwrap();
        let network = "example".parse().unwrap();
        let authority = Arc::new(Authority::init(dir.path(), &network, None, now()).unwrap());
        let start = now();
        let own = OwnIdentity::new(authority, Role::Hub(1)).await.unwrap();
        let first = own.subscribe().borrow().claims().key;
        own.renew_if_due(start + 12 * 3600).await.unwrap();
        assert_eq!(own.subscribe().borrow().claims().key, first);
        own.renew_if_due(start + 17 * 3600).await.unwrap();
        assert_ne!(own.subscribe().borrow().claims().key, first);
    }
}

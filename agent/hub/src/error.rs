//! Why a hub cannot serve, or cannot go on.

use std::fmt;

use mpyc_party_authority::AuthorityError;
use mpyc_party_core::role::Role;
use mpyc_party_transport::IdentityError;
use tokio::task::JoinError;

/// Why a hub cannot serve, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// An identity of something else.
    #[error("a hub's identity is needed, not {0}'s")]
    NotAHub(Role),
    /// The authority beside the hub makes no certificate for it.
    #[error("the authority makes no certificate for the hub: {0}")]
    Authority(#[from] AuthorityError),
    /// What the authority has made does not fit together.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The UDP socket serves no more.
    #[error("the hub's UDP socket accepts no connections any more")]
    Endpoint,
    /// A task without which there is no hub has ended.
    #[error("{0} has ended, without which there is no hub: start it again")]
    Ended(Service),
    /// A task without which there is no hub has panicked.
    #[error("{service} has failed, without which there is no hub: {source}; start it again")]
    Panicked {
        /// Which.
        service: Service,
        /// What happened.
        source: JoinError,
    },
}

/// A task that lives as long as its hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Says whose bytes the relay forwards next.
    RelayScheduler,
    /// Watches whether the hub keeps up with its work.
    LoadMonitor,
    /// Watches who is revoked.
    RevocationWatch,
    /// Renews the certificates of the authority's server and of the hub beside it.
    IdentityRenewal,
    /// Has certificates signed.
    Signing,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RelayScheduler => "the relay's scheduler",
            Self::LoadMonitor => "the load monitor",
            Self::RevocationWatch => "the watch for revoked members",
            Self::IdentityRenewal => "the renewal of the hub's own certificates",
            Self::Signing => "the queue for signatures",
        })
    }
}

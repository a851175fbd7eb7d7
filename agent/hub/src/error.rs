//! Why a hub cannot serve, or cannot go on.

use mpyc_party_authority::AuthorityError;
use mpyc_party_core::role::Role;
use mpyc_party_transport::IdentityError;
use mpyc_party_transport::task::TaskFailure;

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
    #[error("{0}; there is no hub without it: start it again")]
    Task(#[from] TaskFailure),
}

//! What the agent is told to do while it works, on D-Bus, and why it does not.

use std::sync::Arc;

use mpyc_party_core::name::SessionName;
use tokio::sync::oneshot;

use super::start::{StartError, StopError};
use crate::config::ConfigError;
use crate::session::SessionError;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// A run of this session.
    Start(SessionName),
    /// Its end.
    Stop(SessionName),
    /// Yes to the proposal of this session.
    Approve(SessionName),
    /// No to it.
    Reject(SessionName),
    /// The configuration read again.
    Reload,
}

/// Where it is told whether a command was carried out.
pub(super) type Reply = oneshot::Sender<Result<(), CommandError>>;

/// A command, and where it is told whether it was carried out.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) action: Action,
    pub(super) reply: Reply,
}

/// Why a command is not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    /// There is no party yet.
    #[error("this party is not enrolled yet")]
    NotEnrolled,
    /// Nothing of that name is declared.
    #[error("there is no session «{0}» here")]
    Unknown(SessionName),
    /// One run of a session at a time.
    #[error("session {0} runs already")]
    Running(SessionName),
    /// There is nothing to say yes or no to.
    #[error("nobody proposes session «{0}» now")]
    NotProposed(SessionName),
    /// Its runner cannot be started.
    #[error(transparent)]
    Start(#[from] Arc<StartError>),
    /// Its runner cannot be stopped.
    #[error(transparent)]
    Stop(#[from] StopError),
    /// The configuration cannot be used.
    #[error(transparent)]
    Reload(#[from] ReloadError),
}

/// Why the old configuration stays.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReloadError {
    /// The new one has an error.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The sessions cannot be listed.
    #[error(transparent)]
    Session(#[from] SessionError),
}

//! What a run knows of one peer.

use std::time::Duration;

use crate::agreement::{Entry, RunId};
use crate::claims::PublicKey;

/// One peer, as far as it has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    /// Its key; none while there is no control link to it.
    pub(super) key: Option<PublicKey>,
    /// When something was last heard from it.
    pub(super) heard: Duration,
    /// Its entry, if it came before this party had one of its own.
    pub(super) early_entry: Option<Entry>,
    /// Its list, until this party's own is complete.
    pub(super) list: Option<Vec<Entry>>,
    /// The run that it is ready for.
    pub(super) ready: Option<RunId>,
    /// Its program ended with success.
    pub(super) done: bool,
    /// One of its streams has ended.
    pub(super) stream_ended: bool,
}

impl Peer {
    pub(super) fn linked_at(now: Duration, key: PublicKey) -> Self {
        Self { key: Some(key), heard: now, ..Self::default() }
    }

    pub(super) fn linked(&self) -> bool {
        self.key.is_some()
    }

    /// When the silence of a linked peer has lasted for `grace`.
    pub(super) fn silent_at(&self, grace: Duration) -> Option<Duration> {
        self.linked().then(|| self.heard + grace)
    }
}

//! What the runners of this party tell of the runs that go on.

use std::path::PathBuf;
use std::time::Duration;

use mpyc_party_transport::task::{self, blocking};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::Directories;
use crate::runner::inspect::{Inspected, Snapshot, inspect};
use crate::session::record;

/// How long a runner may take to answer: whoever asks the agent waits for it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// All runs as they are now. One whose runner does not answer in time is left out.
pub(super) async fn all(dirs: &Directories) -> Vec<Snapshot> {
    let dirs = dirs.clone();
    // Without the directory there are none.
    let directories = blocking(move || record::running(&dirs).unwrap_or_default()).await;
    let ask = |directory: PathBuf| async move {
        match timeout(ANSWER_TIMEOUT, inspect(&directory)).await {
            Ok(Inspected::Now(now)) => Some(*now),
            _ => None,
        }
    };
    let mut asked: JoinSet<_> = directories.into_iter().map(ask).collect();
    let mut all = Vec::new();
    while let Some(answered) = asked.join_next().await {
        match answered {
            Ok(snapshot) => all.extend(snapshot),
            Err(error) => task::ended::<()>("a question to a runner", Err(error)),
        }
    }
    all
}

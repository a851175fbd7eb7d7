//! What the runners of this party tell of the runs that go on.

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::Place;
use crate::runner::inspect::{Snapshot, inspect};
use crate::session::record;

/// How long a runner may take to answer: whoever asks the agent waits for it.
const PATIENCE: Duration = Duration::from_secs(1);

/// All runs as they are now. One whose runner does not answer in time is left out.
pub(super) async fn all(place: &Place) -> Vec<Snapshot> {
    // Without the directory there are none.
    let directories = record::running(place).unwrap_or_default();
    let ask = |directory: PathBuf| async move {
        timeout(PATIENCE, inspect(&directory)).await.ok().flatten()
    };
    let asked: JoinSet<_> = directories.into_iter().map(ask).collect();
    asked.join_all().await.into_iter().flatten().collect()
}

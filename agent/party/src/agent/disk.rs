//! What the files of this party say. They are read on a thread for that: the event loop waits for no
//! disk, however slow it is.

use std::collections::{BTreeMap, BTreeSet};

use mpyc_party_core::name::SessionName;
use mpyc_party_transport::task::blocking;

use crate::config::Directories;
use crate::config::files::FileError;
use crate::session::record;
use crate::session::run_counter::{self, RunCounter};

/// What is on disk about some sessions.
#[derive(Debug)]
pub(super) struct OnDisk {
    /// How often each has run.
    pub(super) counters: BTreeMap<SessionName, Result<RunCounter, FileError>>,
    /// Of which a runner is at work, where that was asked for.
    pub(super) running: BTreeSet<SessionName>,
}

impl OnDisk {
    /// Reads it; the runs that go on as well where `running` says so.
    pub(super) async fn read(
        dirs: &Directories,
        sessions: Vec<SessionName>,
        running: bool,
    ) -> Self {
        let dirs = dirs.clone();
        let read = move || Self {
            running: if running { self::running(&dirs) } else { BTreeSet::new() },
            counters: sessions
                .into_iter()
                .map(|name| {
                    let counter = RunCounter::read(&run_counter::path(&dirs, &name));
                    (name, counter)
                })
                .collect(),
        };
        blocking(read).await
    }
}

/// The sessions of which a runner is at work, as the run directories show.
fn running(dirs: &Directories) -> BTreeSet<SessionName> {
    let directories = record::running(dirs).unwrap_or_default();
    let records = directories.iter().filter_map(|directory| record::read(directory).ok());
    records.map(|record| record.session).collect()
}

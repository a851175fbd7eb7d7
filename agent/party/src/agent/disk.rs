//! What the files of this party say, and who else could change them. They are read on a thread for
//! that: the event loop waits for no disk, however slow it is.

use std::collections::{BTreeMap, BTreeSet};

use mpyc_party_core::name::SessionName;
use mpyc_party_transport::task::blocking;

use crate::config::files::FileError;
use crate::config::{Config, Directories, Session, writers};
use crate::session::record;
use crate::session::run_counter::{self, RunCounter};

/// What is on disk about some sessions.
#[derive(Debug)]
pub(super) struct OnDisk {
    /// How often each has run.
    pub(super) counters: BTreeMap<SessionName, Result<RunCounter, FileError>>,
    /// Of which a runner is at work, where that was asked for.
    pub(super) running: BTreeSet<SessionName>,
    /// Why a session may not start by itself, of those for which that was asked.
    pub(super) exposed: BTreeMap<SessionName, String>,
}

impl OnDisk {
    /// Reads it; the runs that go on as well where `running` says so, and who could change the files of
    /// the sessions in `by_itself`.
    pub(super) async fn read(
        (config, dirs): (&Config, &Directories),
        sessions: Vec<SessionName>,
        running: bool,
        by_itself: Vec<(SessionName, Session)>,
    ) -> Self {
        let (config, dirs) = (config.clone(), dirs.clone());
        let read = move || Self {
            exposed: by_itself
                .into_iter()
                .filter_map(|(name, settings)| Some((name, exposed(&settings, (&config, &dirs))?)))
                .collect(),
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

/// Why a session must not start by itself: others can change what it runs, or nobody knows.
fn exposed(settings: &Session, (config, dirs): (&Config, &Directories)) -> Option<String> {
    match writers::of_run(settings, config, dirs) {
        Ok(exposed) => exposed.first().map(ToString::to_string),
        Err(error) => Some(format!("nobody knows who can change its files: {error}")),
    }
}

/// The sessions of which a runner is at work, as the run directories show.
fn running(dirs: &Directories) -> BTreeSet<SessionName> {
    let directories = record::running(dirs).unwrap_or_default();
    let records = directories.iter().filter_map(|directory| record::read(directory).ok());
    records.map(|record| record.session).collect()
}

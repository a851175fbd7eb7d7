//! The runs that are going on here, as their runners tell.

use std::path::PathBuf;

use mpyc_party_core::name::SessionName;
use mpyc_party_core::verdict::Stage;
use mpyc_party_core::waits::Waits;
use tokio::task::JoinSet;

use crate::config::Directories;
use crate::runner::inspect::{Snapshot, inspect};
use crate::session::record::{self, Record};
use crate::session::run_name;

/// A run that is going on.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) directory: PathBuf,
    pub(super) record: Record,
    /// What its runner tells; none while it is making ready or just ending.
    pub(super) now: Option<Snapshot>,
}

/// All of them, or those of one session, in the order in which they began.
pub(super) async fn all(
    dirs: &Directories,
    only: Option<&SessionName>,
) -> anyhow::Result<Vec<Running>> {
    let mut asked = JoinSet::new();
    for directory in record::running(dirs)? {
        // One that ends in this moment is none any more.
        let Ok(record) = record::read(&directory) else { continue };
        if only.is_none_or(|only| record.session == *only) {
            asked.spawn(async move {
                let now = inspect(&directory).await;
                Running { directory, record, now }
            });
        }
    }
    let mut found = asked.join_all().await;
    found.sort_by_cached_key(|run| run_name::position(&run.directory, &run.record.session));
    Ok(found)
}

impl Running {
    /// What those wait for who are there, and this party's program, for people.
    pub(super) fn waits(&self) -> impl Iterator<Item = String> {
        let now = self.now.iter();
        let all = now.flat_map(|now| {
            let own = Some((&now.party, &now.waits)).filter(|(_, own)| **own == Waits::Answer);
            own.into_iter().chain(now.peers.iter().map(|peer| (&peer.party, &peer.waits)))
        });
        all.filter(|(_, waits)| **waits != Waits::Nothing)
            .map(|(who, waits)| waits.of(who).to_string())
    }

    /// What it does, for people.
    pub(super) fn doing(&self) -> String {
        let Some(now) = &self.now else { return "making ready, or just ending".to_owned() };
        let away = now.peers.iter().filter(|peer| peer.path.is_none());
        let away: Vec<&str> = away.map(|peer| peer.party.as_str()).collect();
        let missing = if away.is_empty() {
            "all are linked".to_owned()
        } else {
            format!("no link to {}", away.join(", "))
        };
        let what = match now.stage {
            Stage::Prepare => "has been making ready",
            Stage::Find => "has been looking for the others",
            Stage::Agree => "has been comparing what will run",
            Stage::Start => "has been waiting for all to be ready",
            Stage::Run => "has been running",
            Stage::End => "has been waiting for the others to end",
        };
        let waits = self.waits().map(|text| format!("; {text}")).collect::<String>();
        let left = now.deadline_s.map(|left| format!(" (gives up in {left:.0} s)"));
        format!("{what} for {:.0} s{}, {missing}{waits}", now.in_stage_s, left.unwrap_or_default())
    }
}

//! The runs that are going on here, as their runners tell.

use std::path::PathBuf;

use mpyc_party_core::name::SessionName;
use mpyc_party_core::verdict::Stage;
use mpyc_party_core::waits::Waits;
use mpyc_party_net::links::report::PeerReport;
use tokio::task::JoinSet;

use crate::config::Directories;
use crate::runner::inspect::{Inspected, Snapshot, inspect};
use crate::session::record::{self, Record};
use crate::session::run_name;

/// A run that is going on.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) directory: PathBuf,
    pub(super) record: Record,
    /// What its runner tells; none while it is making ready or just ending, or does not answer.
    pub(super) now: Option<Snapshot>,
    /// The process of the runner, where that does not answer.
    pub(super) silent: Option<u32>,
}

/// That the link to a peer which is part of the run does not work, for how long, and until when that is
/// waited for.
pub(super) fn outage(now: &Snapshot, peer: &PeerReport) -> Option<String> {
    let away = peer.away_s.filter(|_| now.stage > Stage::Find)?;
    let left = (now.grace_s - away).max(0.0);
    let name = &peer.party;
    Some(format!(
        "link to {name} lost {away:.0} s ago, reconnecting (gives up in about {left:.0} s)"
    ))
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
                let (now, silent) = match inspect(&directory).await {
                    Inspected::Now(now) => (Some(*now), None),
                    Inspected::Silent(process) => (None, Some(process)),
                    Inspected::Closed => (None, None),
                };
                Running { directory, record, now, silent }
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
        let all = self.now.iter().flat_map(|now| {
            let own = Some((&now.party, now.waits.clone()));
            let own = own.filter(|(_, own)| *own == Waits::Answer);
            // Who has told what it waits for has a link to this party, which is ready or says so itself.
            let known = |waits: &Waits| match now.waits {
                Waits::Preparing => waits.clone(),
                _ => waits.without(&now.party),
            };
            let peers = now.peers.iter().map(move |peer| (&peer.party, known(&peer.waits)));
            own.into_iter().chain(peers)
        });
        all.filter(|(_, waits)| *waits != Waits::Nothing)
            .map(|(who, waits)| waits.of(who).to_string())
    }

    /// What it does, for people.
    pub(super) fn doing(&self) -> String {
        let Some(now) = &self.now else {
            return self.silent.map_or_else(
                || "making ready, or just ending".to_owned(),
                |process| {
                    format!(
                        "the runner (process {process}) does not answer: it was stopped, or is busy"
                    )
                },
            );
        };
        let outages: Vec<String> = now.peers.iter().filter_map(|peer| outage(now, peer)).collect();
        let missing = |peer: &&PeerReport| peer.path.is_none() && outage(now, peer).is_none();
        let missing: Vec<&str> =
            now.peers.iter().filter(missing).map(|peer| peer.party.as_str()).collect();
        let missing = (!missing.is_empty()).then(|| format!("no link to {}", missing.join(", ")));
        let mut links: Vec<String> = missing.into_iter().chain(outages).collect();
        if links.is_empty() {
            links.push("all are linked".to_owned());
        }
        let links = links.join(", ");
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
        format!("{what} for {:.0} s{}, {links}{waits}", now.in_stage_s, left.unwrap_or_default())
    }
}

//! Cold sessions: how long three parties behind NATs take from «all are up» to a first path and to
//! a connected MPyC.

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::Args;
use mpyc_party_lab::reach::{Gathering, meet_all};
use mpyc_party_lab::topology::Kind;
use mpyc_party_lab::{Lab, mpyc_party};

use super::percentiles::{Percentiles, print};

/// How often, and where.
#[derive(Args)]
#[command(after_help = "Ends with status 1 if 95 of 100 are not within what they have to be.")]
pub(crate) struct Cold {
    /// Sessions, one after the other.
    #[arg(long, default_value_t = 20)]
    runs: usize,
    /// The network that all three are in.
    #[arg(long, default_value = "easy")]
    kind: Kind,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Runs the sessions and tells.
pub(crate) fn run(wanted: &Cold) -> Result<ExitCode> {
    Lab::available().map_err(|why| anyhow!(why))?;
    mpyc_party()?;
    let mut sessions: Vec<Gathering> = Vec::new();
    for _ in 0..wanted.runs.max(1) {
        sessions.push(meet_all(wanted.kind)?);
    }
    let meetings = || sessions.iter().flat_map(|session| &session.meetings);
    let connected = sessions.iter().map(|session| session.connected_after).collect();
    let rows = [
        Percentiles::of("first path", meetings().map(|met| met.first_after).collect(), 1.0),
        Percentiles::of("MPyC connected", connected, 3.0),
        Percentiles::of("upgrade", meetings().filter_map(|met| met.upgrade_after).collect(), 5.0),
    ];
    print(&rows, wanted.json)
}

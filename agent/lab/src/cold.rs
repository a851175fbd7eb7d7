//! Cold sessions: how long three parties behind NATs take from «all are up» to a first path and to
//! a connected MPyC.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::Args;
use mpyc_party_lab::reach::{Expected, Gathering, Setting, gather};
use mpyc_party_lab::topology::Kind;
use mpyc_party_lab::{Lab, mpyc_party};

use super::percentiles::{Percentiles, print};

/// How often, and where.
#[derive(Args)]
#[command(after_help = "\
Where there is a direct path, as many sessions again begin without it, until MPyC is connected through
the hub: how long a relayed link stays one. Ends with status 1 if 95 of 100 are not within their limit.")]
pub(crate) struct Cold {
    /// Sessions, one after the other.
    #[arg(long, default_value_t = 20)]
    runs: usize,
    /// The network that all three are in.
    #[arg(long, default_value = "easy")]
    kind: Kind,
    /// The delay of the lines between them and the internet, one way, as in «25ms».
    #[arg(long, value_parser = humantime::parse_duration)]
    delay: Option<Duration>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Runs the sessions and tells.
pub(crate) fn run(wanted: &Cold) -> Result<ExitCode> {
    Lab::available().map_err(|why| anyhow!(why))?;
    mpyc_party()?;
    let setting = Setting { kinds: [wanted.kind; 3], delay: wanted.delay, held_up: false };
    let sessions = |setting: Setting| (0..wanted.runs.max(1)).map(move |_| gather(&setting));
    let cold = sessions(setting).collect::<Result<Vec<Gathering>, _>>()?;
    let first = cold.iter().flat_map(|session| &session.meetings).map(|met| met.first_after);
    let connected = cold.iter().map(|session| session.connected_after);
    let mut upgrades = Vec::new();
    if Expected::between(wanted.kind, wanted.kind) == Expected::Direct {
        for session in sessions(Setting { held_up: true, ..setting }) {
            let [held_up, ..] = session?.meetings;
            upgrades.extend(held_up.upgrade_after);
        }
    }
    let rows = [
        Percentiles::of("first path", first.collect(), 1.0),
        Percentiles::of("MPyC connected", connected.collect(), 3.0),
        Percentiles::of("relay to direct", upgrades, 5.0),
    ];
    print(&rows, wanted.json)
}

//! Roaming: for how long MPyC has to wait when a party's address or its NAT's mappings change in the
//! middle of a run.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::Args;
use mpyc_party_lab::exchange::Exchange;
use mpyc_party_lab::topology::Kind;
use mpyc_party_lab::{Lab, LabError, Topology, mpyc_party};

use super::percentiles::{Percentiles, print};

/// The session's grace time.
const GRACE: Duration = Duration::from_secs(30);
/// How long a party may take to be back, in seconds.
const LIMIT: f64 = 2.0;

/// How often.
#[derive(Args)]
#[command(after_help = "\
Each row is a change in the middle of a run; the time is the longest for which MPyC waited for a
round of messages. Ends with status 1 if 95 of 100 are not within the limit, or a byte is lost.")]
pub(crate) struct Roam {
    /// Sessions for each change, one after the other.
    #[arg(long, default_value_t = 10)]
    runs: usize,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// A change, what it is called, and the network that alice and bob are in.
type Change = (&'static str, Kind, fn(&Exchange) -> Result<(), LabError>);

const CHANGES: [Change; 4] = [
    ("nothing", Kind::Public, |_| Ok(())),
    ("another address", Kind::Public, |exchange| exchange.host("alice")?.renumber()),
    ("NAT maps anew", Kind::Easy, |exchange| exchange.router("alice")?.rebind()),
    ("NAT's other address", Kind::Easy, |exchange| exchange.router("alice")?.renumber()),
];

/// Runs the sessions and tells.
pub(crate) fn run(wanted: &Roam) -> Result<ExitCode> {
    Lab::available().map_err(|why| anyhow!(why))?;
    mpyc_party()?;
    let mut rows = Vec::new();
    for (what, kind, change) in CHANGES {
        let mut pauses = Vec::new();
        for _ in 0..wanted.runs.max(1) {
            pauses.push(pause(kind, change)?.as_secs_f64());
        }
        rows.push(Percentiles::of(what, pauses, LIMIT));
    }
    print(&rows, wanted.json)
}

fn pause(kind: Kind, change: fn(&Exchange) -> Result<(), LabError>) -> Result<Duration, LabError> {
    let public = Topology::default().public("hub").public("carol");
    let topology = ["alice", "bob"].iter().fold(public, |all, name| kind.place(all, name));
    let exchange = Exchange::start(&topology, GRACE)?;
    change(&exchange)?;
    exchange.moves()?;
    exchange.complete()
}

//! Cold sessions: how long three parties behind NATs take from «all are up» to a first path and to
//! a connected MPyC.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::Args;
use mpyc_party_lab::reach::{Gathering, meet_all};
use mpyc_party_lab::topology::Kind;
use mpyc_party_lab::{Lab, mpyc_party};
use serde::Serialize;

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

/// Seconds that so many of a hundred were within.
#[derive(Serialize)]
struct Percentiles {
    what: &'static str,
    count: usize,
    p50: f64,
    p95: f64,
    highest: f64,
    /// What the 95 have to be within.
    limit: f64,
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
    let mut out = io::stdout().lock();
    if wanted.json {
        serde_json::to_writer_pretty(&mut out, &rows)?;
        writeln!(out)?;
    } else {
        writeln!(
            out,
            "{:<16} {:>6} {:>8} {:>8} {:>8} {:>8}",
            "", "count", "p50", "p95", "highest", "limit"
        )?;
        for Percentiles { what, count, p50, p95, highest, limit } in &rows {
            writeln!(
                out,
                "{what:<16} {count:>6} {p50:>6.2} s {p95:>6.2} s {highest:>6.2} s {limit:>6.2} s"
            )?;
        }
    }
    out.flush()?;
    let late = rows.iter().any(|row| row.p95 > row.limit);
    Ok(if late { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Percentiles {
    fn of(what: &'static str, mut seconds: Vec<f64>, limit: f64) -> Self {
        seconds.sort_by(f64::total_cmp);
        let within = |percent: usize| {
            let rank = (seconds.len() * percent).div_ceil(100);
            rank.checked_sub(1).map_or(0.0, |rank| seconds[rank])
        };
        let (p50, p95, highest) = (within(50), within(95), within(100));
        Self { what, count: seconds.len(), p50, p95, highest, limit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let row = Percentiles::of("", (1..=20).rev().map(f64::from).collect(), 0.0);
        assert_eq!((row.p50, row.p95, row.highest), (10.0, 19.0, 20.0));
        let none = Percentiles::of("", Vec::new(), 0.0);
        assert_eq!((none.count, none.p95), (0, 0.0));
    }
}

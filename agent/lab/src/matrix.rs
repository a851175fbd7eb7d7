//! The NAT matrix: every ordered pair of kinds of network, and how two parties there meet.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Result, anyhow};
use clap::Args;
use mpyc_party_lab::reach::{Expected, Meeting, meet};
use mpyc_party_lab::topology::Kind;
use mpyc_party_lab::{Lab, LabError, mpyc_party};
use serde::Serialize;

/// Which pairs, and how to tell.
#[derive(Args)]
#[command(after_help = "\
The kinds: public, easy, symmetric, full-cone, carrier, udp-blocked, tcp-443, ipv6-only.
Ends with status 1 if a session fails or a path is not what there has to be.")]
pub(crate) struct Matrix {
    /// Only pairs of these kinds, as in «easy,symmetric».
    #[arg(long, value_delimiter = ',')]
    only: Vec<Kind>,
    /// Sessions at the same time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// One pair, and what became of it.
#[derive(Serialize)]
struct Cell {
    a: &'static str,
    b: &'static str,
    expected: Expected,
    meeting: Option<Meeting>,
    problem: Option<String>,
}

/// Runs the sessions and prints the table.
pub(crate) fn run(wanted: &Matrix) -> Result<ExitCode> {
    Lab::available().map_err(|why| anyhow!(why))?;
    mpyc_party()?;
    let kinds = if wanted.only.is_empty() { &Kind::ALL[..] } else { &wanted.only[..] };
    let pairs: Vec<(Kind, Kind)> =
        kinds.iter().flat_map(|a| kinds.iter().map(|b| (*a, *b))).collect();
    let cells = cells(&pairs, wanted.jobs.max(1));
    let mut out = io::stdout().lock();
    if wanted.json {
        serde_json::to_writer_pretty(&mut out, &cells)?;
        writeln!(out)?;
    } else {
        table(&mut out, &cells)?;
    }
    out.flush()?;
    let failed = cells.iter().any(|cell| cell.problem.is_some());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The cells of these pairs, in this order; so many are worked on at a time.
fn cells(pairs: &[(Kind, Kind)], jobs: usize) -> Vec<Cell> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((a, b)) = pairs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let cell = Cell::of(*a, *b, meet(*a, *b));
            done.lock().unwrap_or_else(PoisonError::into_inner).push(((*a, *b), cell));
        }
    };
    thread::scope(|scope| (0..jobs).for_each(|_| drop(scope.spawn(work))));
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(pair, _)| pairs.iter().position(|wanted| wanted == pair));
    done.into_iter().map(|(_, cell)| cell).collect()
}

impl Cell {
    fn of(a: Kind, b: Kind, met: Result<Meeting, LabError>) -> Self {
        let expected = Expected::between(a, b);
        let (meeting, problem) = match met {
            Err(error) => (None, Some(error.to_string())),
            Ok(meeting) => {
                let wrong = (!expected.allows(meeting.path)).then(|| match expected {
                    Expected::Direct => "there has to be a direct path".to_owned(),
                    Expected::Any | Expected::Relay => "there can be no direct path".to_owned(),
                });
                (Some(meeting), wrong)
            }
        };
        Self { a: a.name(), b: b.name(), expected, meeting, problem }
    }
}

fn table(out: &mut impl Write, cells: &[Cell]) -> io::Result<()> {
    writeln!(
        out,
        "{:<12} {:<12} {:<9} {:<7} {:>11} {:>11} {:>9}",
        "alice", "bob", "session", "path", "first path", "connected", "upgrade"
    )?;
    for cell in cells {
        let verdict = if cell.meeting.is_some() { "completed" } else { "failed" };
        write!(out, "{:<12} {:<12} {verdict:<9} ", cell.a, cell.b)?;
        if let Some(meeting) = &cell.meeting {
            let upgrade = meeting.upgrade_after.map(|after| format!("{after:.2} s"));
            write!(
                out,
                "{:<7} {:>9.2} s {:>9.2} s {:>9}",
                meeting.path.name(),
                meeting.first_after,
                meeting.connected_after,
                upgrade.unwrap_or_default()
            )?;
        }
        let problem = cell.problem.as_deref().and_then(|text| text.lines().next());
        writeln!(out, "{}", problem.map(|text| format!("  ✗ {text}")).unwrap_or_default())?;
    }
    let failed = cells.iter().filter(|cell| cell.problem.is_some()).count();
    writeln!(out, "{} of {} as they have to be", cells.len() - failed, cells.len())
}

//! The NAT matrix: every ordered pair of kinds of network, and how two parties there meet.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Result, anyhow};
use clap::Args;
use mpyc_party_lab::reach::{Expected, Gathering, meet};
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
    session: Option<Gathering>,
    problem: Option<String>,
}

/// Runs the sessions and prints the table.
pub(crate) fn run(wanted: &Matrix) -> Result<ExitCode> {
    Lab::available().map_err(|why| anyhow!(why))?;
    mpyc_party()?;
    let kinds = if wanted.only.is_empty() { &Kind::ALL[..] } else { &wanted.only[..] };
    let pairs: Vec<(Kind, Kind)> =
        kinds.iter().flat_map(|a| kinds.iter().map(|b| (*a, *b))).collect();
    if !wanted.json {
        heading()?;
    }
    let cells =
        cells(&pairs, wanted.jobs.max(1), |cell| if wanted.json { Ok(()) } else { row(cell) })?;
    let failed = cells.iter().filter(|cell| cell.problem.is_some()).count();
    let mut out = io::stdout().lock();
    if wanted.json {
        serde_json::to_writer_pretty(&mut out, &cells)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{} of {} as they have to be", cells.len() - failed, cells.len())?;
    }
    out.flush()?;
    Ok(if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The cells of these pairs, each told of when it is done; so many are worked on at a time.
fn cells(
    pairs: &[(Kind, Kind)],
    jobs: usize,
    tell: impl Fn(&Cell) -> io::Result<()> + Sync,
) -> Result<Vec<Cell>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some((a, b)) = pairs.get(number) else { return anyhow::Ok(done) };
            let cell = Cell::of(*a, *b, meet(*a, *b));
            tell(&cell)?;
            done.push((number, cell));
        }
    };
    let mut done = Vec::new();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            done.extend(worker.join().map_err(|_| anyhow!("a session was given up"))??);
        }
        anyhow::Ok(())
    })?;
    done.sort_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, cell)| cell).collect())
}

impl Cell {
    fn of(a: Kind, b: Kind, met: Result<Gathering, LabError>) -> Self {
        let expected = Expected::between(a, b);
        let (session, problem) = match met {
            Err(error) => (None, Some(error.to_string())),
            Ok(session) => {
                let wrong = (!expected.allows(session.meetings[0].path)).then(|| match expected {
                    Expected::Direct => "there has to be a direct path".to_owned(),
                    Expected::Any | Expected::Relay => "there can be no direct path".to_owned(),
                });
                (Some(session), wrong)
            }
        };
        Self { a: a.name(), b: b.name(), expected, session, problem }
    }
}

fn heading() -> io::Result<()> {
    writeln!(
        io::stdout(),
        "{:<12} {:<12} {:<9} {:<7} {:>11} {:>11} {:>11}",
        "alice",
        "bob",
        "session",
        "path",
        "first path",
        "connected",
        "upgrade"
    )
}

fn row(cell: &Cell) -> io::Result<()> {
    let verdict = if cell.session.is_some() { "completed" } else { "failed" };
    let mut line = format!("{:<12} {:<12} {verdict:<9} ", cell.a, cell.b);
    if let Some(Gathering { connected_after, meetings: [meeting, ..] }) = &cell.session {
        let times = [Some(meeting.first_after), Some(*connected_after), meeting.upgrade_after];
        let times = times.map(|time| time.map(|time| format!("{time:.2} s")).unwrap_or_default());
        line += &format!("{:<7}", meeting.path.name());
        times.iter().for_each(|time| line += &format!(" {time:>11}"));
    }
    if let Some(problem) = cell.problem.as_deref().and_then(|text| text.lines().next()) {
        line += &format!("  ✗ {problem}");
    }
    writeln!(io::stdout(), "{line}")
}

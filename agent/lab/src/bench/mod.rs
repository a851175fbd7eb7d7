//! Benchmarks: everything in one run, in interleaved blocks, as ratios to plain TCP.
//!
//! Machines differ and so do minutes on one machine, so a figure means something only next to the
//! plain TCP of the same block. Every end of every connection is a process of its own on a host of
//! its own; CPU time is what the kernel charged to all of them together.

mod alternatives;
mod certificates;
pub(crate) mod ends;
pub(crate) mod hub;
mod links;
mod meeting;
mod nebula;
pub(crate) mod process;
mod report;
mod rounds;
mod session;
pub(crate) mod traffic;

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::thread;

use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};
use mpyc_party_lab::Lab;

use report::Section;

/// What to measure, and how long.
#[derive(Args)]
pub(crate) struct Bench {
    /// Measure only these parts.
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// Few and short blocks: shows that everything works, the figures are rough.
    #[arg(long)]
    quick: bool,
    /// Print JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// The interpreter that has MPyC, uvloop and numpy [default: $MPYC_PARTY_TEST_PYTHON, python3].
    #[arg(long)]
    python: Option<PathBuf>,
}

/// A part of the benchmarks.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Throughput, CPU time and round trips of links.
    Links,
    /// The same over a line of 100 Mbit/s.
    Bottleneck,
    /// The same through two NATs, beside Nebula, and the time to the first echo.
    Nats,
    /// MPC rounds, start time and memory of MPyC.
    Rounds,
}

/// How much to measure.
#[derive(Clone, Copy)]
struct Effort {
    /// Blocks of each alternative, interleaved.
    blocks: usize,
    /// Bytes sent in a block.
    bytes: u64,
    /// Round trips in a block.
    pings: u64,
    /// Runs of MPyC for each alternative, interleaved.
    runs: usize,
    /// Sequential multiplications in a batch.
    multiplications: u32,
    /// Batches in a run.
    batches: u32,
}

impl Effort {
    const FULL: Self =
        Self { blocks: 7, bytes: 1 << 30, pings: 5000, runs: 7, multiplications: 2000, batches: 3 };
    const QUICK: Self =
        Self { blocks: 3, bytes: 1 << 26, pings: 1000, runs: 2, multiplications: 500, batches: 2 };
}

/// Measures and prints.
pub(crate) fn run(wanted: &Bench) -> Result<()> {
    Lab::available().map_err(|why| anyhow!(why))?;
    let effort = if wanted.quick { Effort::QUICK } else { Effort::FULL };
    let python = wanted.python.clone().unwrap_or_else(mpyc_party_lab::python);
    let all = wanted.only.is_empty();
    let mut sections: Vec<Section> = Vec::new();
    let warning = busy();
    if all || wanted.only.contains(&Part::Links) {
        sections.push(links::measure(effort)?);
    }
    if all || wanted.only.contains(&Part::Bottleneck) {
        sections.push(links::measure_bottleneck(effort)?);
    }
    if all || wanted.only.contains(&Part::Nats) {
        sections.extend(links::measure_nats(effort)?);
    }
    if all || wanted.only.contains(&Part::Rounds) {
        sections.push(rounds::measure(effort, &python)?);
    }
    for section in &mut sections {
        warning.clone().into_iter().for_each(|warning| section.note(warning));
    }
    let mut out = io::stdout().lock();
    if wanted.json {
        serde_json::to_writer_pretty(&mut out, &sections)?;
        writeln!(out)?;
    } else {
        sections.iter().try_for_each(|section| write!(out, "{section}"))?;
    }
    Ok(out.flush()?)
}

/// A warning if others use this machine as well: then only CPU time means much.
fn busy() -> Option<String> {
    let averages = fs::read_to_string("/proc/loadavg").ok()?;
    let load: f64 = averages.split_whitespace().next()?.parse().ok()?;
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let warn = || {
        format!(
            "the machine was busy before ({processors} processors, load {load}); root can put the \
             benchmarks ahead of everything else with «chrt --rr 10 mpyc-party-lab bench»"
        )
    };
    (load > processors as f64 / 4.0).then(warn)
}

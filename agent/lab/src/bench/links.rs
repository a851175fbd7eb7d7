//! Throughput, CPU time and round trips of every carrier, in interleaved blocks.

use std::time::Duration;

use anyhow::{Result, bail};
use mpyc_party_lab::{Lab, TempState};

use super::Effort;
use super::carriers::{CARRIERS, Carrier, PATIENCE, Site, this_program};
use super::process::{Process, pinned};
use super::report::{Measured, Section};
use super::traffic::{Address, Report, Task};

/// How long a block may take.
const BLOCK: Duration = Duration::from_secs(60);

const COLUMNS: [&str; 5] =
    ["MB/s", "CPU-s/GB, all", "CPU-s/GB, carrier", "64 B p50 µs", "64 B p99 µs"];

/// A carrier with traffic on it.
struct Loaded {
    driver: Process,
    server: Process,
    carrier: Carrier,
    measured: Measured,
}

/// Measures all that are installed.
pub(crate) fn measure(effort: Effort) -> Result<Section> {
    let lab = Lab::new()?;
    let site = Site { near: lab.host("near")?, far: lab.host("far")?, state: TempState::new()? };
    let mut loaded = Vec::new();
    let mut notes = vec![
        "«all» counts both traffic generators too, «carrier» only what is between them".to_owned(),
    ];
    for (name, set_up) in CARRIERS {
        match set_up(&site)? {
            Some(carrier) => loaded.push(Loaded::start(&site, name, carrier)?),
            None => notes.push(format!("{name} is not installed (apt-get install stunnel4)")),
        }
    }
    for candidate in &mut loaded {
        candidate.block(effort.bytes / 16, effort.pings / 4)?;
        candidate.measured.columns.iter_mut().for_each(Vec::clear);
    }
    for _ in 0..effort.blocks {
        for candidate in &mut loaded {
            candidate.block(effort.bytes, effort.pings)?;
        }
    }
    let measured: Vec<_> = loaded.into_iter().map(|candidate| candidate.measured).collect();
    Ok(Section::new("Links between two hosts", &COLUMNS, &measured, notes))
}

impl Loaded {
    fn start(site: &Site, name: &'static str, carrier: Carrier) -> Result<Self> {
        let end = |(host, side), end: &str, address: &Address| {
            let mut command = pinned(host, side, &this_program()?);
            command.args(["traffic", end, &address.to_string()]);
            Process::start(command, format!("the {end} end of {name}"))
        };
        let server = end((&site.far, 1), "serve", &carrier.serve)?;
        server.line(PATIENCE)?;
        let driver = end((&site.near, 0), "drive", &carrier.dial)?;
        let measured = Measured { name, columns: vec![Vec::new(); COLUMNS.len()] };
        Ok(Self { driver, server, carrier, measured })
    }

    /// One block: bulk, then round trips.
    fn block(&mut self, bytes: u64, pings: u64) -> Result<()> {
        let gigabytes = bytes as f64 / 1e9;
        let (ends, carriers) = self.cpu_seconds()?;
        let Report::Bulk { seconds } = self.ask(Task::Bulk(bytes))? else { bail!("no bulk") };
        let (ends_after, carriers_after) = self.cpu_seconds()?;
        let Report::Ping { p50, p99 } = self.ask(Task::Ping(pings))? else { bail!("no ping") };
        let carrier = (carriers_after - carriers) / gigabytes;
        let all = (ends_after - ends) / gigabytes + carrier;
        let values = [gigabytes * 1e3 / seconds, all, carrier, p50, p99];
        for (column, value) in self.measured.columns.iter_mut().zip(values) {
            column.push(value);
        }
        Ok(())
    }

    fn ask(&mut self, task: Task) -> Result<Report> {
        self.driver.tell(&task)?;
        Ok(serde_json::from_str(&self.driver.line(BLOCK)?)?)
    }

    /// CPU seconds so far of the two traffic generators, and of the carrier's processes.
    fn cpu_seconds(&self) -> Result<(f64, f64)> {
        let ends = self.server.cpu_seconds()? + self.driver.cpu_seconds()?;
        let carriers: f64 =
            self.carrier.processes.iter().map(Process::cpu_seconds).sum::<Result<_>>()?;
        Ok((ends, carriers))
    }
}

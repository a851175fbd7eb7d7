//! Throughput, CPU time and round trips of every tunnel, in interleaved blocks: between
//! neighbours, and over a slow line.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use mpyc_party_lab::topology::{HostPlace, Kind};
use mpyc_party_lab::{Lab, Topology, Wan};

use super::Effort;
use super::alternatives::{
    Alternative, BARE, BARE_RELAY, LINK, PLAIN, QUIC, RELAY, SETUP_TIMEOUT, STUNNEL_TLS, Site,
    Tunnel, this_program,
};
use super::meeting::{FAR, NEAR};
use super::nebula::NEBULA;
use super::process::{Process, pinned};
use super::report::{Measured, Section};
use super::traffic::{Address, Report, Task};

/// How long a block may take.
const BLOCK: Duration = Duration::from_secs(60);
/// The rate of the slow line, in Mbit/s.
const BOTTLENECK: f64 = 100.0;
/// Bytes in a block over the slow line: a few seconds' worth.
const SLOW_BYTES: u64 = 32 << 20;

const COLUMNS: [&str; 5] =
    ["MB/s", "CPU-s/GB, all", "CPU-s/GB, tunnel", "64 B p50 µs", "64 B p99 µs"];

/// A tunnel with traffic on it.
struct Loaded {
    driver: Process,
    server: Process,
    tunnel: Tunnel,
    measured: Measured,
}

/// Between neighbours.
pub(crate) fn measure(effort: Effort) -> Result<Section> {
    let lab = Lab::new()?;
    let [near, far, hub] = [lab.host(NEAR)?, lab.host(FAR)?, lab.host("hub")?];
    let site = Site::new(near, far, hub)?;
    let alternatives = [PLAIN, BARE, LINK, QUIC, RELAY, STUNNEL_TLS];
    let (measured, mut notes) = compare(&site, &alternatives, effort)?;
    notes.push(
        "«all» counts both traffic generators too, «tunnel» only what is between them".to_owned(),
    );
    notes.push(resumption(&measured, LINK, BARE)?);
    Ok(Section::new("Links between two hosts", &COLUMNS, &measured, notes))
}

/// Where the near host is on a slow line.
pub(crate) fn measure_bottleneck(effort: Effort) -> Result<Section> {
    let link = Some(Wan { rate_mbit: Some(BOTTLENECK), ..Wan::default() });
    let slow = HostPlace { link, ..HostPlace::default() };
    let topology = Topology::default().host(NEAR, slow).public(FAR).public("hub");
    let (site, _built) = Site::of(&topology)?;
    let effort = Effort { bytes: effort.bytes.min(SLOW_BYTES), ..effort };
    let alternatives = [PLAIN, BARE, LINK, QUIC, BARE_RELAY, RELAY];
    let (measured, mut notes) = compare(&site, &alternatives, effort)?;
    for alternative in &measured {
        let share = alternative.median(0) * 8.0 / BOTTLENECK;
        notes.push(format!("{}: {share:.2} of the line", alternative.name));
    }
    notes.push(resumption(&measured, LINK, BARE)?);
    notes.push(resumption(&measured, RELAY, BARE_RELAY)?);
    Ok(Section::new("Over a line of 100 Mbit/s", &COLUMNS, &measured, notes))
}

/// Behind an easy NAT each: the time to the first echo, and then the same as between neighbours.
pub(crate) fn measure_nats(effort: Effort) -> Result<[Section; 2]> {
    let topology = [NEAR, FAR]
        .iter()
        .fold(Topology::default().public("hub"), |topology, name| Kind::Easy.place(topology, name));
    let (site, _built) = Site::of(&topology)?;
    let alternatives = [QUIC, RELAY, NEBULA];
    let mut first: Vec<Measured> = Vec::new();
    for _ in 0..effort.runs {
        for alternative in &alternatives {
            let failed = || format!("{} cannot be set up", alternative.name);
            let Some(tunnel) = (alternative.set_up)(&site).with_context(failed)? else { continue };
            let begun = tunnel.begun;
            Loaded::start(&site, alternative.name, tunnel)?.ask(Task::Ping(1))?;
            let milliseconds = begun.elapsed().as_secs_f64() * 1e3;
            match first.iter_mut().find(|measured| measured.name == alternative.name) {
                Some(measured) => measured.columns[0].push(milliseconds),
                None => first
                    .push(Measured { name: alternative.name, columns: vec![vec![milliseconds]] }),
            }
        }
    }
    let notes = vec!["from the start of both ends, when the hub or lighthouse is up".to_owned()];
    let first = Section::new("Through two easy NATs", &["first echo ms"], &first, notes);
    let (measured, notes) = compare(&site, &alternatives, effort)?;
    Ok([first, Section::new("Through two easy NATs", &COLUMNS, &measured, notes)])
}

/// What it costs that a stream outlives its link.
fn resumption(measured: &[Measured], with: Alternative, without: Alternative) -> Result<String> {
    let find = |name: &str| measured.iter().find(|m| m.name == name).context("it was measured");
    let ratio = find(with.name)?.ratio(find(without.name)?, 0);
    Ok(format!("{}: ×{ratio:.2} of the throughput of {}", with.name, without.name))
}

/// Measures all alternatives that can be had, and says which cannot.
pub(crate) fn compare(
    site: &Site,
    alternatives: &[Alternative],
    effort: Effort,
) -> Result<(Vec<Measured>, Vec<String>)> {
    let (mut loaded, mut notes) = (Vec::new(), Vec::new());
    for alternative in alternatives {
        let failed = || format!("{} cannot be set up", alternative.name);
        match (alternative.set_up)(site).with_context(failed)? {
            Some(tunnel) => loaded.push(Loaded::start(site, alternative.name, tunnel)?),
            None => notes.push(format!("{} {}", alternative.name, alternative.absent)),
        }
    }
    for alternative in &mut loaded {
        alternative.block(effort.bytes / 16, effort.pings / 4)?;
        alternative.measured.columns.iter_mut().for_each(Vec::clear);
    }
    for _ in 0..effort.blocks {
        for alternative in &mut loaded {
            alternative.block(effort.bytes, effort.pings)?;
        }
    }
    Ok((loaded.into_iter().map(|alternative| alternative.measured).collect(), notes))
}

impl Loaded {
    fn start(site: &Site, name: &'static str, tunnel: Tunnel) -> Result<Self> {
        let end = |(host, side), end: &str, address: &Address| {
            let mut command = pinned(host, side, &this_program()?);
            command.args(["traffic", end, &address.to_string()]);
            Process::start(command, format!("the {end} end of {name}"))
        };
        let server = end((&site.far, 1), "serve", &tunnel.serve)?;
        server.line(SETUP_TIMEOUT)?;
        let driver = end((&site.near, 0), "drive", &tunnel.dial)?;
        let measured = Measured { name, columns: vec![Vec::new(); COLUMNS.len()] };
        Ok(Self { driver, server, tunnel, measured })
    }

    /// One block: bulk, then round trips.
    fn block(&mut self, bytes: u64, pings: u64) -> Result<()> {
        let gigabytes = bytes as f64 / 1e9;
        let (ends, alternatives) = self.cpu_seconds()?;
        let Report::Bulk { seconds } = self.ask(Task::Bulk(bytes))? else { bail!("no bulk") };
        let (ends_after, carriers_after) = self.cpu_seconds()?;
        let Report::Ping { p50, p99 } = self.ask(Task::Ping(pings))? else { bail!("no ping") };
        let tunnel = (carriers_after - alternatives) / gigabytes;
        let all = (ends_after - ends) / gigabytes + tunnel;
        let values = [gigabytes * 1e3 / seconds, all, tunnel, p50, p99];
        for (column, value) in self.measured.columns.iter_mut().zip(values) {
            column.push(value);
        }
        Ok(())
    }

    fn ask(&mut self, task: Task) -> Result<Report> {
        let answer = self.driver.tell(&task).and_then(|()| self.driver.line(BLOCK));
        let answer = answer.map_err(|why| {
            let alternatives = self.tunnel.processes.iter_mut();
            let all = alternatives.chain([&mut self.driver, &mut self.server]);
            let said: Vec<_> = all.map(Process::complaint).collect();
            why.context(said.join("\n"))
        })?;
        Ok(serde_json::from_str(&answer)?)
    }

    /// CPU seconds so far of the two traffic generators, and of the tunnel's processes.
    fn cpu_seconds(&self) -> Result<(f64, f64)> {
        let ends = self.server.cpu_seconds()? + self.driver.cpu_seconds()?;
        let alternatives: f64 =
            self.tunnel.processes.iter().map(Process::cpu_seconds).sum::<Result<_>>()?;
        Ok((ends, alternatives))
    }
}

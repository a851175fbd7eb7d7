//! MPC rounds, start time and memory: a real MPyC program among three parties on three hosts.
//!
//! A new alternative is a function that says how one party is started, and a line in [`BACKENDS`].

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mpyc_party_lab::topology::Kind;
use mpyc_party_lab::{Host, Lab, TempState, Topology};
use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;

use super::Effort;
use super::certificates::Signer;
use super::process::{Process, pinned};
use super::report::{Measured, Section, median};
use super::session;

pub(super) const PARTIES: [&str; 3] = ["alice", "bob", "carol"];
const PROGRAM: &str = include_str!("../../programs/rounds.py");
/// How long a run may take to connect, and then to its end.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const COLUMNS: [&str; 3] = ["µs per round", "start ms", "MB per process"];

/// Where the three are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ground {
    /// Side by side.
    Neighbours,
    /// Each in a network of this kind.
    Apart(Kind),
}

/// Three hosts and one for a hub, and what a backend needs to start a party on each.
pub(super) struct Site {
    ground: Ground,
    pub(super) hosts: Vec<Host>,
    pub(super) hub: Host,
    pub(super) state: TempState,
    pub(super) python: PathBuf,
    pub(super) program: PathBuf,
    pub(super) effort: Effort,
}

impl Site {
    fn new(ground: Ground, effort: Effort, python: &Path) -> Result<Self> {
        let names = || PARTIES.iter().chain(["hub"].iter());
        let mut hosts: Vec<Host> = match ground {
            Ground::Neighbours => {
                let lab = Lab::new()?;
                names().map(|name| lab.host(name)).collect::<Result<_, _>>()?
            }
            Ground::Apart(kind) => {
                let public = Topology::default().public("hub");
                let topology = PARTIES.iter().fold(public, |all, name| kind.place(all, name));
                let mut built = topology.build()?;
                names().filter_map(|name| built.hosts.remove(*name)).collect()
            }
        };
        let hub = hosts.pop().context("there is a host for the hub")?;
        let state = TempState::new()?;
        let program = state.path().join("rounds.py");
        fs::write(&program, PROGRAM)?;
        Ok(Self { ground, hosts, hub, state, python: python.to_owned(), program, effort })
    }
}

/// A way to run MPyC.
struct Backend {
    name: &'static str,
    ground: Ground,
    /// The path that links have to take, where they tell.
    path: Option<&'static str>,
    /// What is done once, before the first run; what it returns stays up until the last.
    prepare: fn(&Site) -> Result<Vec<Process>>,
    /// How party i is started in each run. Its output holds the lines of `rounds.py`; the process
    /// spawned is the one whose memory counts.
    party: fn(&Site, usize) -> Result<Command>,
}

const fn neighbours(
    name: &'static str,
    prepare: fn(&Site) -> Result<Vec<Process>>,
    party: fn(&Site, usize) -> Result<Command>,
) -> Backend {
    Backend { name, ground: Ground::Neighbours, path: None, prepare, party }
}

const fn ours(name: &'static str, ground: Ground, path: &'static str) -> Backend {
    let (prepare, party) = (session::prepare, session::party);
    Backend { name, ground, path: Some(path), prepare, party }
}

/// Plain TCP comes first: the others are compared with it.
const BACKENDS: [Backend; 5] = [
    neighbours("plain TCP", |_| Ok(Vec::new()), plain),
    neighbours("MPyC --ssl", write_certificates, ssl),
    ours("our session", Ground::Neighbours, "tcp"),
    ours("our session, QUIC", Ground::Apart(Kind::Easy), "quic"),
    ours("our session, relayed", Ground::Apart(Kind::UdpBlocked), "relay"),
];

fn plain(site: &Site, index: usize) -> Result<Command> {
    let host = &site.hosts[index];
    let mut command = pinned(host, index, site.python.to_str().context("python's path")?);
    command.arg(&site.program).args([
        site.effort.multiplications.to_string(),
        site.effort.batches.to_string(),
        "--no-log".to_owned(),
        format!("-I{index}"),
    ]);
    for peer in &site.hosts {
        command.args(["-P", &peer.socket(11_365).to_string()]);
    }
    command.current_dir(site.state.of(host.name())?);
    Ok(command)
}

fn ssl(site: &Site, index: usize) -> Result<Command> {
    let mut command = plain(site, index)?;
    command.arg("--ssl");
    Ok(command)
}

/// What MPyC looks for in its working directory.
fn write_certificates(site: &Site) -> Result<Vec<Process>> {
    let root = Signer::new()?;
    for (index, host) in site.hosts.iter().enumerate() {
        let directory = site.state.of(host.name())?.join(".config");
        fs::create_dir_all(&directory)?;
        let file = |ending: &str| directory.join(format!("party_{index}.{ending}"));
        root.write_pem(&directory.join("mpyc_ca.crt"))?;
        root.named(&format!("MPyC party {index}"))?.write_pem(&file("crt"), &file("key"))?;
    }
    Ok(Vec::new())
}

/// Measures every backend.
pub(crate) fn measure(effort: Effort, python: &Path) -> Result<Section> {
    check(python)?;
    let grounds = [Ground::Neighbours, Ground::Apart(Kind::Easy), Ground::Apart(Kind::UdpBlocked)];
    let sites = grounds.map(|ground| Site::new(ground, effort, python));
    let sites: Vec<Site> = sites.into_iter().collect::<Result<_>>()?;
    let site = |backend: &Backend| {
        let found = sites.iter().find(|site| site.ground == backend.ground);
        found.context("every backend has a site")
    };
    let empty = |backend: &Backend| Measured {
        name: backend.name,
        columns: vec![Vec::new(); COLUMNS.len()],
    };
    let mut measured: Vec<Measured> = BACKENDS.iter().map(empty).collect();
    let _staying_up: Vec<Vec<Process>> =
        BACKENDS.iter().map(|backend| (backend.prepare)(site(backend)?)).collect::<Result<_>>()?;
    for _ in 0..effort.runs {
        for (backend, measured) in BACKENDS.iter().zip(&mut measured) {
            let values = run(site(backend)?, backend)
                .with_context(|| format!("MPyC over {}", backend.name))?;
            measured.columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
        }
    }
    let notes = vec![
        "«start» runs from the start of the last process until all parties are connected, with \
         Python's import in it; «MB» is the largest process that was started, at its peak"
            .to_owned(),
    ];
    Ok(Section::new("MPC rounds, 3 parties on 3 hosts", &COLUMNS, &measured, notes))
}

/// Whether the interpreter has what a run needs.
fn check(python: &Path) -> Result<()> {
    let imports = Command::new(python).args(["-c", "import mpyc, uvloop"]).output();
    ensure!(
        imports.is_ok_and(|ended| ended.status.success()),
        "{} cannot import mpyc and uvloop: name an interpreter that can with --python or \
         MPYC_PARTY_TEST_PYTHON",
        python.display()
    );
    Ok(())
}

/// Lines of `rounds.py`.
#[derive(Deserialize)]
struct Connected {
    /// Seconds on the monotonic clock, which all processes of a machine share.
    connected: f64,
    #[serde(rename = "loop")]
    event_loop: String,
}

#[derive(Deserialize)]
struct Rounds {
    microseconds: Vec<f64>,
}

/// One run: microseconds per round, milliseconds to connect, megabytes per process.
fn run(site: &Site, backend: &Backend) -> Result<[f64; 3]> {
    let mut parties = (0..PARTIES.len())
        .map(|index| Process::start((backend.party)(site, index)?, PARTIES[index]))
        .collect::<Result<Vec<_>>>()?;
    let begun = monotonic_seconds();
    watch(&mut parties, begun, backend.path).map_err(|why| {
        let said: Vec<_> = parties.iter_mut().map(Process::complaint).collect();
        why.context(said.join("\n"))
    })
}

fn watch(parties: &mut [Process], begun: f64, path: Option<&str>) -> Result<[f64; 3]> {
    let mut connected = begun;
    let mut megabytes = 0.0_f64;
    let mut links = vec![Links::new(); parties.len()];
    for (party, links) in parties.iter().zip(&mut links) {
        let line: Connected = answer(party, links)?;
        ensure!(line.event_loop == "uvloop", "MPyC runs on {}: install uvloop", line.event_loop);
        connected = connected.max(line.connected);
        megabytes = megabytes.max(party.peak_megabytes()?);
    }
    let mut rounds = Vec::new();
    for (party, links) in parties.iter().zip(&mut links) {
        let line: Rounds = answer(party, links)?;
        rounds.push(median(line.microseconds.into_iter()));
    }
    if let Some(wanted) = path {
        let right = links.iter().flat_map(Links::values).all(|path| path == wanted);
        ensure!(right, "not all links go over {wanted}: {links:?}");
    }
    parties.iter_mut().try_for_each(|party| party.end(START_TIMEOUT))?;
    Ok([median(rounds.into_iter()), (connected - begun) * 1e3, megabytes])
}

/// An event of our session, as far as it matters here.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Event {
    Output { line: String },
    Link { party: String, path: String },
}

/// The path of the newest link to each peer.
type Links = BTreeMap<String, String>;

/// The next line that is such an answer; a backend may print others around the program's, of which
/// those about links are kept.
fn answer<T: for<'de> Deserialize<'de>>(party: &Process, links: &mut Links) -> Result<T> {
    loop {
        let mut line = party.line(START_TIMEOUT)?;
        match serde_json::from_str(&line) {
            Ok(Event::Output { line: inner }) => line = inner,
            Ok(Event::Link { party, path }) => drop(links.insert(party, path)),
            Err(_) => {}
        }
        if let Ok(found) = serde_json::from_str(&line) {
            return Ok(found);
        }
    }
}

fn monotonic_seconds() -> f64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

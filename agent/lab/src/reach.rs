//! Whether and how two parties reach each other: a real session of three, where two are in networks
//! of some kind and the third, like the hub, is public.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use crate::party::{Network, Run, Session};
use crate::topology::Kind;
use crate::{Host, Lab, LabError, Topology, Wan, programs};

mod way;

pub use way::{Expected, Path};

/// The usual three; what is asked about is the way between the first two.
const NAMES: [&str; 3] = ["alice", "bob", "carol"];
/// How long the three may look for each other.
const DEADLINE: Duration = Duration::from_secs(20);
/// Far longer than anything else takes.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a relayed link may stay one where there is a direct path.
const UPGRADE: Duration = Duration::from_secs(5);

/// How two parties met. Times are in seconds from the moment when all three were looking.
#[derive(Clone, Debug, Serialize)]
pub struct Meeting {
    /// The way between the two in the end.
    pub path: Path,
    /// The way that came first.
    pub first: Path,
    /// When it came.
    pub first_after: f64,
    /// How long the first way was used, if another came.
    pub upgrade_after: Option<f64>,
}

/// A session of the three that completed.
#[derive(Clone, Debug, Serialize)]
pub struct Gathering {
    /// When MPyC was connected at all three, in seconds as above.
    pub connected_after: f64,
    /// How the first two met, the first and the third, and the second and the third.
    pub meetings: [Meeting; 3],
}

/// The three, by the order of the meetings.
const PAIRS: [(usize, usize); 3] = [(0, 1), (0, 2), (1, 2)];

/// Where the three are.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The network that each is in.
    pub kinds: [Kind; 3],
    /// The delay of the lines between them and the internet, one way; cables where there is none.
    pub delay: Option<Duration>,
    /// The first two cannot reach each other until MPyC is connected.
    pub held_up: bool,
}

impl Setting {
    fn topology(&self) -> Topology {
        let places = self.kinds.into_iter().zip(NAMES);
        let all = places.fold(Topology::default(), |all, (kind, name)| kind.place(all, name));
        let delayed = self.delay.map(Wan::delay);
        delayed.map_or(all.clone(), |line| all.lines(&line)).public("hub")
    }

    /// The pairs that have to find a direct path.
    fn direct(&self) -> impl Iterator<Item = (usize, usize)> {
        let [a, b, c] = self.kinds;
        let direct = [(a, b), (a, c), (b, c)].map(|(a, b)| Expected::between(a, b));
        PAIRS
            .into_iter()
            .zip(direct)
            .filter(|(_, way)| *way == Expected::Direct)
            .map(|(pair, _)| pair)
    }
}

/// Lets the three meet, the first two in networks of these kinds and the third in public.
///
/// # Errors
/// As for [`gather`].
pub fn meet(a: Kind, b: Kind) -> Result<Gathering, LabError> {
    gather(&Setting { kinds: [a, b, Kind::Public], delay: None, held_up: false })
}

/// Lets the three meet, and waits for direct paths where there have to be some.
///
/// # Errors
/// If the session does not complete, a link tells nothing of its path, or two ends disagree.
pub fn gather(setting: &Setting) -> Result<Gathering, LabError> {
    let network = Network::in_topology(&setting.topology(), &NAMES)?;
    let session = Session::new("meet", programs::MEET).parties(&NAMES).deadline(DEADLINE);
    network.declare(&session)?;
    let held_up = between(&network).filter(|_| setting.held_up);
    held_up.map_or(Ok(()), |(lab, a, b)| lab.cut(a, b))?;
    let mut runs = network.run("meet")?;
    let looking = latest(&runs, "waiting")?;
    for run in &runs {
        run.wait_for_line("running", LIMIT)?;
    }
    let connected = latest(&runs, "connected")?;
    held_up.map_or(Ok(()), |(lab, a, b)| lab.heal(a, b))?;
    let due = Instant::now() + UPGRADE;
    for (one, other) in setting.direct().flat_map(|(a, b)| [(a, b), (b, a)]) {
        let left = due.saturating_duration_since(Instant::now());
        let direct = |event: &Value| is_link(event, NAMES[other]) && event["path"] != "relay";
        // Without one, what there is instead is told below.
        let _ = runs[one].wait_until("direct link", left, direct);
    }
    let mut meetings = Vec::new();
    for (one, other) in PAIRS {
        meetings.push(meeting(&runs[one], &runs[other], looking)?);
    }
    stop(&mut runs)?;
    let untold = || LabError::Topology("three have three meetings".into());
    let meetings = meetings.try_into().map_err(|_| untold())?;
    drop(runs);
    network.end()?;
    Ok(Gathering { connected_after: seconds(looking, connected), meetings })
}

/// What is between the first two.
fn between(network: &Network) -> Option<(&Lab, &Host, &Host)> {
    let host = |name| network.party(name).host();
    Some((network.lab()?, host(NAMES[0])?, host(NAMES[1])?))
}

/// Tells all to stop; all complete.
fn stop(runs: &mut [Run]) -> Result<(), LabError> {
    runs.iter_mut().try_for_each(|run| run.feed("stop\n"))?;
    for run in runs {
        let outcome = run.verdict(LIMIT)?;
        if !outcome.completed() || !run.exit(LIMIT)?.success() {
            return Err(run.error(&outcome.text));
        }
    }
    Ok(())
}

fn seconds(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64()
}

/// How two of the three met, as both tell.
fn meeting(one: &Run, other: &Run, looking: Instant) -> Result<Meeting, LabError> {
    let told = |run: &Run, peer: &Run| {
        history(run, peer.party()).ok_or_else(|| run.error("it tells of no link"))
    };
    let (ours, theirs) = (told(one, other)?, told(other, one)?);
    if ours.path != theirs.path {
        return Err(one.error(&format!("{} tells of another path", other.party())));
    }
    let first = if ours.first_at < theirs.first_at { ours } else { theirs };
    Ok(Meeting {
        path: first.path,
        first: first.first,
        first_after: seconds(looking, first.first_at),
        upgrade_after: first.changed_at.map(|at| seconds(first.first_at, at)),
    })
}

/// When the last of the runs told of this.
fn latest(runs: &[Run], event: &str) -> Result<Instant, LabError> {
    let mut latest = None;
    for run in runs {
        let (at, _) = run.wait_until(event, LIMIT, |value| value["event"] == event)?;
        latest = latest.max(Some(at));
    }
    latest.ok_or_else(|| LabError::Topology("nobody runs".into()))
}

fn is_link(event: &Value, peer: &str) -> bool {
    event["event"] == "link" && event["party"] == peer
}

/// The ways of one end to its peer: the first, and the last.
struct History {
    first: Path,
    first_at: Instant,
    path: Path,
    /// When the last came, where it is another kind.
    changed_at: Option<Instant>,
}

fn history(run: &Run, peer: &str) -> Option<History> {
    let links = run.events().into_iter().filter(|(_, event)| is_link(event, peer));
    let links: Vec<_> = links.filter_map(|(at, event)| Some((at, Path::of(&event)?))).collect();
    let (first_at, first) = *links.first()?;
    let (changed_at, path) = *links.last()?;
    let changed_at = Some(changed_at).filter(|_| path != first);
    Some(History { first, first_at, path, changed_at })
}

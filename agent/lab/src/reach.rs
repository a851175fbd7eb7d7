//! Whether and how two parties reach each other: a real session of three, where two are in networks
//! of some kind and the third, like the hub, is public.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use crate::party::{Network, Run, Session};
use crate::topology::Kind;
use crate::{LabError, Topology, programs};

/// The usual three; what is asked about is the way between the first two.
const NAMES: [&str; 3] = ["alice", "bob", "carol"];
/// How long the three may look for each other.
const DEADLINE: Duration = Duration::from_secs(20);
/// Far longer than anything else takes.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a relayed link may stay one where there is a direct path.
const UPGRADE: Duration = Duration::from_secs(5);

/// The way a link takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Path {
    /// TLS over TCP, from one to the other.
    Tcp,
    /// QUIC, from one to the other.
    Quic,
    /// Through a hub.
    Relay,
}

impl Path {
    fn of(event: &Value) -> Option<Self> {
        match event["path"].as_str()? {
            "tcp" => Some(Self::Tcp),
            "quic" => Some(Self::Quic),
            "relay" => Some(Self::Relay),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Quic => "quic",
            Self::Relay => "relay",
        }
    }
}

/// Which ways there are between two networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// A direct one has to be found.
    Direct,
    /// A direct one takes luck: the port that a NAT chooses has to be guessed.
    Any,
    /// There is no direct one.
    Relay,
}

impl Expected {
    /// What there is between networks of these kinds.
    #[must_use]
    pub fn between(a: Kind, b: Kind) -> Self {
        use Kind::{Carrier, Easy, FullCone, Ipv6Only, Public, Symmetric, Tcp443, UdpBlocked};
        match (a, b) {
            (Public, _) | (_, Public) | (Ipv6Only, Ipv6Only) => Self::Direct,
            (Ipv6Only | UdpBlocked | Tcp443, _) | (_, Ipv6Only | UdpBlocked | Tcp443) => {
                Self::Relay
            }
            (FullCone, _) | (_, FullCone) | (Easy | Carrier, Easy | Carrier) => Self::Direct,
            (Symmetric, Easy | Carrier | Symmetric) | (Easy | Carrier, Symmetric) => Self::Any,
        }
    }

    /// Whether a link over `path` is what there has to be.
    #[must_use]
    pub fn allows(self, path: Path) -> bool {
        match self {
            Self::Direct => path != Path::Relay,
            Self::Any => true,
            Self::Relay => path == Path::Relay,
        }
    }
}

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

/// Lets the three meet, the first two in networks of these kinds and the third in public, and waits
/// for a direct path between the two where there has to be one.
///
/// # Errors
/// If the session does not complete, a link tells nothing of its path, or two ends disagree.
pub fn meet(a: Kind, b: Kind) -> Result<Gathering, LabError> {
    let direct = Expected::between(a, b) == Expected::Direct;
    gather([a, b, Kind::Public], if direct { &PAIRS[..1] } else { &[] })
}

/// Lets the three meet in networks of one kind.
///
/// # Errors
/// As for [`meet`].
pub fn meet_all(kind: Kind) -> Result<Gathering, LabError> {
    let direct = Expected::between(kind, kind) == Expected::Direct;
    gather([kind; 3], if direct { &PAIRS } else { &[] })
}

fn gather(kinds: [Kind; 3], direct: &[(usize, usize)]) -> Result<Gathering, LabError> {
    let places = kinds.into_iter().zip(NAMES);
    let topology =
        places.fold(Topology::default().public("hub"), |all, (kind, name)| kind.place(all, name));
    let network = Network::in_topology(&topology, &NAMES)?;
    let session = Session::new("meet", programs::MEET).parties(&NAMES).deadline(DEADLINE);
    network.declare(&session)?;
    let mut runs = network.run("meet")?;
    let looking = latest(&runs, "waiting")?;
    for run in &runs {
        run.wait_for_line("running", LIMIT)?;
    }
    let connected = latest(&runs, "connected")?;
    let due = connected + UPGRADE;
    for (one, other) in direct.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]) {
        let left = due.saturating_duration_since(Instant::now());
        let direct = |event: &Value| is_link(event, NAMES[other]) && event["path"] != "relay";
        // Without one, what there is instead is told below.
        let _ = runs[one].wait_until("direct link", left, direct);
    }
    let mut meetings = Vec::new();
    for (one, other) in PAIRS {
        meetings.push(meeting(&runs[one], &runs[other], looking)?);
    }
    for run in &mut runs {
        run.feed("stop\n")?;
    }
    for run in &mut runs {
        let outcome = run.verdict(LIMIT)?;
        if !outcome.completed() {
            return Err(run.error(&outcome.text));
        }
        run.exit(LIMIT)?;
    }
    let untold = || LabError::Topology("three have three meetings".into());
    let meetings = meetings.try_into().map_err(|_| untold())?;
    drop(runs);
    network.end()?;
    Ok(Gathering { connected_after: seconds(looking, connected), meetings })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_does_not_depend_on_the_order() {
        for (a, b) in Kind::ALL.into_iter().flat_map(|a| Kind::ALL.map(|b| (a, b))) {
            assert_eq!(Expected::between(a, b), Expected::between(b, a), "{a} and {b}");
        }
    }

    #[test]
    fn cone_and_symmetric_meet_directly_where_strangers_are_let_in() {
        assert_eq!(Expected::between(Kind::FullCone, Kind::Symmetric), Expected::Direct);
        assert_eq!(Expected::between(Kind::Easy, Kind::Symmetric), Expected::Any);
        assert_eq!(Expected::between(Kind::Ipv6Only, Kind::Easy), Expected::Relay);
        assert!(!Expected::Direct.allows(Path::Relay) && !Expected::Relay.allows(Path::Quic));
    }
}

//! Whether and how two parties reach each other: a real session of three, where two are in networks
//! of some kind and the third, like the hub, is public.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use crate::party::{Network, Run, Session};
use crate::topology::Kind;
use crate::{LabError, Topology};

/// What the three compute until they are told to stop.
const PROGRAM: &str = include_str!("../programs/meet.py");
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
    /// When MPyC was connected at all three.
    pub connected_after: f64,
    /// How long the first way was used, if another came.
    pub upgrade_after: Option<f64>,
}

/// Lets the three meet, and waits for the direct path where there has to be one.
///
/// # Errors
/// If the session does not complete, a link tells nothing of its path, or the two ends disagree.
pub fn meet(a: Kind, b: Kind) -> Result<Meeting, LabError> {
    let public = Topology::default().public("hub").public(NAMES[2]);
    let topology = b.place(a.place(public, NAMES[0]), NAMES[1]);
    let network = Network::in_topology(&topology, &NAMES)?;
    let session = Session::new("meet", PROGRAM).parties(&NAMES).deadline(DEADLINE);
    network.declare(&session)?;
    let mut runs = network.run("meet")?;
    let looking = latest(&runs, "waiting")?;
    for run in &runs {
        run.wait_for_line("running", LIMIT)?;
    }
    let connected = latest(&runs, "connected")?;
    let ends = [(&runs[0], NAMES[1]), (&runs[1], NAMES[0])];
    if Expected::between(a, b) == Expected::Direct {
        let due = connected + UPGRADE;
        for (run, peer) in ends {
            let left = due.saturating_duration_since(Instant::now());
            let direct = |event: &Value| is_link(event, peer) && event["path"] != "relay";
            // Without one, what there is instead is told below.
            let _ = run.wait_until("direct link", left, direct);
        }
    }
    let histories = ends.map(|(run, peer)| history(run, peer));
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
    let told = match histories {
        [Some(ours), Some(theirs)] if ours.path == theirs.path => {
            if ours.first_at < theirs.first_at { ours } else { theirs }
        }
        _ => return Err(runs[0].error("the two ends tell of different paths, or of none")),
    };
    drop(runs);
    network.end()?;
    let after = |at: Instant| at.saturating_duration_since(looking).as_secs_f64();
    Ok(Meeting {
        path: told.path,
        first: told.first,
        first_after: after(told.first_at),
        connected_after: after(connected),
        upgrade_after: told.changed_at.map(|at| (at - told.first_at).as_secs_f64()),
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

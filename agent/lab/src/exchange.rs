//! A session of three that exchanges messages all the time and compares every byte, so that
//! something can be done to the network meanwhile.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::party::{Network, Run, Session};
use crate::{Host, LabError, Router, Topology, programs};

/// Far longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(90);
/// The roster.
pub const NAMES: [&str; 3] = ["alice", "bob", "carol"];
/// So many rounds on from all that any party has told of, messages have moved between all: two
/// reports of the program.
const ROUNDS: u64 = 20;

/// The session of alice, bob and carol, under way.
pub struct Exchange {
    /// The network that they are in.
    pub network: Network,
    /// Their runs, in this order.
    pub runs: Vec<Run>,
}

impl Exchange {
    /// Starts it in `topology`, which has a host for each of the three and for the hub, and waits
    /// until messages move.
    ///
    /// # Errors
    /// If they do not.
    pub fn start(topology: &Topology, grace: Duration) -> Result<Self, LabError> {
        Self::within(Network::in_topology(topology, &NAMES)?, grace)
    }

    /// Starts it in `network`, in which the three are.
    ///
    /// # Errors
    /// If messages do not move.
    pub fn within(network: Network, grace: Duration) -> Result<Self, LabError> {
        let session = Session::new("exchange", programs::MESSAGES).parties(&NAMES).grace(grace);
        network.declare(&session.set("arguments", "[\"1\"]"))?;
        let runs = network.run("exchange")?;
        for run in &runs {
            run.wait_for_line("running", LIMIT)?;
        }
        let exchange = Self { network, runs };
        exchange.moves()?;
        Ok(exchange)
    }

    /// Waits until messages from all to all have moved since now.
    ///
    /// # Errors
    /// If they do not.
    pub fn moves(&self) -> Result<(), LabError> {
        let reached = self.runs.iter().map(round).max().unwrap_or_default();
        let line = format!("round {}", reached + ROUNDS);
        self.runs.iter().try_for_each(|run| run.wait_for_line(&line, LIMIT))
    }

    /// Waits until `name` has a link to `peer` over a path of this kind that came after `since`;
    /// tells when.
    ///
    /// # Errors
    /// If it has none.
    pub fn links(
        &self,
        name: &str,
        peer: &str,
        path: &str,
        since: Instant,
    ) -> Result<Instant, LabError> {
        let wanted = |event: &Value| {
            event["event"] == "link" && event["party"] == peer && event["path"] == path
        };
        let run = self.run(name)?;
        let before = run.events().iter().filter(|(at, event)| *at < since && wanted(event)).count();
        let what = format!("{path} link to {peer}");
        run.wait_for_number(before + 1, &what, LIMIT, wanted).map(|(at, _)| at)
    }

    /// Tells all to stop. All complete, and every byte that one sent another is what that one got.
    /// Returns the longest time for which MPyC had to wait for a round.
    ///
    /// # Errors
    /// If one does not complete, a byte differs, or something is left behind.
    pub fn complete(mut self) -> Result<Duration, LabError> {
        self.runs.iter_mut().try_for_each(|run| run.feed("stop\n"))?;
        for run in &mut self.runs {
            let outcome = run.verdict(LIMIT)?;
            if !outcome.completed() || !run.exit(LIMIT)?.success() {
                return Err(run.error(&outcome.text));
            }
        }
        for (one, sender) in self.runs.iter().enumerate() {
            for (other, receiver) in self.runs.iter().enumerate().filter(|(index, _)| *index != one)
            {
                if told(sender, &format!("to {other} "))?
                    != told(receiver, &format!("from {one} "))?
                {
                    let problem = format!("got other bytes than {} sent", sender.party());
                    return Err(receiver.error(&problem));
                }
            }
        }
        let pauses = self.runs.iter().map(|run| {
            let seconds = told(run, "pause ")?.parse();
            seconds.map(Duration::from_secs_f64).map_err(|_| run.error("its pause is no number"))
        });
        let longest = pauses.collect::<Result<Vec<_>, _>>()?.into_iter().max();
        drop(self.runs);
        self.network.end()?;
        Ok(longest.unwrap_or_default())
    }

    /// The host of a party.
    ///
    /// # Errors
    /// If there is none: a mistake in the test.
    pub fn host(&self, name: &str) -> Result<&Host, LabError> {
        self.network.party(name).host().ok_or_else(|| missing("host", name))
    }

    /// The router that a party is behind.
    ///
    /// # Errors
    /// If there is none: a mistake in the test.
    pub fn router(&self, name: &str) -> Result<&Router, LabError> {
        self.network.router(&format!("{name}-router")).ok_or_else(|| missing("router", name))
    }

    /// The run of a party.
    ///
    /// # Errors
    /// If there is none: a mistake in the test.
    pub fn run(&self, name: &str) -> Result<&Run, LabError> {
        self.runs.iter().find(|run| run.party() == name).ok_or_else(|| missing("run", name))
    }
}

fn missing(what: &str, name: &str) -> LabError {
    LabError::Topology(format!("{name} has no {what}"))
}

/// The last round that the program told of.
fn round(run: &Run) -> u64 {
    let events = run.events();
    let lines = events.iter().filter_map(|(_, event)| event["line"].as_str());
    let rounds = lines.filter_map(|line| line.strip_prefix("round ")?.parse().ok());
    rounds.max().unwrap_or_default()
}

/// What the program printed after these words.
fn told(run: &Run, words: &str) -> Result<String, LabError> {
    let events = run.events();
    let mut lines = events.iter().filter_map(|(_, event)| event["line"].as_str());
    let found = lines.find_map(|line| line.strip_prefix(words)).map(str::to_owned);
    found.ok_or_else(|| run.error(&format!("it printed no «{words}»")))
}

//! What was measured.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// Everything about one load.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) parties: usize,
    pub(super) transport: &'static str,
    /// Made by the authority before the hub was started.
    pub(super) certificates_per_second: f64,
    /// Of all parties, 64 at a time, with the processor time of the hub for one.
    pub(super) connects_per_second: f64,
    pub(super) connect: Times,
    pub(super) connect_attempts: usize,
    pub(super) hub_cpu_ms_per_connect: f64,
    /// Most memory the hub has held, before anybody came and with all parties announced.
    pub(super) hub_mb_empty: f64,
    pub(super) hub_mb_full: f64,
    pub(super) hub_kb_per_party: f64,
    /// Processor time of the hub by time: with keepalives only, and with look-ups and moves.
    pub(super) hub_cpu_at_rest: f64,
    pub(super) hub_cpu_at_work: f64,
    /// From asking where a party is to being told, while others ask and move.
    pub(super) look_up: Times,
    /// From a party's announcement of another address to a watcher being told.
    pub(super) push: Times,
    pub(super) unanswered: usize,
    /// Arrivals while strangers hold half-open connections and come back as often as they are cut.
    pub(super) connect_among_strangers: Times,
    /// Connections of one party, and from one address: how many were let in, and why no more.
    pub(super) one_party: Limit,
    pub(super) one_address: Limit,
    /// Parties that no longer answered after all that.
    pub(super) lost: usize,
    /// The hub is killed and started again, and everybody comes back, 1000 at the same time.
    pub(super) seconds_until_all_are_back: f64,
    pub(super) attempts_until_all_are_back: usize,
    pub(super) hub_mb_in_the_end: f64,
}

/// How often something was measured, and how long it took.
#[derive(Debug, Default, Serialize)]
pub(super) struct Times {
    count: usize,
    p50_ms: f64,
    p99_ms: f64,
    longest_ms: f64,
}

impl Times {
    pub(super) fn new(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        let at = |share: usize| {
            let place = (all.len() * share / 100).min(all.len().saturating_sub(1));
            all.get(place).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
        };
        Self { count: all.len(), p50_ms: at(50), p99_ms: at(99), longest_ms: at(100) }
    }
}

/// What a limit led to.
#[derive(Debug, Default, Serialize)]
pub(super) struct Limit {
    pub(super) tried: usize,
    pub(super) let_in: usize,
    /// What the last one was told that was turned away.
    pub(super) reason: String,
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, p50_ms, p99_ms, longest_ms } = self;
        write!(f, "p50 {p50_ms:.1} ms, p99 {p99_ms:.1} ms, longest {longest_ms:.1} ms ({count})")
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} let in; «{}»", self.let_in, self.tried, self.reason)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} parties over {}", self.parties, self.transport)?;
        let mut row = |what: &str, figure: String| writeln!(f, "  {what:<34} {figure}");
        row("certificates made", format!("{:.0}/s", self.certificates_per_second))?;
        row("connected and announced", format!("{:.0}/s", self.connects_per_second))?;
        row("  each", self.connect.to_string())?;
        row("  attempts", self.connect_attempts.to_string())?;
        row("  processor time of the hub", format!("{:.2} ms", self.hub_cpu_ms_per_connect))?;
        row(
            "memory of the hub",
            format!(
                "{:.0} MB, empty {:.0} MB, {:.1} kB a party",
                self.hub_mb_full, self.hub_mb_empty, self.hub_kb_per_party
            ),
        )?;
        row("processors used at rest", format!("{:.3}", self.hub_cpu_at_rest))?;
        row("processors used at work", format!("{:.3}", self.hub_cpu_at_work))?;
        row("look-up at work", self.look_up.to_string())?;
        row("push of a move at work", self.push.to_string())?;
        row("unanswered", self.unanswered.to_string())?;
        row("connected among strangers", self.connect_among_strangers.to_string())?;
        row("connections of one party", self.one_party.to_string())?;
        row("connections from one address", self.one_address.to_string())?;
        row("lost meanwhile", self.lost.to_string())?;
        row(
            "all back after a restart",
            format!(
                "{:.1} s, {} attempts",
                self.seconds_until_all_are_back, self.attempts_until_all_are_back
            ),
        )?;
        row("memory of the hub in the end", format!("{:.0} MB", self.hub_mb_in_the_end))
    }
}

//! What a session does here, who is seen to run it elsewhere, and what a proposal leads to. No clock and
//! no sockets here: time comes in, a decision goes out.
//!
//! A proposal is a runner of the roster that is there, at a hub or at this party's own port, while
//! none is here. A session that says `on-proposal` is then started, within its number of runs and
//! its interval; in every other case a person is asked. A hub can invent proposals and so make a
//! runner here wait, with growing pauses (exponential backoff); it cannot make anything run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mpyc_party_core::name::PartyName;

use crate::config::Start;
use crate::session::run_counter::Allowance;

/// How long after a run parties may still be seen that were in it.
const LINGER_AFTER_RUN: Duration = Duration::from_secs(3);
/// For how long one who dialled this party's port counts as there; who wants to run a session dials
/// every second.
const DIALLED_LIFETIME: Duration = Duration::from_secs(5);
/// Backoff after starts that led to no run: the first pause, and the longest.
const RETRY_BACKOFF: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(600)];

/// What a session does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Activity {
    /// Nothing.
    #[default]
    Idle,
    /// Its runner was started and has not registered yet.
    Starting,
    /// Its runner is there.
    Running,
}

/// What is to be done about a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing before something happens, or it is this late.
    Wait(Option<Instant>),
    /// Start it: this party proposes it.
    Start(PartyName),
    /// Ask a person: this party proposes it. Told once for each proposal.
    Ask(PartyName),
    /// Start it at that time, if this party proposes it then still. Told once for each proposal.
    Defer(PartyName, Instant),
}

/// A party's runner, seen.
#[derive(Clone, Debug)]
struct Seen {
    /// From when on it is a proposal; never where it was rejected.
    from: Option<Instant>,
    /// Until when; who dialled is not there for long.
    until: Option<Instant>,
    /// Where it is reached: another address is another runner.
    address: String,
}

impl Seen {
    fn lasts(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    fn proposes(&self, now: Instant) -> bool {
        self.lasts(now) && self.from.is_some_and(|from| from <= now)
    }
}

/// The state of one session.
#[derive(Debug, Default)]
pub(super) struct SessionState {
    activity: Activity,
    seen: BTreeMap<PartyName, Seen>,
    /// Nothing is a proposal before: the last run is still fading, and a runner that ends may be
    /// seen to come and go at the hubs.
    quiet_until: Option<Instant>,
    /// No start without a person before.
    backoff_until: Option<Instant>,
    /// How many starts in a row led to no run.
    failed_starts: u32,
    approved: bool,
    asked: bool,
    deferred: bool,
}

impl SessionState {
    /// What the session does.
    #[must_use]
    pub(super) fn activity(&self) -> Activity {
        self.activity
    }

    /// Whether a person is asked.
    #[must_use]
    pub(super) fn waits(&self) -> bool {
        self.asked && self.activity == Activity::Idle
    }

    /// Who is there.
    #[must_use]
    pub(super) fn here(&self, now: Instant) -> Vec<PartyName> {
        self.seen.iter().filter(|(_, s)| s.lasts(now)).map(|(party, _)| party.clone()).collect()
    }

    /// A hub says that a runner of `party` is at `address`.
    pub(super) fn present(&mut self, party: PartyName, address: String, now: Instant) {
        let known =
            self.seen.get(&party).is_some_and(|s| s.until.is_none() && s.address == address);
        if !known {
            let from = self.quiet_until.map_or(now, |quiet_until| quiet_until.max(now));
            self.seen.insert(party, Seen { from: Some(from), until: None, address });
        }
    }

    /// No hub knows a runner of `party` any longer.
    pub(super) fn gone(&mut self, party: &PartyName) {
        self.seen.remove(party);
    }

    /// A runner of `party` dialled this party's port.
    pub(super) fn dialled(&mut self, party: PartyName, now: Instant) {
        if self.quiet_until.is_some_and(|quiet_until| now < quiet_until) {
            // Who has not heard yet that the run is over; a proposal dials again.
            return;
        }
        let fresh = Seen { from: Some(now), until: None, address: String::new() };
        let seen =
            self.seen.entry(party).or_insert_with(|| Seen { until: Some(now), ..fresh.clone() });
        if seen.until.is_some_and(|until| until + DIALLED_LIFETIME < now) {
            *seen = Seen { until: Some(now), ..fresh };
        }
        if let Some(until) = &mut seen.until {
            *until = now + DIALLED_LIFETIME;
        }
    }

    /// Forgets who was seen.
    pub(super) fn forget(&mut self) {
        self.seen.clear();
    }

    /// The runner is being started.
    pub(super) fn starting(&mut self) {
        self.activity = Activity::Starting;
        (self.approved, self.asked, self.deferred) = (false, false, false);
    }

    /// The runner is there.
    pub(super) fn registered(&mut self) {
        self.activity = Activity::Running;
        (self.approved, self.asked, self.deferred) = (false, false, false);
    }

    /// The runner has gone, or could not be started. `ran` says whether a run registered of it.
    pub(super) fn ended(&mut self, ran: bool, now: Instant) {
        self.activity = Activity::Idle;
        self.failed_starts = if ran { 0 } else { self.failed_starts.saturating_add(1) };
        let pause =
            RETRY_BACKOFF[0] * 2_u32.saturating_pow(self.failed_starts.saturating_sub(1)).min(1000);
        self.backoff_until = (self.failed_starts > 0).then(|| now + pause.min(RETRY_BACKOFF[1]));
        self.quiet_until = Some(now + LINGER_AFTER_RUN);
        self.seen.retain(|_, seen| seen.until.is_none() || seen.from.is_none());
        for seen in self.seen.values_mut() {
            seen.from = seen.from.map(|from| from.max(now + LINGER_AFTER_RUN));
        }
    }

    /// A person says yes to the proposal; false where there is none.
    #[must_use]
    pub(super) fn approve(&mut self, now: Instant) -> bool {
        self.approved = self.activity == Activity::Idle && self.proposer(now).is_some();
        self.approved
    }

    /// A person says no; false where there is no proposal. Another runner is another proposal.
    #[must_use]
    pub(super) fn reject(&mut self, now: Instant) -> bool {
        let any = self.proposer(now).is_some();
        self.seen.values_mut().for_each(|seen| seen.from = None);
        (self.approved, self.asked) = (false, false);
        any
    }

    fn proposer(&self, now: Instant) -> Option<PartyName> {
        self.seen.iter().find(|(_, seen)| seen.proposes(now)).map(|(party, _)| party.clone())
    }

    /// What is to be done now about a session with this `start`, of whose runs `allowance` are left.
    pub(super) fn decide(&mut self, now: Instant, start: Start, allowance: Allowance) -> Decision {
        if self.activity != Activity::Idle {
            return Decision::Wait(None);
        }
        let Some(party) = self.proposer(now) else {
            (self.approved, self.asked, self.deferred) = (false, false, false);
            let from = self.seen.values().filter_map(|seen| seen.from).filter(|from| *from > now);
            return Decision::Wait(from.min());
        };
        if self.approved {
            return Decision::Start(party);
        }
        let ends = self.seen.values().filter_map(|seen| seen.until).filter(|until| *until > now);
        let allowed = match (start, allowance) {
            (Start::Manual, _) | (_, Allowance::Never) => {
                let first = !std::mem::replace(&mut self.asked, true);
                return if first { Decision::Ask(party) } else { Decision::Wait(ends.min()) };
            }
            (Start::OnProposal, Allowance::In(left)) => now + left,
            (Start::OnProposal, Allowance::Now) => now,
        };
        match self.backoff_until.map_or(allowed, |backoff_until| backoff_until.max(allowed)) {
            due if due > now => {
                let first = !std::mem::replace(&mut self.deferred, true);
                if first {
                    return Decision::Defer(party, due);
                }
                Decision::Wait(ends.chain([due]).min())
            }
            _ => Decision::Start(party),
        }
    }
}

#[cfg(test)]
mod tests;

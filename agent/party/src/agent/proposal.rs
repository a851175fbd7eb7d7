//! What another party's wish to run a session leads to. No clock and no sockets here: time comes
//! in, a decision goes out.
//!
//! A proposal is a runner of the roster that is there, at a hub or at this party's own port, while
//! none is here. A session that says `on-proposal` is then started, within its number of runs and
//! its interval; in every other case a person is asked. A hub can invent proposals and so make a
//! runner here wait, with growing pauses; it cannot make anything run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mpyc_party_core::name::PartyName;

use crate::config::Start;
use crate::session::tally::Allowance;

/// How long after a run parties may still be seen that were in it.
const LINGER_AFTER_RUN: Duration = Duration::from_secs(3);
/// For how long a knock counts; who wants to run a session knocks every second.
const PORT_PROPOSAL_LIFETIME: Duration = Duration::from_secs(5);
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
    Nothing(Option<Instant>),
    /// Start it: this party proposes it.
    Start(PartyName),
    /// Ask a person: this party proposes it. Told once for each proposal.
    Ask(PartyName),
    /// Start it at that time, if this party proposes it then still. Told once for each proposal.
    Later(PartyName, Instant),
}

/// A party's runner, seen.
#[derive(Clone, Debug)]
struct Seen {
    /// From when on it is a proposal; never where it was rejected.
    from: Option<Instant>,
    /// Until when; a knock does not last.
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

/// What is known about one session.
#[derive(Debug, Default)]
pub(super) struct Seat {
    activity: Activity,
    seen: BTreeMap<PartyName, Seen>,
    /// Nothing is a proposal before: the last run is still fading, and a runner that ends may be
    /// seen to come and go at the hubs.
    quiet: Option<Instant>,
    /// No start without a person before.
    rested: Option<Instant>,
    /// How many starts in a row led to no run.
    fruitless: u32,
    approved: bool,
    asked: bool,
    deferred: bool,
}

impl Seat {
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
            let from = self.quiet.map_or(now, |quiet| quiet.max(now));
            self.seen.insert(party, Seen { from: Some(from), until: None, address });
        }
    }

    /// No hub knows a runner of `party` any longer.
    pub(super) fn gone(&mut self, party: &PartyName) {
        self.seen.remove(party);
    }

    /// A runner of `party` came to this party's port.
    pub(super) fn knock(&mut self, party: PartyName, now: Instant) {
        if self.quiet.is_some_and(|quiet| now < quiet) {
            // Who has not heard yet that the run is over; a proposal knocks again.
            return;
        }
        let fresh = Seen { from: Some(now), until: None, address: String::new() };
        let seen =
            self.seen.entry(party).or_insert_with(|| Seen { until: Some(now), ..fresh.clone() });
        if seen.until.is_some_and(|until| until + PORT_PROPOSAL_LIFETIME < now) {
            *seen = Seen { until: Some(now), ..fresh };
        }
        if let Some(until) = &mut seen.until {
            *until = now + PORT_PROPOSAL_LIFETIME;
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
    pub(super) fn came(&mut self) {
        self.activity = Activity::Running;
        (self.approved, self.asked, self.deferred) = (false, false, false);
    }

    /// The runner has gone, or could not be started. `ran` says whether a run came of it.
    pub(super) fn went(&mut self, ran: bool, now: Instant) {
        self.activity = Activity::Idle;
        self.fruitless = if ran { 0 } else { self.fruitless.saturating_add(1) };
        let pause =
            RETRY_BACKOFF[0] * 2_u32.saturating_pow(self.fruitless.saturating_sub(1)).min(1000);
        self.rested = (self.fruitless > 0).then(|| now + pause.min(RETRY_BACKOFF[1]));
        self.quiet = Some(now + LINGER_AFTER_RUN);
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
            return Decision::Nothing(None);
        }
        let Some(party) = self.proposer(now) else {
            (self.approved, self.asked, self.deferred) = (false, false, false);
            let from = self.seen.values().filter_map(|seen| seen.from).filter(|from| *from > now);
            return Decision::Nothing(from.min());
        };
        if self.approved {
            return Decision::Start(party);
        }
        let ends = self.seen.values().filter_map(|seen| seen.until).filter(|until| *until > now);
        let allowed = match (start, allowance) {
            (Start::Manual, _) | (_, Allowance::Never) => {
                let first = !std::mem::replace(&mut self.asked, true);
                return if first { Decision::Ask(party) } else { Decision::Nothing(ends.min()) };
            }
            (Start::OnProposal, Allowance::In(left)) => now + left,
            (Start::OnProposal, Allowance::Now) => now,
        };
        match self.rested.map_or(allowed, |rested| rested.max(allowed)) {
            due if due > now => {
                let first = !std::mem::replace(&mut self.deferred, true);
                if first {
                    return Decision::Later(party, due);
                }
                Decision::Nothing(ends.chain([due]).min())
            }
            _ => Decision::Start(party),
        }
    }
}

#[cfg(test)]
mod tests;

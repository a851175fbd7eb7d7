//! Which connection is the link, and what is tried for a better one.

use std::time::Duration;

use super::link::Link;
use super::{Action, ConnectionId, Held, Kind, Paths, Target, Tries};

/// Time between two rounds of attempts while there is no good link.
const ROUND_INTERVAL: Duration = Duration::from_secs(1);
/// How long after news better paths are tried at that pace.
const FAST_PERIOD: Duration = Duration::from_secs(5);
/// The pauses between attempts after that, at first and at most (exponential backoff).
const UPGRADE_BACKOFF: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(60)];
/// How much later in each round the next worse kind is tried: often it need not be.
const KIND_STAGGER: Duration = Duration::from_millis(150);
/// Attempts that one target may have under way.
const MAX_ATTEMPTS_PER_TARGET: u32 = 2;
/// Attempts in the long run: one in this time (rate limit). Whoever tells where a peer is chooses what is dialled,
/// and could have a network searched, or this machine's sockets used up.
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(25);
/// Attempts that may be made at once after a pause: all that three hubs tell.
const ATTEMPT_BURST: u32 = 100;
/// Connections that wait to be chosen.
const MAX_HELD: usize = 16;
/// How long a connection waits beside a good link: for this end to find that link bad as the peer has, or
/// to be told which instance of the peer it leads to.
const BESIDE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an instance of the peer has the link before another may take it: long enough to say what it
/// would run, by which the two are told apart.
const TURN: Duration = Duration::from_secs(1);
/// A better path that dies earlier than this is not trusted for a while.
const STEADY_AFTER: Duration = Duration::from_secs(10);
/// For how long at first, and at most.
const DISTRUST_BACKOFF: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(60)];
/// How long a connection of a kind that died young, or stalled, waits for one of another kind.
const OTHERS_DELAY: Duration = Duration::from_secs(1);
/// With nothing left to try, a tick is due only now and then.
const IDLE_INTERVAL: Duration = Duration::from_secs(3600);

impl Paths {
    pub(super) fn opened(&mut self, id: ConnectionId, kind: Kind, lost: u64) {
        if !self.controlling {
            // The peer chooses.
            return;
        }
        if self.held.len() < MAX_HELD {
            let needed = self.link.is_some() && lost >= self.epoch;
            self.held.push(Held { id, kind, since: self.now, needed, instance: None });
        } else {
            self.actions.push(Action::Close(id));
        }
    }

    pub(super) fn introduced(&mut self, id: ConnectionId, instance: u64) {
        if let Some(held) = self.held.iter_mut().find(|held| held.id == id) {
            held.instance = Some(instance);
        }
        if let Some(link) = self.link.as_mut().filter(|link| link.id == id) {
            link.instance = Some(instance);
        }
    }

    /// Whether the connection leads to the instance of the peer that has the link, as far as is known.
    fn leads_to_same(&self, held: &Held) -> Option<bool> {
        Some(held.instance? == self.link.as_ref()?.instance?)
    }

    /// From when on the connection takes the place of a good link: it leads to another instance.
    fn turn_of(&self, held: &Held) -> Option<Duration> {
        let other = self.leads_to_same(held) == Some(false);
        self.link.as_ref().filter(|_| other).map(|link| link.since + TURN)
    }

    pub(super) fn taken(&mut self, id: ConnectionId, kind: Kind, instance: u64, epoch: u64) {
        let stale = self.instance == Some(instance) && epoch <= self.epoch;
        if self.controlling || stale {
            return self.actions.push(Action::Close(id));
        }
        (self.instance, self.epoch) = (Some(instance), epoch);
        self.replace(id, kind, None);
        self.actions.push(Action::Adopt(id, epoch));
    }

    /// Whether the peer asks for another link.
    pub(super) fn is_needed(&self) -> bool {
        self.held.iter().any(|held| held.needed)
    }

    /// When a connection is taken if nothing better comes up, or given up where there is a link.
    pub(super) fn due(&self, held: &Held) -> Duration {
        if self.healthy().is_some() {
            return self.turn_of(held).unwrap_or(held.since + BESIDE_TIMEOUT);
        }
        if self.shuns(held.kind) {
            return held.since + OTHERS_DELAY;
        }
        let hopeful =
            |(target, tries): (&Target, &Tries)| target.kind < held.kind && tries.under_way > 0;
        // Only the first link can wait: nothing runs yet.
        let waits = self.epoch == 0 && self.targets.iter().any(hopeful);
        held.since + if waits { held.kind.head_start } else { Duration::ZERO }
    }

    /// Whether links of this kind are no choice now, because the last one died young, or only small
    /// packets pass over the one that there is, and there are other kinds.
    fn shuns(&self, kind: Kind) -> bool {
        let stalled = |link: &Link| link.stalled.is_some() && link.kind == kind;
        let distrusted = self.distrusted == Some(kind) && self.now < self.distrust_until;
        (distrusted || self.link.as_ref().is_some_and(stalled))
            && self.targets.keys().any(|target| target.kind != kind)
    }

    /// Takes the best connection that is better than what there is, or leads to another instance.
    pub(super) fn choose(&mut self) {
        let candidates = self.candidates();
        let best = candidates.iter().min_by_key(|held| (self.shuns(held.kind), held.kind)).copied();
        let due = |held: &Held| self.due(held) <= self.now;
        let now = self.healthy().is_some() || self.held.iter().any(due);
        let Some(Held { id, kind, instance, .. }) = best.filter(|_| now) else { return };
        self.epoch += 1;
        self.replace(id, kind, instance);
        self.actions.push(Action::Use(id, self.epoch));
        let others = std::mem::take(&mut self.held).into_iter().filter(|held| held.id != id);
        self.actions.extend(others.map(|held| Action::Close(held.id)));
    }

    /// The connections that may become the link now. Beside a good link only those stay that may yet.
    fn candidates(&mut self) -> Vec<Held> {
        let Some(kind) = self.healthy() else { return self.held.clone() };
        let (now, trusted) = (self.now, self.now >= self.distrust_until);
        let takes = |held: &Held| match self.turn_of(held) {
            Some(turn) => turn <= now,
            None => trusted && held.kind < kind,
        };
        let waits = |held: &Held| {
            let open = held.needed || self.leads_to_same(held).is_none();
            self.turn_of(held).is_some() || open && now < held.since + BESIDE_TIMEOUT
        };
        let candidates: Vec<Held> = self.held.iter().copied().filter(takes).collect();
        let (kept, unwanted): (Vec<Held>, Vec<Held>) =
            self.held.iter().partition(|held| takes(held) || waits(held));
        self.held = kept;
        self.actions.extend(unwanted.iter().map(|held| Action::Close(held.id)));
        candidates
    }

    fn replace(&mut self, id: ConnectionId, kind: Kind, instance: Option<u64>) {
        let died = self.healthy().is_none();
        if let Some(old) = self.retire(died) {
            if old.is_black_hole(self.now) {
                self.actions.extend([Action::Stalled(old.id), Action::Shrink(old.id)]);
            }
            self.actions.push(Action::Close(old.id));
        }
        self.link = Some(Link::new(id, kind, instance, self.now, self.usual));
        (self.news, self.pause) = (self.now, UPGRADE_BACKOFF[0]);
        (self.round, self.last_kind) = (self.now, None);
        self.next_dial = self.now + ROUND_INTERVAL;
    }

    /// Tries everything again, from now on.
    pub(super) fn redial(&mut self) {
        (self.round, self.next_dial, self.last_kind) = (self.now, self.now, None);
    }

    /// Takes the link away. A good path that `died` young, or stalled, is remembered, a steady one
    /// forgiven.
    pub(super) fn retire(&mut self, died: bool) -> Option<Link> {
        let old = self.link.take()?;
        self.usual = old.usual().or(self.usual);
        if old.kind.relayed {
            // There is nothing worse to stay on.
        } else if self.now.saturating_sub(old.since) >= STEADY_AFTER && old.stalled.is_none() {
            self.distrust = Duration::ZERO;
        } else if died {
            self.distrust = (self.distrust * 2).clamp(DISTRUST_BACKOFF[0], DISTRUST_BACKOFF[1]);
            self.distrust_until = self.now + self.distrust;
            self.distrusted = Some(old.kind);
        }
        Some(old)
    }

    /// Tries what may lead to a link, or to a better one: in each round one kind after the other.
    pub(super) fn dial(&mut self) {
        while self.now >= self.next_dial {
            let healthy = self.healthy();
            if healthy.is_some() && self.now < self.distrust_until {
                self.next_dial = self.distrust_until;
                return;
            }
            if self.last_kind.is_none() {
                self.round = self.now;
            }
            let (last, calls) = (self.last_kind, self.controlling);
            let wanted =
                |kind: &Kind| healthy.is_none_or(|link| *kind < link) && (calls || !kind.relayed);
            let mut kinds = self.targets.keys().map(|target| target.kind).filter(wanted);
            let any = kinds.clone().next().is_some();
            // Targets are in the order of their kinds.
            let next = kinds.find(|kind| last.is_none_or(|last| *kind > last));
            if let Some(kind) = next {
                self.attempt(kind);
            }
            self.last_kind = next;
            self.next_dial = match next {
                Some(_) => self.now + KIND_STAGGER,
                None => self.round + self.pause(any),
            };
        }
    }

    /// Tries the targets of a kind, as many as may be, those first that have waited longest.
    fn attempt(&mut self, kind: Kind) {
        let of_kind = self.targets.iter_mut().filter(|(target, _)| target.kind == kind);
        let mut waiting: Vec<(&Target, &mut Tries)> = of_kind.collect();
        waiting.retain(|(_, tries)| tries.under_way < MAX_ATTEMPTS_PER_TARGET);
        waiting.sort_by_key(|(_, tries)| tries.last);
        self.spent = self.spent.max(self.now);
        for (target, tries) in waiting {
            if self.spent + ATTEMPT_INTERVAL > self.now + ATTEMPT_INTERVAL * ATTEMPT_BURST {
                break;
            }
            self.spent += ATTEMPT_INTERVAL;
            tries.under_way += 1;
            tries.last = self.now;
            self.actions.push(Action::Dial(target.clone()));
        }
    }

    /// How long after a round the next one begins.
    fn pause(&mut self, any: bool) -> Duration {
        match self.healthy() {
            _ if !any => IDLE_INTERVAL,
            None => ROUND_INTERVAL,
            Some(_) if self.now < self.news + FAST_PERIOD => ROUND_INTERVAL,
            Some(_) => {
                let pause = self.pause;
                self.pause = (pause * 2).min(UPGRADE_BACKOFF[1]);
                pause
            }
        }
    }
}

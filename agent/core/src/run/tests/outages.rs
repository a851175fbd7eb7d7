//! Links that die and come back, at any moment and as often as they like.

use std::env;
use std::time::Duration;

use super::super::{EXPLANATION_TIMEOUT, Event, TWIN_TIMEOUT};
use super::world::{DEADLINE, GRACE, World, at};
use crate::control::Control;
use crate::name::PartyName;
use crate::numbers::Numbers;
use crate::verdict::{Exit, Failure, Reason, Stage, Verdict};
use crate::waits::Waits;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_peer_that_is_away_has_the_grace_time_to_come_back() {
    let mut world = World::running(3);
    world.unlink(0, 1);
    world.pass(GRACE - SECOND);
    assert_eq!(world.verdicts, [None, None, None]);
    world.link(0, 1);
    world.pass(GRACE * 2);
    assert_eq!(world.verdicts, [None, None, None]);
    world.unlink(0, 1);
    world.pass(GRACE + SECOND);
    for index in 0..3 {
        let failure = world.failure(index);
        assert!(matches!(&failure.reason, Reason::Lost(_)), "{failure}");
        assert!(failure.to_string().contains("reset; it was not back within 30 s"), "{failure}");
    }
}

#[test]
fn who_did_not_listen_accuses_nobody_of_silence() {
    let mut world = World::running(3);
    let now = world.now + GRACE + SECOND;
    world.runs[0].listen_anew(now, SECOND * 2);
    assert_eq!(world.runs[0].handle(now, Event::Tick), []);
    assert!(!world.runs[1].handle(now, Event::Tick).is_empty(), "this one listened");
    let now = now + GRACE;
    assert!(!world.runs[0].handle(now, Event::Tick).is_empty(), "it has listened since");
}

#[test]
fn who_stood_still_for_the_grace_time_names_itself() {
    for (still, names_itself) in
        [(GRACE * 2, true), (GRACE - SECOND / 2, true), (SECOND * 3, false)]
    {
        let mut world = World::running(2);
        let now = world.now + still;
        world.runs[0].listen_anew(now, still);
        assert_eq!(world.runs[0].handle(now, Event::Tick), []);
        // The other has gone, and what it said last is lost.
        world.now = now;
        world.frozen = vec![1];
        world.pass(GRACE + SECOND);
        assert_eq!(world.blamed(0), [if names_itself { "p0" } else { "p1" }]);
    }
    let mut world = World::running(2);
    world.freeze(0, GRACE - SECOND * 3);
    world.pass(GRACE * 2);
    assert_eq!(world.verdicts, [None, None]);
}

#[test]
fn what_was_lost_with_a_link_is_said_on_the_next() {
    // Each message of the way to the start is lost once, in every combination of the three pairs.
    for lost in 1..200 {
        let mut world = World::new(3);
        world.link_all();
        world.prepare_all();
        for _ in 0..lost {
            world.deliver(lost);
        }
        for (a, b) in world.pairs() {
            world.unlink(a, b);
        }
        world.pass(SECOND);
        world.link_all();
        world.settle();
        assert!(world.started.iter().all(Option::is_some), "{lost}: {:?}", world.verdicts);
    }
}

#[test]
fn a_peer_that_was_started_anew_ends_the_run_of_the_others_and_all_say_so() {
    for picks in 0..20 {
        let mut world = World::running(3);
        world.restart(1, 2);
        assert_eq!(world.verdicts, [None, None, None]);
        world.link_all();
        while world.deliver(picks) {}
        assert!(world.left[1], "it is told at once");
        world.pass(TWIN_TIMEOUT + SECOND);
        for index in 0..3 {
            assert_eq!(world.blamed(index), ["p1"]);
            assert!(world.failure(index).to_string().contains("it was started anew"));
        }
    }
}

#[test]
fn nobody_unlinks_who_was_started_anew_again_and_again() {
    let mut world = World::running(2);
    world.restart(1, 2);
    world.unlinks = 0;
    world.link_all();
    world.settle();
    assert_eq!(world.unlinks, 0);
}

#[test]
fn who_has_finished_and_is_not_needed_may_be_started_anew() {
    let mut world = World::running(3);
    for peer in [0, 2] {
        world.give(peer, Event::StreamBegan(at(1)));
    }
    world.give(1, Event::Exited(Exit::Status(0)));
    world.settle();
    for peer in [0, 2] {
        world.give(peer, Event::StreamEnded(at(1)));
    }
    world.restart(1, 2);
    world.link_all();
    world.settle();
    assert_eq!(world.blamed(1), ["p1"], "the run of the others is not for it");
    world.pass(GRACE * 2);
    assert_eq!([&world.verdicts[0], &world.verdicts[2]], [&None, &None]);
    for peer in [0, 2] {
        world.give(peer, Event::Exited(Exit::Status(0)));
    }
    world.settle();
    assert_eq!(world.verdicts[0], Some(Verdict::Completed));
    assert_eq!(world.verdicts[2], Some(Verdict::Completed));
}

#[test]
fn who_shows_no_entry_is_not_heard_of() {
    let mut world = World::running(2);
    world.unlink(0, 1);
    world.give(0, Event::Linked(at(1), super::world::key(1)));
    for _ in 0..10 {
        world.pass(GRACE / 10 + SECOND / 5);
        world.give(0, Event::Received(at(1), Control::Beat(0)));
    }
    assert_eq!(world.blamed(0), ["p1"]);
}

#[test]
fn an_abort_of_another_instance_ends_no_run() {
    let mut world = World::running(3);
    let observer = world.runs[0].roster.get(at(2)).unwrap().clone();
    let who = vec![observer.clone()];
    let failure = Failure { who, stage: Stage::Find, reason: Reason::Stopped, observer, via: None };
    world.give(0, Event::Linked(at(2), super::world::key(2)));
    world.give(0, Event::Received(at(2), Control::Abort(failure)));
    world.give(0, Event::Unlinked(at(2), "the peer closed it".into()));
    assert_eq!(world.verdicts[0], None);
    world.link(0, 2);
    world.settle();
    world.pass(GRACE * 2);
    assert_eq!(world.verdicts, [None, None, None]);
    // The known one says who it is first, on each link.
    world.unlink(0, 2);
    world.give(2, Event::Failed(Reason::Stopped));
    world.link(0, 2);
    world.settle();
    assert_eq!((world.blamed(0), &world.failure(0).reason), (vec!["p2"], &Reason::Stopped));
}

#[test]
fn another_key_is_not_the_same_peer() {
    let mut world = World::running(2);
    world.unlink(0, 1);
    let actions = world.runs[0].handle(world.now, Event::Linked(at(1), super::world::key(7)));
    assert_eq!(actions, [super::super::Action::Unlink(at(1))]);
}

#[test]
fn a_last_word_is_said_until_it_is_heard() {
    for failing in [false, true] {
        let mut world = World::running(2);
        world.give(1, Event::Exited(Exit::Status(0)));
        world.settle();
        world.give(0, Event::Exited(Exit::Status(i32::from(failing))));
        assert!(world.verdicts[0].is_some() && !world.left[0], "it waits for the other to hear it");
        world.unlink(0, 1);
        world.pass(SECOND * 3);
        assert!(world.verdicts[1].is_none() && !world.left[0]);
        world.link(0, 1);
        world.settle();
        assert_eq!(world.verdicts[1].is_some(), world.verdicts[0].is_some());
        assert_eq!(world.left, [true, true]);
        match failing {
            true => assert_eq!(world.blamed(1), ["p0"]),
            false => assert_eq!(world.verdicts[1], Some(Verdict::Completed)),
        }
    }
}

#[test]
fn nobody_stays_for_ever_to_say_it() {
    let mut world = World::running(2);
    world.unlink(0, 1);
    world.give(0, Event::Failed(Reason::Stopped));
    world.pass(SECOND * 6);
    assert!(world.left[0]);
    let mut world = World::running(2);
    world.give(1, Event::Exited(Exit::Status(0)));
    world.settle();
    world.unlink(0, 1);
    world.give(0, Event::Exited(Exit::Status(0)));
    world.pass(GRACE - SECOND);
    assert!(!world.left[0]);
    world.give(0, Event::Failed(Reason::Stopped));
    assert!(world.left[0], "asked to end, it does");
}

#[test]
fn a_lost_last_report_leaves_it_unconfirmed() {
    let mut world = World::running(3);
    world.unlink(0, 1);
    for index in 0..3 {
        world.give(index, Event::Exited(Exit::Status(0)));
    }
    world.pass(GRACE + SECOND);
    let unconfirmed = |who: &str| Some(Verdict::Unconfirmed(vec![who.parse().unwrap()]));
    assert_eq!(world.verdicts, [unconfirmed("p1"), unconfirmed("p0"), Some(Verdict::Completed)]);
}

#[test]
fn a_peer_that_is_done_owes_what_its_streams_still_hold() {
    for (begun, ended, owes) in [(0, 0, true), (1, 0, true), (2, 1, true), (1, 1, false)] {
        let mut world = World::running(2);
        (0..ended).for_each(|_| world.give(0, Event::StreamEnded(at(1))));
        (0..begun).for_each(|_| world.give(0, Event::StreamBegan(at(1))));
        world.give(1, Event::Exited(Exit::Status(0)));
        world.settle();
        world.unlink(0, 1);
        world.pass(GRACE + SECOND);
        if owes {
            assert_eq!(world.blamed(0), ["p1"], "{ended} of {begun} streams have ended");
            continue;
        }
        assert_eq!(world.verdicts[0], None, "it may take its time");
        world.give(0, Event::Exited(Exit::Status(0)));
        assert_eq!(world.verdicts[0], Some(Verdict::Completed));
    }
}

#[test]
fn stopped_after_its_success_it_has_not_failed() {
    let mut world = World::running(2);
    world.give(0, Event::Exited(Exit::Status(0)));
    world.settle();
    world.give(0, Event::Failed(Reason::Stopped));
    assert_eq!(world.verdicts[0], Some(Verdict::Unconfirmed(vec!["p1".parse().unwrap()])));
    world.give(1, Event::Exited(Exit::Status(0)));
    assert_eq!(world.verdicts[1], Some(Verdict::Completed));
}

#[test]
fn who_could_explain_a_failure_is_waited_for() {
    let mut world = World::running(2);
    world.give(1, Event::StreamEnded(at(0)));
    world.unlink(0, 1);
    world.give(0, Event::Exited(Exit::Signal(9)));
    world.give(1, Event::Exited(Exit::Status(1)));
    world.pass(EXPLANATION_TIMEOUT * 2);
    assert_eq!(world.verdicts[1], None);
    world.link(0, 1);
    world.settle();
    assert_eq!(world.blamed(1), ["p0"]);
}

#[test]
fn nobody_waits_for_who_has_finished_and_gone_to_tell_a_failure() {
    let mut world = World::running(3);
    for peer in [0, 2] {
        world.give(peer, Event::StreamBegan(at(1)));
    }
    world.give(1, Event::Exited(Exit::Status(0)));
    world.settle();
    for peer in [0, 2] {
        world.give(peer, Event::StreamEnded(at(1)));
    }
    world.give(1, Event::Failed(Reason::Stopped));
    world.unlink(0, 1);
    world.unlink(1, 2);
    world.give(0, Event::Exited(Exit::Status(1)));
    world.pass(EXPLANATION_TIMEOUT * 2);
    assert_eq!((world.blamed(0), world.blamed(2)), (vec!["p0"], vec!["p0"]));
}

#[test]
fn a_different_second_statement_is_a_fault() {
    let old = World::running(2).started[0].unwrap();
    let mut world = World::running(3);
    let list = world.runs[0].agreement.as_ref().unwrap().list().unwrap();
    world.give(0, Event::Received(at(1), Control::List(list.clone())));
    world.give(0, Event::Received(at(1), Control::Ready(world.started[0].unwrap())));
    assert_eq!(world.verdicts[0], None, "what was said before is no news");
    for changed in [Control::List(list[..2].to_vec()), Control::Ready(old)] {
        let mut world = World::running(3);
        world.give(0, Event::Received(at(1), changed));
        assert_eq!(world.blamed(0), ["p1"]);
        assert!(matches!(world.failure(0).reason, Reason::Protocol(_)));
    }
}

/// What goes wrong in a schedule, beside links that die and come back in time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    Nothing,
    /// A program fails.
    Failure,
    /// Somebody stops it.
    Stop,
    /// A link stays away.
    Outage,
    /// A runner is killed and started anew.
    Restart,
    /// A runner stands still.
    Standstill,
    /// It did.
    Stood,
}

const TROUBLES: [Trouble; 6] = [
    Trouble::Nothing,
    Trouble::Failure,
    Trouble::Stop,
    Trouble::Outage,
    Trouble::Restart,
    Trouble::Standstill,
];

/// One session under random outages.
struct Schedule {
    numbers: Numbers,
    world: World,
    /// Since when each pair has had no link.
    away: Vec<((usize, usize), Duration)>,
    trouble: Trouble,
    victim: usize,
    /// A pair whose link does not come back.
    broken: Option<(usize, usize)>,
}

impl Schedule {
    fn new(seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let parties = 2 + numbers.index(3);
        let (trouble, victim) = (TROUBLES[numbers.index(5)], numbers.index(parties));
        let world = World::new(parties);
        let away = world.pairs().map(|pair| (pair, Duration::ZERO)).collect();
        Self { numbers, world, away, trouble, victim, broken: None }
    }

    /// Links come back before they have been away for long.
    fn mend(&mut self, longest: Duration) {
        let now = self.world.now;
        let due: Vec<_> = self.away.extract_if(.., |(_, since)| now - *since >= longest).collect();
        for ((a, b), since) in due {
            match self.broken == Some((a, b)) {
                true => self.away.push(((a, b), since)),
                false => self.world.link(a, b),
            }
        }
    }

    fn step(&mut self) {
        match self.numbers.below(27) {
            0..12 => {
                let pick = self.numbers.index(1000);
                self.world.deliver(pick);
            }
            12..16 => {
                let time = Duration::from_millis(self.numbers.below(6000));
                self.world.wait(time);
                self.mend(GRACE - SECOND * 12);
            }
            16..18 => {
                let pairs: Vec<_> = self.world.pairs().collect();
                let (a, b) = pairs[self.numbers.index(pairs.len())];
                if self.world.linked(a, b) {
                    if self.numbers.below(2) == 0 {
                        self.world.give(a, Event::Stalled(at(b), "small packets pass".into()));
                    }
                    self.world.unlink(a, b);
                    self.away.push(((a, b), self.world.now));
                }
            }
            18..20 => self.mend(Duration::ZERO),
            20 => {
                let pairs: Vec<_> = self.world.links.iter().copied().collect();
                if !pairs.is_empty() {
                    let (a, b) = pairs[self.numbers.index(pairs.len())];
                    self.world.link(a, b);
                }
            }
            21 | 22 => {
                let index = self.numbers.index(self.world.runs.len());
                self.exit(index);
            }
            24 => {
                let index = self.numbers.index(self.world.runs.len());
                self.world.give(index, Event::Asks);
            }
            25 => {
                let index = self.numbers.index(self.world.runs.len());
                self.world.give(index, Event::Answered);
            }
            26 => self.say_something(),
            _ => self.make_trouble(),
        }
        for pair in self.world.pairs() {
            let known = self.away.iter().any(|(away, _)| *away == pair);
            if !known && !self.world.linked(pair.0, pair.1) {
                self.away.push((pair, self.world.now));
            }
        }
    }

    /// Somebody tells another that it waits for something, whether it does or not.
    fn say_something(&mut self) {
        let pairs: Vec<_> = self.world.links.iter().copied().collect();
        if !pairs.is_empty() {
            let (a, b) = pairs[self.numbers.index(pairs.len())];
            let nobody = Waits::for_parties(vec!["nobody".parse().unwrap()]);
            let waits = [Waits::Nothing, Waits::Preparing, Waits::Answer, nobody];
            let said = Control::Waits(waits[self.numbers.index(4)].clone());
            self.world.give(a, Event::Received(at(b), said));
        }
    }

    fn exit(&mut self, index: usize) {
        if self.world.runs[index].stage() == Stage::Run {
            let fails = self.trouble == Trouble::Failure && index == self.victim;
            self.world.give(index, Event::Exited(Exit::Status(i32::from(fails))));
        }
    }

    fn make_trouble(&mut self) {
        match self.trouble {
            Trouble::Stop => self.world.give(self.victim, Event::Failed(Reason::Stopped)),
            Trouble::Outage => {
                let pair = self.world.pairs().nth(self.victim);
                self.broken = self.broken.or(pair);
            }
            Trouble::Restart if self.world.verdicts[self.victim].is_none() => {
                self.world.restart(self.victim, 2);
                self.trouble = Trouble::Failure;
            }
            Trouble::Standstill if self.world.verdicts.iter().all(Option::is_none) => {
                self.mend(Duration::ZERO);
                self.world.settle();
                let time = GRACE * 2 / 3 + Duration::from_millis(self.numbers.below(30_000));
                self.world.freeze(self.victim, time);
                self.trouble = Trouble::Stood;
            }
            _ => {}
        }
    }

    /// Runs it to its end and looks at the verdicts.
    fn check(mut self) {
        let restarts = self.trouble == Trouble::Restart;
        let victim: PartyName = format!("p{}", self.victim).parse().unwrap();
        for index in 0..self.world.runs.len() {
            self.world.prepare(index, None);
        }
        let mut first_verdict = Duration::MAX;
        for _ in 0..100 + self.numbers.index(200) {
            self.step();
            if self.world.verdicts.iter().any(Option::is_some) {
                first_verdict = first_verdict.min(self.world.now);
            }
            // A last word that is lost for as long as the grace time stays lost.
            if self.world.now.saturating_sub(first_verdict) > GRACE / 3 {
                break;
            }
        }
        self.mend(Duration::ZERO);
        self.world.pass(SECOND * 2);
        for _ in 0..2 {
            (0..self.world.runs.len()).for_each(|index| self.exit(index));
            self.world.pass(SECOND * 2);
        }
        let limit = self.world.now + DEADLINE + GRACE * 2;
        while self.world.now < limit && !self.world.left.iter().all(|left| *left) {
            self.world.pass(SECOND * 5);
            self.mend(Duration::ZERO);
        }
        let World { verdicts, left, started, .. } = &self.world;
        assert!(verdicts.iter().all(Option::is_some), "no verdict: {verdicts:?}");
        assert!(left.iter().all(|left| *left), "somebody stays: {left:?}, {verdicts:?}");
        let names_another = |verdict: &Option<Verdict>| match verdict {
            Some(Verdict::Failed(failure)) => failure.who != [victim.clone()],
            _ => false,
        };
        // Who has not agreed with the others may miss for good what they say.
        let knows = |index: &usize| !restarts || started[*index].is_some();
        if restarts || self.trouble == Trouble::Stood {
            let mut knowing = (0..verdicts.len()).filter(knows);
            assert!(!knowing.any(|index| names_another(&verdicts[index])), "{verdicts:?}");
        }
        if restarts {
            return;
        }
        let mut ids = started.iter().flatten();
        let first = ids.next();
        assert!(ids.all(|id| Some(id) == first), "two runs");
        let completed = verdicts.contains(&Some(Verdict::Completed));
        let failed = verdicts.iter().any(|v| matches!(v, Some(Verdict::Failed(_))));
        assert!(!(completed && failed), "completed and failed: {verdicts:?}");
        match self.trouble {
            Trouble::Nothing => {
                let fine = |v: &Option<Verdict>| *v == Some(Verdict::Completed);
                assert!(verdicts.iter().all(fine), "{verdicts:?}");
            }
            Trouble::Failure => assert!(!completed, "{verdicts:?}"),
            _ => {}
        }
    }
}

#[test]
fn any_schedule_of_outages_ends_as_it_should() {
    let only = env::var("MPYC_PARTY_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
    let seeds = only.map_or(0..10_000, |seed: u64| seed..seed + 1);
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| Schedule::new(seed).check());
        assert!(outcome.is_ok(), "MPYC_PARTY_TEST_SEED={seed} replays it");
    }
}

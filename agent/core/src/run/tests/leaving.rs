//! Peers whose program ends with success, or closes a connection, before the others are done.

use std::env;
use std::time::Duration;

use super::super::Event;
use super::super::part::FAREWELL_TIMEOUT;
use super::world::{GRACE, World, at};
use crate::numbers::Numbers;
use crate::verdict::{Exit, Reason, Verdict};

const SECOND: Duration = Duration::from_secs(1);

/// Three running parties, whose second one ends with success before the others are done.
fn left(streams: bool) -> World {
    let mut world = World::running(3);
    for peer in [0, 2] {
        world.give(peer, Event::Connecting);
        if streams {
            world.give(peer, Event::StreamBegan(at(1)));
            world.give(peer, Event::Connected);
        }
    }
    world.give(1, Event::Exited(Exit::Status(0)));
    world.settle();
    if streams {
        [0, 2].into_iter().for_each(|peer| world.give(peer, Event::StreamEnded(at(1))));
    }
    world
}

fn all_say_that_it_left(world: &World) {
    for index in 0..3 {
        assert_eq!(
            (world.blamed(index), &world.failure(index).reason),
            (vec!["p1"], &Reason::Left)
        );
    }
}

#[test]
fn who_left_and_is_awaited_is_named_after_the_grace_time() {
    let mut world = left(true);
    world.pass(GRACE * 3);
    assert_eq!(world.verdicts, [None, None, None], "nothing is awaited from it");
    world.give(0, Event::Awaits(at(1)));
    world.pass(GRACE - SECOND);
    world.give(0, Event::Awaits(at(1)));
    assert_eq!(world.verdicts, [None, None, None]);
    world.pass(SECOND * 2);
    all_say_that_it_left(&world);
}

#[test]
fn what_was_given_up_is_not_awaited() {
    let mut world = left(true);
    for _ in 0..3 {
        world.give(0, Event::Awaits(at(1)));
        world.pass(GRACE - SECOND);
        world.give(0, Event::AwaitsNoMore(at(1)));
    }
    world.pass(GRACE * 3);
    assert_eq!(world.verdicts, [None, None, None]);
    world.give(0, Event::Awaits(at(1)));
    world.pass(GRACE + SECOND);
    all_say_that_it_left(&world);
}

#[test]
fn who_ended_before_it_connected_is_named_after_the_grace_time() {
    let mut world = left(false);
    world.pass(GRACE - SECOND);
    assert_eq!(world.verdicts, [None, None, None]);
    world.pass(SECOND * 2);
    all_say_that_it_left(&world);
}

#[test]
fn who_still_runs_may_take_its_time_to_connect() {
    let mut world = World::running(2);
    world.give(0, Event::StreamBegan(at(1)));
    world.give(0, Event::StreamEnded(at(1)));
    world.give(0, Event::Connecting);
    world.pass(GRACE * 3);
    assert_eq!(world.verdicts, [None, None]);
}

#[test]
fn what_the_program_says_it_awaits_counts_only_where_a_stream_ended() {
    let mut world = World::running(2);
    world.give(0, Event::StreamBegan(at(1)));
    world.give(0, Event::Awaits(at(1)));
    world.pass(GRACE * 3);
    assert_eq!(world.verdicts, [None, None]);
    world.give(0, Event::Exited(Exit::Status(1)));
    assert_eq!(world.blamed(0), ["p0"]);
}

#[test]
fn a_program_that_fails_for_want_of_a_peer_that_left_is_not_to_blame() {
    let mut world = left(true);
    world.give(0, Event::Awaits(at(1)));
    world.give(0, Event::Exited(Exit::Status(1)));
    world.pass(SECOND * 2);
    assert_eq!((world.blamed(0), world.blamed(2)), (vec!["p1"], vec!["p1"]));
}

#[test]
fn an_explanation_is_better_than_that_somebody_left() {
    let mut world = World::running(2);
    world.give(0, Event::StreamBegan(at(1)));
    world.give(0, Event::StreamEnded(at(1)));
    world.give(0, Event::Awaits(at(1)));
    world.give(0, Event::Exited(Exit::Status(1)));
    world.give(1, Event::Exited(Exit::Signal(9)));
    world.settle();
    assert_eq!(world.failure(0).reason, Reason::Ended(Exit::Signal(9)));
}

/// One session in which links die and come back, and a program of which may leave.
struct Leaving {
    numbers: Numbers,
    world: World,
    /// Who leaves, if anybody does.
    leaver: Option<usize>,
    /// What is still to happen at each party other than the leaver: when, and what.
    due: Vec<(Duration, usize, Event)>,
}

impl Leaving {
    fn new(seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let parties = 2 + numbers.index(4);
        let leaves = numbers.index(4) > 0;
        let leaver = leaves.then(|| numbers.index(parties));
        Self { numbers, world: World::running(parties), leaver, due: Vec::new() }
    }

    fn later(&mut self, most: Duration) -> Duration {
        Duration::from_millis(self.numbers.below(u64::try_from(most.as_millis()).unwrap()))
    }

    fn plan(&mut self, at: Duration, party: usize, event: Event) {
        self.due.push((at, party, event));
    }

    /// What the parties' programs do: connect, compute as long as they like, and end, where the leaver
    /// ends early, before or after it has connected, and some await more from it, sooner or later.
    fn plan_all(&mut self) {
        let parties = self.world.runs.len();
        let leaving = self.later(GRACE * 3);
        let connected = self.numbers.index(2) == 0;
        // All end together: who shuts down waits for the others.
        let end = self.later(GRACE * 4) + GRACE * 2;
        for (me, peer) in (0..parties).flat_map(|me| (0..parties).map(move |peer| (me, peer))) {
            if me == peer {
                continue;
            }
            let leaves = self.leaver == Some(peer);
            if leaves && !connected {
                continue;
            }
            let begun = self.later(SECOND * 5);
            self.plan(begun, me, Event::StreamBegan(at(peer)));
            if leaves {
                let ended = leaving.max(begun) + self.later(SECOND * 2);
                self.plan(ended, me, Event::StreamEnded(at(peer)));
                let awaits = ended + self.later(GRACE * 2);
                self.plan(awaits, me, Event::Awaits(at(peer)));
            } else {
                self.plan(end + SECOND, me, Event::StreamEnded(at(peer)));
            }
        }
        for me in 0..parties {
            let (asks, answered) = (self.later(GRACE * 3), self.later(GRACE * 6));
            self.plan(asks, me, Event::Asks);
            self.plan(answered, me, Event::Answered);
        }
        let leaver = self.leaver;
        for me in (0..parties).filter(|me| leaver != Some(*me)) {
            let started = self.later(SECOND);
            self.plan(started, me, Event::Connecting);
            if self.leaver.is_none() || connected {
                self.plan(SECOND * 6, me, Event::Connected);
            }
            if self.leaver.is_none() {
                self.plan(end + SECOND * 2, me, Event::Exited(Exit::Status(0)));
            }
        }
        if let Some(leaver) = self.leaver {
            self.plan(leaving, leaver, Event::Exited(Exit::Status(0)));
        }
        self.due.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
    }

    /// Lets it all happen, with outages that are so short that a last word is heard: whoever has its
    /// verdict does not wait for longer, and is then itself gone.
    fn run(&mut self) {
        let begun = self.world.now;
        let limit = begun + GRACE * 12;
        let mut away: Vec<((usize, usize), Duration)> = Vec::new();
        while self.world.now < limit && self.world.verdicts.iter().any(Option::is_none) {
            while self.due.last().is_some_and(|(at, ..)| begun + *at <= self.world.now) {
                let Some((_, party, event)) = self.due.pop() else { break };
                self.world.give(party, event);
            }
            let pairs: Vec<_> = self.world.links.iter().copied().collect();
            if !pairs.is_empty() && self.numbers.index(8) == 0 {
                let (a, b) = pairs[self.numbers.index(pairs.len())];
                self.world.unlink(a, b);
                away.push(((a, b), self.world.now + self.later(FAREWELL_TIMEOUT / 2)));
            }
            let now = self.world.now;
            for ((a, b), _) in away.extract_if(.., |(_, back)| *back <= now).collect::<Vec<_>>() {
                self.world.link(a, b);
            }
            let step = self.later(SECOND * 2) + SECOND / 10;
            self.world.pass(step);
        }
    }

    fn check(mut self) {
        self.plan_all();
        self.run();
        for (index, verdict) in self.world.verdicts.iter().enumerate() {
            match (self.leaver, verdict) {
                (None, Some(Verdict::Completed)) => {}
                // It does not hear what the others say while there is no link to them.
                (Some(leaver), Some(Verdict::Unconfirmed(_))) if leaver == index => {}
                (Some(leaver), Some(Verdict::Failed(failure))) => {
                    assert_eq!(failure.who, [format!("p{leaver}").parse().unwrap()], "{failure}");
                    assert_eq!(failure.reason, Reason::Left, "{failure}");
                }
                _ => panic!("{:?} leaves, and p{index} says {verdict:?}", self.leaver),
            }
        }
    }
}

#[test]
fn in_any_schedule_who_left_is_named_and_nobody_else() {
    let only = env::var("MPYC_PARTY_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
    let seeds = only.map_or(0..10_000, |seed: u64| seed..seed + 1);
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| Leaving::new(seed).check());
        assert!(outcome.is_ok(), "MPYC_PARTY_TEST_SEED={seed} replays it");
    }
}

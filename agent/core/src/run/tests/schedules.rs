//! Random schedules: links die and come back, programs end, and one thing goes wrong beside that.

use std::env;
use std::time::Duration;

use super::super::Event;
use super::world::{DEADLINE, GRACE, World, at};
use crate::control::Control;
use crate::name::PartyName;
use crate::numbers::Numbers;
use crate::verdict::{Exit, Reason, Stage, Verdict};
use crate::waits::Waits;

const SECOND: Duration = Duration::from_secs(1);

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
            let nobody = Waits::for_parties(vec!["zoe".parse().unwrap()]);
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

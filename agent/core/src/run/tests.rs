//! Whole sessions in one process, whatever goes wrong in them.

mod labels;
mod leaving;
mod outages;
mod rosters;
mod schedules;
mod stalls;
mod twins;
mod waits;
mod world;

use proptest::prelude::*;

use super::*;
use crate::agreement::Entry;
use crate::component::Digests;
use crate::label::Label;
use world::{DEADLINE, GRACE, World, at, components, entry, fields, key};

#[test]
fn all_start_the_same_run_and_complete() {
    let mut world = World::running(3);
    assert!(world.started.iter().all(|id| *id == world.started[0]));
    for index in 0..3 {
        world.give(index, Event::Exited(Exit::Status(0)));
    }
    world.settle();
    assert_eq!(world.verdicts, vec![Some(Verdict::Completed); 3]);
}

#[test]
fn nothing_starts_before_all_are_ready() {
    let mut world = World::new(3);
    world.link_all();
    world.prepare(0, None);
    world.prepare(1, None);
    world.settle();
    world.pass(Duration::from_secs(20));
    assert_eq!(world.started, [None; 3]);
}

#[test]
fn a_difference_does_not_wait_for_the_absent() {
    let mut world = World::new(3);
    world.link(0, 1);
    world.prepare(0, None);
    world.prepare(1, Some(&Label::PROGRAM));
    world.settle();
    world.pass(Duration::from_secs(4));
    assert!(matches!(world.failure(0).reason, Reason::Differs(_)));
}

#[test]
fn telling_two_parties_two_things_is_found() {
    let mut world = World::new(3);
    world.link_all();
    world.prepare(0, None);
    world.prepare(1, None);
    let roster = world.runs[0].roster.clone();
    world.give(0, Event::Received(at(2), Control::Entry(entry(&roster, 2, &components(None), 1))));
    world.give(1, Event::Received(at(2), Control::Entry(entry(&roster, 2, &components(None), 2))));
    world.settle();
    world.pass(TWIN_TIMEOUT * 2);
    for index in 0..2 {
        assert!(matches!(world.failure(index).reason, Reason::Inconsistent(_)));
        assert!(world.blamed(index).contains(&"p2"));
    }
    assert_eq!(world.started, [None; 3]);
}

#[test]
fn an_entry_in_anothers_name_or_of_another_key_is_refused() {
    for forge in [|e: &mut Entry| e.party = "p1".parse().unwrap(), |e: &mut Entry| e.key = key(7)] {
        let mut world = World::new(3);
        world.link_all();
        world.prepare(0, None);
        let mut entry = fields(&world.runs[0].roster, 2, &components(None), 1);
        forge(&mut entry);
        world.give(0, Event::Received(at(2), Control::Entry(entry.encode().unwrap())));
        assert_eq!(world.blamed(0), ["p2"]);
    }
}

#[test]
fn what_a_peer_says_of_a_failure_is_bounded() {
    let mut world = World::running(3);
    let p2: PartyName = "p2".parse().unwrap();
    let many = [Label::PROGRAM, Label::FILES].into_iter().cycle().take(100_000);
    let reason = Reason::Differs(many.collect());
    let (who, observer) = (vec![p2.clone(); 1000], p2);
    let failure = Failure { who, stage: Stage::Run, reason, observer, via: None };
    world.give(0, Event::Received(at(2), Control::Abort(failure)));
    assert_eq!(world.failure(0).reason, Reason::Differs(vec![Label::FILES, Label::PROGRAM]));
    assert_eq!(world.failure(0).who.len(), 3);
    let invented = (0..1000).map(|i| format!("x{i}").parse().unwrap()).collect();
    let failure = Failure { reason: Reason::Differs(invented), ..world.failure(0).clone() };
    world.give(1, Event::Received(at(2), Control::Abort(failure)));
    let Reason::Differs(labels) = &world.failure(1).reason else { panic!("another reason") };
    assert_eq!(labels.len(), Digests::MAX);
}

#[test]
fn an_entry_may_come_again_but_not_change() {
    for prepared_first in [true, false] {
        let mut world = World::new(3);
        world.link_all();
        if prepared_first {
            world.prepare(0, None);
        }
        let roster = world.runs[0].roster.clone();
        let of = |salt| Control::Entry(entry(&roster, 2, &components(None), salt));
        world.give(0, Event::Received(at(2), of(1)));
        world.give(0, Event::Received(at(2), of(1)));
        assert_eq!(world.verdicts[0], None);
        world.give(0, Event::Received(at(2), of(2)));
        assert_eq!(world.blamed(0), ["p2"]);
    }
}

#[test]
fn what_one_would_run_is_said_once() {
    let mut world = World::running(3);
    let list = |world: &World| world.runs[0].agreement.as_ref().unwrap().list();
    let before = list(&world);
    world.prepare_salted(0, Some(&Label::PROGRAM), 9);
    assert_eq!((list(&world), &world.verdicts[0]), (before, &None));
}

#[test]
fn readiness_for_another_run_is_refused() {
    let old = World::running(3).started[0].unwrap();
    let mut world = World::new(3);
    world.link_all();
    world.prepare(0, None);
    let roster = world.runs[0].roster.clone();
    let of = |i| entry(&roster, i, &components(None), 5);
    let list = vec![world.runs[0].agreement.as_ref().unwrap().own().unwrap().clone(), of(1), of(2)];
    for peer in [1, 2] {
        world.give(0, Event::Received(at(peer), Control::Entry(of(peer))));
        world.give(0, Event::Received(at(peer), Control::List(list.clone())));
        world.give(0, Event::Received(at(peer), Control::Ready(old)));
    }
    assert!(matches!(world.failure(0).reason, Reason::Protocol(_)));
    assert_eq!(world.started[0], None);
}

#[test]
fn the_missing_are_named_at_the_deadline() {
    let mut world = World::new(4);
    world.link(0, 1);
    world.prepare_all();
    world.pass(DEADLINE + Duration::from_secs(1));
    assert_eq!(world.blamed(0), ["p2", "p3"]);
    assert_eq!(world.failure(0).reason, Reason::Missing);
    assert_eq!(world.blamed(2), ["p0", "p1", "p3"]);
}

#[test]
fn a_peer_that_is_there_but_never_ready_is_late() {
    let mut world = World::new(3);
    world.link_all();
    world.prepare(0, None);
    world.prepare(1, None);
    world.settle();
    world.pass(DEADLINE + Duration::from_secs(1));
    assert_eq!((world.blamed(0), &world.failure(0).reason), (vec!["p2"], &Reason::Late));
    assert_eq!(world.failure(2).who[0].as_str(), "p2");
}

#[test]
fn a_peer_that_restarts_before_the_agreement_is_welcome_again() {
    let mut world = World::new(3);
    world.link(0, 1);
    world.prepare(0, None);
    world.prepare(1, None);
    world.settle();
    world.restart(1, 2);
    world.link_all();
    world.prepare(2, None);
    world.settle();
    assert!(world.started.iter().all(Option::is_some), "{:?}", world.verdicts);
}

#[test]
fn a_frozen_runner_is_named_after_the_grace_time() {
    let mut world = World::running(3);
    world.frozen = vec![2];
    world.pass(GRACE - Duration::from_secs(2));
    assert_eq!(world.verdicts, [None, None, None], "an outage comes first");
    world.pass(Duration::from_secs(7));
    assert_eq!((world.blamed(0), world.blamed(1)), (vec!["p2"], vec!["p2"]));
}

#[test]
fn a_cut_in_either_direction_ends_the_run_for_all() {
    for cut in [vec![(0, 1)], vec![(1, 0)], vec![(0, 1), (1, 0)]] {
        let mut world = World::running(3);
        world.cut = cut;
        world.pass(GRACE + Duration::from_secs(5));
        for index in 0..3 {
            let failure = world.failure(index);
            assert!(matches!(failure.reason, Reason::Silent(_)), "{failure}");
            let named = [failure.who[0].as_str(), failure.observer.as_str()];
            assert!(named.contains(&"p0") && named.contains(&"p1"), "{failure}");
        }
    }
}

#[test]
fn a_failed_program_is_named_with_its_status() {
    let mut world = World::running(3);
    world.give(1, Event::Exited(Exit::Status(3)));
    world.settle();
    for index in 0..3 {
        assert_eq!(world.blamed(index), ["p1"]);
        assert_eq!(world.failure(index).reason, Reason::Ended(Exit::Status(3)));
    }
}

#[test]
fn a_consequence_waits_for_its_cause() {
    let mut world = World::running(3);
    world.give(0, Event::StreamEnded(at(1)));
    world.give(0, Event::Exited(Exit::Status(1)));
    assert_eq!(world.verdicts[0], None);
    world.give(1, Event::Exited(Exit::Signal(9)));
    world.settle();
    assert_eq!(world.blamed(0), ["p1"]);
}

#[test]
fn an_unexplained_failure_does_not_wait_long() {
    let mut world = World::running(2);
    world.give(0, Event::StreamEnded(at(1)));
    world.give(0, Event::Exited(Exit::Status(1)));
    world.pass(EXPLANATION_TIMEOUT * 2);
    assert_eq!(world.blamed(0), ["p0"]);
}

#[test]
fn success_is_not_reported_without_all_reports() {
    let mut world = World::running(3);
    world.give(0, Event::Exited(Exit::Status(0)));
    world.give(1, Event::Exited(Exit::Status(0)));
    world.settle();
    assert_eq!(world.verdicts, [None, None, None]);
    world.give(2, Event::Exited(Exit::Status(1)));
    world.settle();
    assert_eq!((world.blamed(0), world.blamed(1)), (vec!["p2"], vec!["p2"]));
}

#[test]
fn messages_out_of_turn_are_the_senders_fault() {
    let taken = Control::Use { instance: 1, epoch: 1 };
    let asked = Control::Dial { cycle: 0, newest: Epoch::default() };
    for message in [taken, Control::Done, Control::Noted, asked] {
        let mut world = World::new(2);
        world.link_all();
        world.give(0, Event::Received(at(1), message));
        assert_eq!(world.blamed(0), ["p1"]);
    }
}

proptest! {
    /// Whatever the order of events, every party ends with one verdict, and nobody completes
    /// unless all did.
    #[test]
    fn every_schedule_ends_in_a_verdict(
        picks in prop::collection::vec((0usize..1000, 0u8..40), 0..400),
        fault in 0u8..6,
        victim in 0usize..3,
        asks in any::<bool>(),
    ) {
        let mut world = World::new(3);
        world.link_all();
        for (step, (pick, what)) in picks.iter().enumerate() {
            if step < 3 {
                world.prepare(step, None);
            }
            match what {
                0 => world.pass(Duration::from_millis(500)),
                1 if step > 30 && fault == 1 => world.frozen = vec![victim],
                1 if step > 30 && fault == 2 => world.cut = vec![(victim, (victim + 1) % 3)],
                1 if step > 30 && fault == 3 => world.give(victim, Event::Failed(Reason::Stopped)),
                1 if fault == 4 => world.unlink(victim, (victim + 1) % 3),
                _ => { world.deliver(*pick); }
            }
            if asks && step % 7 == 0 {
                let event = if pick % 2 == 0 { Event::Asks } else { Event::Answered };
                world.give(pick % 3, event);
            }
            for index in 0..3 {
                let fails = fault == 5 && index == victim;
                if world.runs[index].stage() == Stage::Run && pick % 11 == index {
                    world.give(index, Event::Exited(Exit::Status(i32::from(fails))));
                }
            }
        }
        world.pass(DEADLINE);
        for index in 0..3 {
            if world.runs[index].stage() == Stage::Run && !world.frozen.contains(&index) {
                world.give(index, Event::Exited(Exit::Status(i32::from(fault == 5 && index == victim))));
            }
        }
        world.pass(GRACE + Duration::from_secs(5));
        for index in (0..3).filter(|i| !world.frozen.contains(i)) {
            prop_assert!(world.verdicts[index].is_some(), "party {} has no verdict", index);
        }
        let completed = world.verdicts.contains(&Some(Verdict::Completed));
        let failed = world.verdicts.iter().flatten().any(|v| {
            matches!(v, Verdict::Failed(f) if matches!(f.reason, Reason::Ended(_)))
        });
        prop_assert!(!(completed && failed));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// Whatever bytes arrive as a control message, they are a message or an error, and a message in
    /// or out of turn leaves the machine with an answer.
    #[test]
    fn random_control_messages_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        kind in 0u8..8,
    ) {
        let bytes = [vec![kind], bytes].concat();
        if let Ok((message, _)) = postcard::take_from_bytes::<Control>(&bytes) {
            let mut world = World::new(3);
            world.link_all();
            world.prepare(0, None);
            world.give(0, Event::Received(at(2), message));
        }
    }
}

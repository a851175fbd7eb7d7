//! What parties wait for, as the others hear of it; and that no verdict ever comes of it.

use std::time::Duration;

use super::super::waits::WAITS_SETTLE;
use super::super::{Action, Event};
use super::world::{DEADLINE, GRACE, World, at};
use crate::control::Control;
use crate::name::PartyName;
use crate::verdict::{Exit, Reason, Stage, Verdict};
use crate::waits::Waits;

/// From a change until the others are shown it.
const TOLD_AFTER: Duration = WAITS_SETTLE.saturating_mul(3);

fn parties(indices: &[usize]) -> Waits {
    let names = indices.iter().map(|i| format!("p{i}").parse().unwrap());
    Waits::for_parties(names.collect::<Vec<PartyName>>())
}

#[test]
fn who_waits_for_whom_is_told_until_all_are_there() {
    let mut world = World::new(4);
    world.link(0, 1);
    world.link(1, 2);
    world.link(0, 2);
    world.prepare(0, None);
    world.prepare(1, None);
    world.settle();
    world.pass(TOLD_AFTER);
    assert_eq!(world.runs[0].waits(), parties(&[2, 3]), "one is away and one prepares");
    assert_eq!(world.shown[0], [(1, parties(&[2, 3])), (2, Waits::Preparing)]);
    world.prepare(2, None);
    world.pass(TOLD_AFTER);
    assert_eq!(world.shown[0][2..], [(2, parties(&[3])), (1, parties(&[3]))]);
    assert_eq!(*world.runs[0].waits_of(at(2)), parties(&[3]));
    world.unlink(0, 2);
    assert_eq!(*world.runs[0].waits_of(at(2)), Waits::Nothing, "nobody knows while it is away");
    world.link_all();
    world.prepare(3, None);
    world.settle();
    assert_eq!(world.runs[0].stage(), Stage::Run);
    world.pass(TOLD_AFTER);
    for me in 0..4 {
        assert_eq!(world.runs[me].waits(), Waits::Nothing);
        for peer in (0..4).filter(|peer| *peer != me) {
            assert_eq!(*world.runs[me].waits_of(at(peer)), Waits::Nothing);
        }
    }
}

#[test]
fn a_run_that_starts_at_once_shows_nothing() {
    let mut world = World::running(3);
    world.pass(TOLD_AFTER);
    assert!(world.shown.iter().all(Vec::is_empty), "{:?}", world.shown);
}

#[test]
fn a_program_at_its_prompt_may_stay_there_and_all_know_of_it() {
    let mut world = World::running(3);
    world.give(1, Event::Asks);
    world.pass(GRACE * 10);
    for index in 0..3 {
        assert_eq!(world.shown[index], [(1, Waits::Answer)], "p{index}");
    }
    // Whoever has a new link to it is told again.
    world.unlink(0, 1);
    assert_eq!(*world.runs[0].waits_of(at(1)), Waits::Nothing);
    world.pass(Duration::from_secs(1));
    world.link(0, 1);
    world.pass(TOLD_AFTER);
    assert_eq!(*world.runs[0].waits_of(at(1)), Waits::Answer);
    world.give(1, Event::Answered);
    world.pass(TOLD_AFTER);
    for index in 0..3 {
        assert_eq!(world.shown[index], [(1, Waits::Answer), (1, Waits::Nothing)], "p{index}");
    }
    assert_eq!(world.verdicts, [None, None, None]);
}

#[test]
fn an_answer_that_comes_soon_is_no_news() {
    let mut world = World::running(3);
    for _ in 0..100 {
        world.give(1, Event::Asks);
        world.pass(WAITS_SETTLE / 2);
        world.give(1, Event::Answered);
        world.pass(WAITS_SETTLE / 2);
    }
    assert!(world.shown.iter().all(Vec::is_empty), "{:?}", world.shown);
}

#[test]
fn who_is_done_waits_for_those_that_are_not() {
    let mut world = World::running(3);
    world.give(0, Event::Exited(Exit::Status(0)));
    world.settle();
    world.give(1, Event::Asks);
    world.pass(TOLD_AFTER);
    assert_eq!(world.shown[2], [(0, parties(&[1, 2])), (1, Waits::Answer)]);
    for index in [1, 2] {
        world.give(index, Event::Exited(Exit::Status(0)));
    }
    world.settle();
    assert_eq!(world.verdicts, vec![Some(Verdict::Completed); 3]);
}

#[test]
fn nonsense_changes_nothing() {
    let names = |prefix: &str| (0..1000).map(|i| format!("{prefix}{i}").parse().unwrap()).collect();
    for waits in [
        Waits::Parties { names: names("x"), more: u32::MAX },
        Waits::Parties { names: names("p"), more: 3 },
        Waits::Parties { names: Vec::new(), more: 9 },
        Waits::Preparing,
        Waits::Answer,
        Waits::Nothing,
    ] {
        let mut world = World::new(3);
        world.link_all();
        let says = |world: &mut World| {
            world.give(0, Event::Received(at(2), Control::Waits(waits.clone())));
            world.pass(TOLD_AFTER);
            let Waits::Parties { names, more } = world.runs[0].waits_of(at(2)) else { return };
            assert!(names.len() <= 2 && *more <= 2, "{names:?} and {more}");
        };
        says(&mut world);
        world.prepare_all();
        says(&mut world);
        assert_eq!(world.runs[0].stage(), Stage::Run);
        says(&mut world);
        assert_eq!(world.verdicts, [None, None, None]);
        (0..3).for_each(|index| world.give(index, Event::Exited(Exit::Status(0))));
        says(&mut world);
        assert_eq!(world.verdicts, vec![Some(Verdict::Completed); 3]);
    }
}

#[test]
fn a_flood_of_it_shows_little() {
    let mut world = World::running(2);
    for waits in [Waits::Answer, Waits::Nothing].into_iter().cycle().take(10_001) {
        world.give(0, Event::Received(at(1), Control::Waits(waits)));
    }
    world.pass(WAITS_SETTLE);
    assert_eq!(world.shown[0], [(1, Waits::Answer)]);
}

#[test]
fn another_instance_is_not_believed() {
    let mut world = World::running(2);
    world.unlink(0, 1);
    world.link(0, 1);
    // Over this link the entry has not come yet.
    let actions =
        world.runs[0].handle(world.now, Event::Received(at(1), Control::Waits(Waits::Answer)));
    assert_eq!(actions, []);
    world.wait(TOLD_AFTER);
    assert_eq!(*world.runs[0].waits_of(at(1)), Waits::Nothing);
}

#[test]
fn whatever_is_waited_for_the_missing_are_named() {
    let mut world = World::new(3);
    world.link(0, 1);
    world.prepare(0, None);
    world.prepare(1, None);
    world.give(0, Event::Asks);
    for _ in 0..DEADLINE.as_secs() {
        world.give(1, Event::Received(at(0), Control::Waits(Waits::Answer)));
        world.pass(Duration::from_secs(1));
    }
    for index in [0, 1] {
        assert_eq!(
            (world.blamed(index), &world.failure(index).reason),
            (vec!["p2"], &Reason::Missing)
        );
    }
    let told = world.runs[0].handle(world.now, Event::Asks);
    assert!(!told.iter().any(|action| matches!(action, Action::Waits { .. })), "after the verdict");
}

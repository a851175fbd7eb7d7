//! A party that takes part twice: two machines have its key.

use super::super::{Event, TWIN_TIMEOUT};
use super::world::{World, at, components, entry, key};
use crate::agreement::EncodedEntry;
use crate::control::Control;
use crate::verdict::{Exit, Reason, Verdict};

/// What the instance number `salt` of p2 says.
fn instance(world: &World, salt: u8) -> EncodedEntry {
    entry(&world.runs[0].roster, 2, &components(None), salt)
}

/// This instance of p2 has a link to `to` now.
fn comes(world: &mut World, to: usize, salt: u8) {
    let said = instance(world, salt);
    world.give(to, Event::Linked(at(2), key(2)));
    world.give(to, Event::Received(at(2), Control::Entry(said)));
}

#[test]
fn two_instances_in_turns_are_one_party_too_many() {
    for agreed in [false, true] {
        let mut world = if agreed { World::running(3) } else { World::new(3) };
        if !agreed {
            world.link(0, 1);
            world.prepare(0, None);
            world.prepare(1, None);
            world.settle();
            comes(&mut world, 0, 1);
        }
        comes(&mut world, 0, 7);
        assert_eq!(world.verdicts[0], None, "it may have been started anew");
        comes(&mut world, 0, 1);
        assert_eq!((world.blamed(0), &world.failure(0).reason), (vec!["p2"], &Reason::Twice));
    }
}

#[test]
fn one_that_is_started_anew_again_and_again_is_there_once() {
    let mut world = World::new(3);
    world.link(0, 1);
    world.prepare(0, None);
    world.prepare(1, None);
    for salt in 1..100 {
        comes(&mut world, 0, salt);
        comes(&mut world, 0, salt);
    }
    assert_eq!(world.verdicts[0], None);
}

#[test]
fn two_parties_that_met_two_instances_accuse_neither_each_other() {
    for second_shows in [true, false] {
        let mut world = World::new(3);
        world.link(0, 1);
        world.prepare(0, None);
        world.prepare(1, None);
        comes(&mut world, 0, 1);
        comes(&mut world, 1, 7);
        world.settle();
        assert_eq!(world.verdicts[0], None);
        if second_shows {
            comes(&mut world, 0, 7);
            assert_eq!((world.blamed(0), &world.failure(0).reason), (vec!["p2"], &Reason::Twice));
        } else {
            // Then one of the two may be lying.
            world.pass(TWIN_TIMEOUT * 2);
            assert_eq!(world.blamed(0), ["p2", "p1"]);
        }
    }
}

#[test]
fn the_earlier_instance_may_have_been_seen_before_the_lists() {
    let mut world = World::new(3);
    world.link(0, 1);
    world.prepare(0, None);
    world.prepare(1, None);
    comes(&mut world, 0, 7);
    comes(&mut world, 0, 1);
    comes(&mut world, 1, 7);
    world.settle();
    assert_eq!((world.blamed(0), &world.failure(0).reason), (vec!["p2"], &Reason::Twice));
}

#[test]
fn another_instance_of_the_one_that_still_computes_costs_nobody_its_result() {
    let mut world = World::running(3);
    for index in 0..2 {
        world.give(index, Event::Exited(Exit::Status(0)));
    }
    world.settle();
    let first = world.runs[0].agreement.as_ref().and_then(|a| a.encoded(at(2)).cloned()).unwrap();
    comes(&mut world, 0, 7);
    // What is said to the other instance is not for the one of this world.
    world.wires[0][2].clear();
    world.pass(TWIN_TIMEOUT / 2);
    assert_eq!(world.verdicts[0], None, "the first one may yet be there");
    world.give(0, Event::Linked(at(2), key(2)));
    world.give(0, Event::Received(at(2), Control::Entry(first)));
    assert_eq!((world.blamed(0), &world.failure(0).reason), (vec!["p2"], &Reason::Twice));
}

#[test]
fn one_that_is_started_anew_while_the_others_are_done_leaves_them_unconfirmed() {
    let mut world = World::running(3);
    for index in 0..2 {
        world.give(index, Event::Exited(Exit::Status(0)));
    }
    world.settle();
    comes(&mut world, 0, 7);
    world.wires[0][2].clear();
    world.pass(TWIN_TIMEOUT * 2);
    let unconfirmed = Verdict::Unconfirmed(vec!["p2".parse().unwrap()]);
    assert_eq!(world.verdicts[0], Some(unconfirmed));
}

#[test]
fn what_fails_here_after_the_program_succeeded_is_not_the_runs_failure() {
    let mut world = World::running(3);
    world.give(0, Event::Exited(Exit::Status(0)));
    world.settle();
    world.give(0, Event::Failed(Reason::Local("the disk is full".into())));
    assert!(matches!(world.verdicts[0], Some(Verdict::Unconfirmed(_))), "{:?}", world.verdicts[0]);
    for index in 1..3 {
        world.give(index, Event::Exited(Exit::Status(0)));
    }
    world.settle();
    assert_eq!(world.verdicts[1], Some(Verdict::Completed));
}

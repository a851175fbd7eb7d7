//! A party that takes part twice: two machines have its key.

use super::super::{Event, TWIN_TIMEOUT};
use super::world::{World, at, components, entry, key};
use crate::agreement::EncodedEntry;
use crate::control::Control;
use crate::verdict::Reason;

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

//! Links over which only small packets pass: the verdict is about the link, and not about the party at
//! its other end.

use std::time::Duration;

use super::super::Event;
use super::world::{DEADLINE, GRACE, World, at};
use crate::verdict::{Reason, Remark};

const SECOND: Duration = Duration::from_secs(1);
const WHY: &str = "small packets pass and those of full size vanish";

fn stalled(peer: usize) -> Event {
    Event::Stalled(at(peer), WHY.into())
}

/// What a link to the others is said to be, at party 0.
fn is_about_the_link(world: &World, who: &[&str]) {
    assert_eq!(world.blamed(0), who);
    assert_eq!(world.failure(0).reason, Reason::Lost(WHY.into()));
}

#[test]
fn who_is_held_up_by_the_way_to_it_is_not_called_late() {
    for (since, who, link) in [(SECOND, &["p1"][..], true), (SECOND * 20, &["p1", "p2"], false)] {
        let mut world = World::new(3);
        world.link_all();
        world.prepare(0, None);
        world.pass(DEADLINE - since);
        world.give(0, stalled(1));
        world.pass(since + SECOND);
        if link {
            is_about_the_link(&world, who);
        } else {
            assert_eq!((world.blamed(0), &world.failure(0).reason), (who.to_vec(), &Reason::Late));
        }
    }
}

#[test]
fn who_was_never_reached_is_not_called_missing_where_something_answered() {
    let mut world = World::new(3);
    world.prepare_all();
    world.pass(DEADLINE - SECOND);
    world.give(0, stalled(2));
    world.pass(SECOND * 2);
    is_about_the_link(&world, &["p2"]);
}

#[test]
fn who_reaches_no_hub_calls_nobody_missing() {
    let mut world = World::new(3);
    world.prepare_all();
    world.give(0, Event::Isolated(Some(Reason::Lost(WHY.into()))));
    world.pass(DEADLINE + SECOND);
    is_about_the_link(&world, &["p1", "p2"]);
    assert_eq!(world.failure(1).reason, Reason::Missing, "that is known at party 0 alone");
}

#[test]
fn who_reached_no_hub_names_itself_unless_one_is_reached_at_last() {
    for reached in [false, true] {
        let mut world = World::new(3);
        world.prepare_all();
        let own = Reason::Local("no hub could be reached".into());
        world.give(0, Event::Isolated(Some(own.clone())));
        if reached {
            world.give(0, Event::Isolated(None));
        }
        world.pass(DEADLINE + SECOND);
        let failure = world.failure(0);
        let expected = if reached { Reason::Missing } else { own };
        assert_eq!((failure.who.len(), &failure.reason), (1 + usize::from(reached), &expected));
    }
}

#[test]
fn a_link_over_which_nothing_comes_back_is_named_and_one_that_recovers_is_not() {
    let mut world = World::running(3);
    world.give(0, stalled(1));
    world.pass(GRACE * 2);
    assert_eq!(world.verdicts, [None, None, None], "the peer was heard of since");
    world.unlink(0, 1);
    world.give(0, stalled(1));
    world.pass(GRACE + SECOND);
    is_about_the_link(&world, &["p1"]);
    let text = world.failure(0).to_string();
    assert!(text.contains(&Remark::from(WHY).to_string()), "{text}");
}

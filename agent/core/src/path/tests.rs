//! What becomes the link of two ends in a [`World`], one thing that happens to it at a time.

mod instances;
mod narrow;
mod schedules;
mod world;

use world::{KINDS, QUIC, RELAY, SECOND, TCP, World, target};

use super::*;

#[test]
fn the_best_path_there_is_becomes_the_link() {
    for (kinds, best) in [(&KINDS[..], TCP), (&KINDS[1..], QUIC), (&KINDS[2..], RELAY)] {
        let mut world = World::new(kinds);
        world.pass(SECOND);
        world.agree_on(best);
        assert!(world.changes[0] == 1, "found at once, not by way of a worse one");
    }
}

#[test]
fn a_relay_is_used_at_once_while_nothing_else_comes_up() {
    let mut world = World::new(&[RELAY]);
    world.pass(Duration::from_millis(800));
    world.agree_on(RELAY);
}

#[test]
fn a_better_path_that_opens_is_taken_within_seconds() {
    for (before, better) in [(RELAY, QUIC), (RELAY, TCP), (QUIC, TCP)] {
        let mut world = World::new(&[before]);
        world.pass(SECOND * 3);
        world.agree_on(before);
        world.open(&[better]);
        world.pass(SECOND * 2);
        world.agree_on(better);
    }
}

#[test]
fn better_paths_are_tried_ever_more_seldom_but_for_ever() {
    let mut world = World::new(&[RELAY]);
    world.pass(SECOND * 600);
    world.open(&[TCP]);
    world.pass(SECOND * 61);
    world.agree_on(TCP);
}

#[test]
fn a_silent_link_is_replaced_within_two_seconds() {
    let mut world = World::new(&KINDS);
    world.pass(SECOND * 20);
    world.kill(&[TCP]);
    world.pass(Duration::from_millis(2500));
    assert_ne!(world.kinds()[0], Some(TCP));
    world.agree_on(QUIC);
}

#[test]
fn a_link_that_comes_back_in_time_is_kept_where_there_is_no_other() {
    let mut world = World::new(&[TCP]);
    world.pass(SECOND * 20);
    let before = world.links;
    world.kill(&[TCP]);
    world.pass(SECOND);
    world.open(&[TCP]);
    world.pass(SECOND * 5);
    assert_eq!(world.links, before);
    world.agree_on(TCP);
}

#[test]
fn a_long_outage_ends_within_two_seconds_of_its_cause() {
    for kind in KINDS {
        let mut world = World::new(&[kind]);
        world.pass(SECOND * 20);
        world.kill(&KINDS);
        world.pass(SECOND * 25);
        assert_eq!(world.kinds(), [None, None]);
        world.open(&[kind]);
        world.pass(Duration::from_millis(1500));
        world.agree_on(kind);
    }
}

#[test]
fn who_has_moved_gets_another_link_as_soon_as_the_other_end_agrees() {
    for (mover, soon) in [(0, 200), (1, 1300)] {
        let mut world = World::new(&[TCP]);
        world.pass(SECOND * 20);
        let before = world.links[0].unwrap();
        world.connections.remove(&before.0);
        world.give(mover, Event::Moved { uprooted: true });
        world.pass(Duration::from_millis(soon));
        world.agree_on(TCP);
        assert!(world.links[0].unwrap().1 > before.1);
    }
}

#[test]
fn a_link_that_only_one_end_has_lost_is_replaced_by_both() {
    for lonely in 0..2 {
        let mut world = World::new(&[TCP]);
        world.pass(SECOND * 20);
        let before = world.links[0].unwrap();
        world.breaks(lonely, before.0);
        world.pass(SECOND);
        world.agree_on(TCP);
        assert!(world.links[0].unwrap().1 > before.1);
    }
}

#[test]
fn a_worse_path_never_replaces_a_good_one() {
    let mut world = World::new(&[TCP]);
    world.pass(SECOND * 20);
    let before = world.links;
    for kind in KINDS {
        world.next += 1;
        let id = world.next;
        world.connections.insert(id, (1, target(kind)));
        world.give(0, Event::Opened { id, kind, lost: 0 });
    }
    world.pass(SECOND * 5);
    assert_eq!(world.links, before);
}

#[test]
fn an_older_epoch_of_the_same_instance_is_not_adopted() {
    let mut end = Paths::new(false);
    let taken = |id, instance, epoch| Event::Taken { id, kind: TCP, instance, epoch };
    let adopts = |actions: &[Action]| actions.iter().any(|a| matches!(a, Action::Adopt(..)));
    assert!(adopts(&end.handle(SECOND, taken(1, 7, 5))));
    for epoch in [4, 5] {
        let actions = end.handle(SECOND, taken(2, 7, epoch));
        assert!(!adopts(&actions) && actions.contains(&Action::Close(2)));
    }
    assert!(adopts(&end.handle(SECOND, taken(3, 8, 1))), "one that was started anew");
}

#[test]
fn a_path_that_dies_again_and_again_is_left_alone_for_longer_each_time() {
    let mut world = World::new(&[RELAY]);
    world.pass(SECOND * 3);
    for _ in 0..100 {
        // It opens, and dies three seconds later.
        world.open(&[TCP]);
        world.pass(SECOND * 3);
        world.kill(&[TCP]);
        world.pass(SECOND * 3);
    }
    assert!(world.changes[0] < 60, "{} changes in ten minutes", world.changes[0]);
}

#[test]
fn one_who_was_asleep_does_not_suspect_the_others() {
    let mut end = Paths::new(false);
    end.handle(SECOND, Event::Taken { id: 1, kind: TCP, instance: 1, epoch: 1 });
    end.handle(SECOND * 60, Event::Tick);
    assert_eq!(end.healthy(), Some(TCP));
    for seconds in 61..65 {
        end.handle(SECOND * seconds, Event::Tick);
    }
    assert_eq!(end.healthy(), None);
}

/// Targets of one kind at these places.
fn at(places: std::ops::Range<u32>) -> Vec<Target> {
    places.map(|n| Target { kind: TCP, address: Address::new("tcp", format!("{n:05}")) }).collect()
}

#[test]
fn whoever_tells_where_a_peer_is_does_not_decide_how_much_is_dialled() {
    let mut paths = Paths::new(true);
    let mut dialled = 0;
    for n in 0..1000 {
        let now = Duration::from_millis(u64::from(n) * 10);
        let actions = paths.handle(now, Event::Targets(at(n * 32..(n + 1) * 32)));
        dialled += actions.iter().filter(|action| matches!(action, Action::Dial(_))).count();
    }
    assert!((400..=500).contains(&dialled), "{dialled} attempts in 10 s");
}

#[test]
fn who_has_waited_longest_is_tried_first() {
    let mut paths = Paths::new(true);
    // The true one sorts last, and was there before the others came.
    let known = Target { kind: TCP, address: Address::new("tcp", "true") };
    let mut tries = 0;
    for n in 0..20_u32 {
        let lies = at(n * 200..(n + 1) * 200).into_iter();
        let targets = lies.chain([known.clone()]).collect();
        for action in paths.handle(SECOND * n, Event::Targets(targets)) {
            if action == Action::Dial(known.clone()) {
                tries += 1;
                paths.handle(SECOND * n, Event::Tried(known.clone()));
            }
        }
    }
    assert!(tries >= 10, "tried {tries} times in 20 s");
}

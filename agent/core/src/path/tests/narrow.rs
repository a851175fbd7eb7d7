//! Paths over which small packets pass and those of full size vanish.

use super::world::{KINDS, QUIC, RELAY, SECOND, TCP, World};
use super::*;

/// The most that a black hole may cost, wherever it opens.
const MAX_PAUSE: Duration = Duration::from_secs(5);

#[test]
fn a_path_that_loses_what_is_large_is_left_for_another() {
    let mut world = World::new(&KINDS);
    world.narrow.insert(TCP);
    world.pass(SECOND * 3);
    assert_eq!(world.kinds(), [Some(QUIC); 2], "not the kind that died, although it is better");
    world.pass(SECOND * 10);
    world.agree_on(TCP);
    assert_eq!(world.changes[0], 3, "TCP, QUIC, and TCP with small packets");
}

#[test]
fn where_there_is_no_other_the_next_connection_sends_small_packets() {
    for kind in [TCP, RELAY] {
        let mut world = World::new(&[kind]);
        world.narrow.insert(kind);
        world.pass(MAX_PAUSE);
        world.agree_on(kind);
        assert_eq!(world.changes[0], 2, "the one that stalled, and the one that works");
        let before = world.links;
        world.pass(SECOND * 60);
        assert_eq!(world.links, before, "it flaps");
    }
}

#[test]
fn a_path_that_grows_narrow_later_is_left_as_soon() {
    for kind in [TCP, QUIC] {
        let mut world = World::new(&KINDS);
        world.open(&KINDS);
        if kind == QUIC {
            world.kill(&[TCP]);
        }
        world.pass(SECOND * 30);
        world.agree_on(kind);
        world.narrow.insert(kind);
        let before = world.changes[0];
        world.pass(MAX_PAUSE);
        assert!(world.carries(), "{:?}", world.kinds());
        world.pass(SECOND * 10);
        world.agree_on(kind);
        assert!(world.carries() && world.changes[0] - before == 2, "another, and this one again");
    }
}

#[test]
fn an_outage_is_not_taken_for_a_narrow_path() {
    for milliseconds in (0..2000).step_by(100) {
        let mut end = Paths::new(false);
        let mut actions =
            end.handle(SECOND, Event::Taken { id: 1, kind: TCP, instance: 1, epoch: 1 });
        // Whatever is sent is answered at once, until nothing is.
        let mut now = SECOND;
        while now < SECOND * 20 {
            let answered = now < SECOND * 10 + Duration::from_millis(milliseconds);
            assert!(!actions.contains(&Action::Stalled(1)), "at {now:?}");
            while let Some(number) = actions.iter().find_map(beat).filter(|_| answered) {
                actions = end.handle(now, Event::Echoed(1, number));
            }
            now = end.next_tick().max(now + Duration::from_millis(1));
            actions = end.handle(now, Event::Tick);
        }
        assert_eq!(end.healthy(), None);
    }
}

fn beat(action: &Action) -> Option<u32> {
    match action {
        Action::Beat { number, .. } => Some(*number),
        _ => None,
    }
}

#[test]
fn who_answers_nothing_is_not_said_to_be_behind_a_narrow_path() {
    let mut end = Paths::new(false);
    end.handle(SECOND, Event::Taken { id: 1, kind: TCP, instance: 1, epoch: 1 });
    for seconds in 2..30 {
        let actions = end.handle(SECOND * seconds, Event::Tick);
        assert!(!actions.contains(&Action::Stalled(1)));
    }
    assert_eq!(end.healthy(), None);
}

#[test]
fn a_second_stream_without_progress_ends_the_link() {
    let mut world = World::new(&KINDS);
    world.pass(SECOND * 20);
    let (id, _) = world.links[0].unwrap();
    world.give(0, Event::StreamStalled(id));
    world.agree_on(TCP);
    world.give(0, Event::StreamStalled(id));
    assert_eq!(world.kinds()[0], None);
    world.pass(SECOND * 2);
    world.agree_on(QUIC);
}

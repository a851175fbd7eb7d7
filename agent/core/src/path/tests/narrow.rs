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

/// One end of a fresh link, whose first beat is answered and whose beat of full size is not, until it
/// is suspect.
fn suspect() -> (Paths, Duration) {
    let mut end = Paths::new(false);
    let actions = end.handle(SECOND, Event::Taken { id: 1, kind: TCP, instance: 1, epoch: 1 });
    let first = actions.iter().find_map(beat).unwrap();
    let actions = end.handle(SECOND, Event::Echoed(1, first));
    assert!(actions.iter().any(|action| matches!(action, Action::Beat { full: true, .. })));
    let mut now = SECOND;
    while end.healthy().is_some() {
        now = end.next_tick();
        let actions = end.handle(now, Event::Tick);
        assert!(!actions.contains(&Action::Stalled(1)), "a peer that is busy does the same");
    }
    (end, now)
}

#[test]
fn a_fresh_link_stalls_where_another_comes_up_and_this_one_does_not_recover() {
    let (mut end, now) = suspect();
    let soon = now + Duration::from_millis(300);
    let actions = end.handle(soon, Event::Taken { id: 2, kind: TCP, instance: 1, epoch: 2 });
    assert!(actions.contains(&Action::Stalled(1)), "{actions:?}");
}

#[test]
fn a_peer_that_was_busy_or_has_gone_is_not_behind_a_narrow_path() {
    let taken = || Event::Taken { id: 2, kind: TCP, instance: 1, epoch: 2 };
    let (mut end, now) = suspect();
    end.handle(now + SECOND, Event::Echoed(1, 2));
    assert_eq!(end.healthy(), Some(TCP));
    assert!(!end.handle(now + SECOND, taken()).contains(&Action::Stalled(1)), "it was busy");
    let (mut end, now) = suspect();
    end.handle(now, Event::Closed(1));
    assert!(!end.handle(now, taken()).contains(&Action::Stalled(1)), "it was closed");
    let (mut end, now) = suspect();
    let late = now + SECOND * 2;
    assert!(!end.handle(late, taken()).contains(&Action::Stalled(1)), "all was silent");
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

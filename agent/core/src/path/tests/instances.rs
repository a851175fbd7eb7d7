//! A peer that is there twice: both of its instances get the link, in turns.

use super::*;

/// A controlling end whose link leads to instance 1, since a second.
fn linked() -> Paths {
    let mut end = Paths::new(true);
    end.handle(Duration::ZERO, Event::Opened { id: 1, kind: TCP, lost: 0 });
    end.handle(Duration::ZERO, Event::Introduced { id: 1, instance: 1 });
    end.handle(SECOND, Event::Tick);
    end.handle(SECOND, Event::Echoed(1, 1));
    assert_eq!(end.healthy(), Some(TCP));
    end
}

/// What comes of connection 2, of a worse kind, which leads to `instance`.
fn comes(end: &mut Paths, instance: u64) -> Vec<Action> {
    let mut actions = end.handle(SECOND, Event::Opened { id: 2, kind: RELAY, lost: 0 });
    assert_eq!(actions, [], "it may be another instance");
    actions.extend(end.handle(SECOND, Event::Introduced { id: 2, instance }));
    actions
}

#[test]
fn another_instance_gets_the_link_at_once_and_the_same_one_no_second() {
    assert_eq!(comes(&mut linked(), 1), [Action::Close(2)]);
    let actions = comes(&mut linked(), 2);
    assert!(actions.contains(&Action::Use(2, 2)) && actions.contains(&Action::Close(1)));
}

#[test]
fn each_instance_has_its_turn() {
    let mut end = linked();
    comes(&mut end, 2);
    end.handle(SECOND, Event::Opened { id: 3, kind: RELAY, lost: 1 });
    let early = end.handle(SECOND, Event::Introduced { id: 3, instance: 1 });
    assert!(!early.iter().any(|action| matches!(action, Action::Use(..) | Action::Close(_))));
    let due = end.next_tick();
    assert!(due <= SECOND * 2);
    end.handle(SECOND + Duration::from_millis(10), Event::Echoed(2, 1));
    let mut actions = Vec::new();
    for step in 1..=10 {
        actions.extend(end.handle(SECOND + Duration::from_millis(100) * step, Event::Tick));
    }
    assert!(actions.contains(&Action::Use(3, 3)), "{actions:?}");
}

#[test]
fn one_that_does_not_say_which_instance_it_is_does_not_stay() {
    let mut end = linked();
    end.handle(SECOND, Event::Opened { id: 2, kind: TCP, lost: 0 });
    let mut actions = Vec::new();
    for step in 1..=4 {
        let number = 1 + step;
        actions.extend(end.handle(SECOND * (1 + step), Event::Tick));
        end.handle(SECOND * (1 + step), Event::Echoed(1, number));
    }
    assert!(actions.contains(&Action::Close(2)), "{actions:?}");
    assert!(!actions.iter().any(|action| matches!(action, Action::Use(..))), "{actions:?}");
}

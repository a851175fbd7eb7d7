//! Parties of a session that name others in it than their peers do.

use super::super::{Action, COMPARISON_TIMEOUT, Event, Run, Stage, Timeouts};
use super::world::{DEADLINE, GRACE, World, at, key};
use crate::claims::Fingerprint;
use crate::control::Control;
use crate::roster::Roster;
use crate::verdict::{Failure, HeldRoster, Reason, Verdict};
use std::time::Duration;

fn roster(names: &[&str]) -> Roster {
    let names: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
    names.try_into().unwrap()
}

/// A run of the first of these parties.
struct Of(Run, Vec<Action>);

impl Of {
    fn new(names: &[&str]) -> Self {
        let timeouts = Timeouts { deadline: DEADLINE, grace: GRACE };
        Self(Run::new(at(0), roster(names), Fingerprint([0; 32]), timeouts), Vec::new())
    }

    fn take(&mut self, seconds: u64, event: Event) {
        self.1.extend(self.0.handle(Duration::from_secs(seconds), event));
    }

    /// The peer at this index is linked, and says that it names these.
    fn link(&mut self, seconds: u64, peer: usize, names: &[&str]) {
        self.take(seconds, Event::Linked(at(peer), key(peer)));
        self.take(seconds, Event::Received(at(peer), Control::Roster(roster(names))));
    }

    fn failure(&self) -> Option<&Failure> {
        self.1.iter().find_map(|action| match action {
            Action::End(Verdict::Failed(failure)) => Some(failure),
            _ => None,
        })
    }

    fn blamed(&self) -> Vec<&str> {
        self.failure().map_or(Vec::new(), |f| f.who.iter().map(|name| name.as_str()).collect())
    }
}

const FOUR: [&str; 4] = ["alice", "bob", "carol", "dave"];
const THREE: [&str; 3] = ["alice", "bob", "carol"];

#[test]
fn whoever_has_added_one_is_told_so_by_those_who_are_there() {
    let mut alice = Of::new(&FOUR);
    alice.link(1, 1, &THREE);
    alice.link(2, 2, &THREE);
    assert_eq!(alice.failure(), None, "dave may tell who is the odd one out");
    let due = Duration::from_secs(1) + COMPARISON_TIMEOUT;
    assert_eq!(alice.0.next_tick(), Some(due));
    alice.take(due.as_secs(), Event::Tick);
    assert_eq!(alice.blamed(), ["alice"]);
    let text = alice.failure().unwrap().to_string();
    let rosters =
        "the rosters differ: alice has alice, bob, carol, dave; bob, carol have alice, bob, carol";
    assert!(text.starts_with(&format!("alice: {rosters} (stage find")), "{text}");
}

#[test]
fn with_all_there_nobody_waits() {
    let mut bob = Of::new(&["bob", "alice", "carol"]);
    bob.link(1, 1, &["alice", "bob"]);
    bob.link(1, 2, &["bob", "alice", "carol"]);
    assert_eq!(bob.blamed(), ["alice"]);
    let Reason::Rosters(rosters) = &bob.failure().unwrap().reason else { panic!() };
    let alices =
        HeldRoster { parties: vec!["alice".parse().unwrap()], roster: roster(&["alice", "bob"]) };
    assert_eq!((rosters.len(), &rosters[0]), (2, &alices));
}

#[test]
fn another_order_is_another_roster() {
    let mut alice = Of::new(&["alice", "bob"]);
    alice.link(1, 1, &["bob", "alice"]);
    assert_eq!(alice.blamed(), ["alice", "bob"], "nobody knows which one is right");
    let mut bob = Of::new(&["bob", "alice"]);
    bob.link(1, 1, &["alice", "bob"]);
    assert_eq!(bob.failure().unwrap().who, alice.failure().unwrap().who);
    assert_eq!(bob.failure().unwrap().reason, alice.failure().unwrap().reason);
}

#[test]
fn whom_the_other_roster_names_may_tell_who_is_the_odd_one_out() {
    let mut alice = Of::new(&["alice", "bob"]);
    alice.link(1, 1, &THREE);
    assert_eq!(alice.failure(), None, "carol may have the same as either");
    alice.take(1 + COMPARISON_TIMEOUT.as_secs(), Event::Tick);
    assert_eq!(alice.blamed(), ["alice", "bob"]);
    let mut bob = Of::new(&["bob", "alice", "carol"]);
    bob.link(1, 1, &["alice", "bob"]);
    assert_eq!(bob.failure(), None);
    bob.link(2, 2, &["bob", "alice", "carol"]);
    assert_eq!(bob.blamed(), ["alice"]);
}

#[test]
fn who_comes_after_the_verdict_is_told() {
    let mut alice = Of::new(&THREE);
    alice.link(1, 1, &["alice", "bob"]);
    alice.take(1 + COMPARISON_TIMEOUT.as_secs(), Event::Tick);
    let failure = alice.failure().unwrap().clone();
    alice.take(5, Event::Linked(at(2), key(2)));
    assert_eq!(alice.1.last(), Some(&Action::Send(at(2), Control::Abort(failure))));
    // It stays until both have heard it.
    alice.take(5, Event::Received(at(1), Control::Noted));
    assert!(!alice.1.contains(&Action::Leave));
    alice.take(5, Event::Received(at(2), Control::Noted));
    assert!(alice.1.contains(&Action::Leave));
}

#[test]
fn whoever_comes_back_with_the_same_roster_is_welcome() {
    let mut alice = Of::new(&THREE);
    alice.link(1, 1, &FOUR);
    alice.take(2, Event::Unlinked(at(1), "it ended".into()));
    alice.link(3, 1, &THREE);
    alice.take(60, Event::Tick);
    assert_eq!(alice.failure(), None);
    // The next difference is given its time as well.
    alice.link(60, 1, &FOUR);
    alice.take(60 + COMPARISON_TIMEOUT.as_secs() - 1, Event::Tick);
    assert_eq!(alice.failure(), None);
}

#[test]
fn once_all_have_agreed_the_entries_count() {
    let mut world = World::running(3);
    world.give(0, Event::Received(at(1), Control::Roster(roster(&FOUR))));
    world.settle();
    assert_eq!((world.runs[0].stage(), &world.verdicts[0]), (Stage::Run, &None));
}

#[test]
fn what_others_say_of_rosters_is_bounded() {
    let mut world = World::running(3);
    let p2 = world.runs[2].roster.get(at(2)).unwrap().clone();
    let held = HeldRoster { parties: vec![p2.clone(); 1000], roster: roster(&FOUR) };
    let (who, observer) = (vec![p2.clone()], p2);
    let reason = Reason::Rosters(vec![held; 1000]);
    let failure = Failure { who, stage: Stage::Run, reason, observer, via: None };
    world.give(0, Event::Received(at(2), Control::Abort(failure)));
    let Reason::Rosters(rosters) = &world.failure(0).reason else { panic!() };
    assert!(rosters.len() <= 4 && rosters.iter().all(|held| held.parties.len() <= 3));
}

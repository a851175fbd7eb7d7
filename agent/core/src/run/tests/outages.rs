//! Links that die and come back, at any moment and as often as they like.

use std::time::Duration;

use super::super::{EXPLANATION_TIMEOUT, Event, TWIN_TIMEOUT};
use super::world::{DEADLINE, GRACE, World, at};
use crate::control::Control;
use crate::verdict::{Exit, Failure, Reason, Stage, Verdict};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_peer_that_is_away_has_the_grace_time_to_come_back() {
    let mut world = World::running(3);
    world.unlink(0, 1);
    world.pass(GRACE - SECOND);
    assert_eq!(world.verdicts, [None, None, None]);
    world.link(0, 1);
    world.pass(GRACE * 2);
    assert_eq!(world.verdicts, [None, None, None]);
    world.unlink(0, 1);
    world.pass(GRACE + SECOND);
    for index in 0..3 {
        let failure = world.failure(index);
        assert!(matches!(&failure.reason, Reason::Lost(_)), "{failure}");
        assert!(failure.to_string().contains("reset; it was not back within 30 s"), "{failure}");
    }
}

#[test]
fn who_did_not_listen_accuses_nobody_of_silence() {
    let mut world = World::running(3);
    let now = world.now + GRACE + SECOND;
    world.runs[0].listen_anew(now, SECOND * 2);
    assert_eq!(world.runs[0].handle(now, Event::Tick), []);
    assert!(!world.runs[1].handle(now, Event::Tick).is_empty(), "this one listened");
    let now = now + GRACE;
    assert!(!world.runs[0].handle(now, Event::Tick).is_empty(), "it has listened since");
}

#[test]
fn who_stood_still_for_the_grace_time_names_itself() {
    for (still, names_itself) in
        [(GRACE * 2, true), (GRACE - SECOND / 2, true), (SECOND * 3, false)]
    {
        let mut world = World::running(2);
        let now = world.now + still;
        world.runs[0].listen_anew(now, still);
        assert_eq!(world.runs[0].handle(now, Event::Tick), []);
        // The other has gone, and what it said last is lost.
        world.now = now;
        world.frozen = vec![1];
        world.pass(GRACE + SECOND);
        assert_eq!(world.blamed(0), [if names_itself { "p0" } else { "p1" }]);
    }
    let mut world = World::running(2);
    world.freeze(0, GRACE - SECOND * 3);
    world.pass(GRACE * 2);
    assert_eq!(world.verdicts, [None, None]);
}

#[test]
fn who_stands_still_again_and_again_names_who_is_gone() {
    let mut world = World::running(2);
    world.unlink(0, 1);
    let mut awake = Duration::ZERO;
    while world.verdicts[0].is_none() {
        assert!(awake <= GRACE, "it waits for ever");
        world.freeze(0, SECOND * 2);
        world.frozen = vec![1];
        world.pass(SECOND * 3);
        awake += SECOND * 3;
    }
    assert_eq!(world.blamed(0), ["p1"]);
    assert!(awake + SECOND * 3 >= GRACE, "{awake:?}");
}

#[test]
fn the_deadline_is_for_the_time_in_which_a_party_looked_for_the_others() {
    let half = DEADLINE / 2;
    let mut world = World::new(3);
    world.pass(half);
    world.freeze(0, DEADLINE - SECOND * 2);
    assert_eq!(world.verdicts[0], None);
    assert_eq!(world.runs[0].time_left(world.now), half);
    world.pass(half);
    assert_eq!(world.blamed(0), ["p1", "p2"]);
    // They may have waited for it all the time.
    let mut world = World::new(3);
    world.freeze(0, DEADLINE - SECOND / 2);
    world.pass(DEADLINE);
    assert_eq!(world.blamed(0), ["p0"]);
    assert!(world.failure(0).to_string().contains("; not there: p1, p2 (stage find"));
}

#[test]
fn what_was_lost_with_a_link_is_said_on_the_next() {
    // Each message of the way to the start is lost once, in every combination of the three pairs.
    for lost in 1..200 {
        let mut world = World::new(3);
        world.link_all();
        world.prepare_all();
        for _ in 0..lost {
            world.deliver(lost);
        }
        for (a, b) in world.pairs() {
            world.unlink(a, b);
        }
        world.pass(SECOND);
        world.link_all();
        world.settle();
        assert!(world.started.iter().all(Option::is_some), "{lost}: {:?}", world.verdicts);
    }
}

#[test]
fn a_peer_that_was_started_anew_ends_the_run_of_the_others_and_all_say_so() {
    for picks in 0..20 {
        let mut world = World::running(3);
        world.restart(1, 2);
        assert_eq!(world.verdicts, [None, None, None]);
        world.link_all();
        while world.deliver(picks) {}
        assert!(world.left[1], "it is told at once");
        world.pass(TWIN_TIMEOUT + SECOND);
        for index in 0..3 {
            assert_eq!(world.blamed(index), ["p1"]);
            assert!(world.failure(index).to_string().contains("it was started anew"));
        }
    }
}

#[test]
fn nobody_unlinks_who_was_started_anew_again_and_again() {
    let mut world = World::running(2);
    world.restart(1, 2);
    world.unlinks = 0;
    world.link_all();
    world.settle();
    assert_eq!(world.unlinks, 0);
}

/// Three run; the program of the middle one has succeeded, and its streams have ended at the others.
fn with_one_finished() -> World {
    let mut world = World::running(3);
    for peer in [0, 2] {
        world.give(peer, Event::StreamBegan(at(1)));
    }
    world.give(1, Event::Exited(Exit::Status(0)));
    world.settle();
    for peer in [0, 2] {
        world.give(peer, Event::StreamEnded(at(1)));
    }
    world
}

#[test]
fn who_has_finished_and_is_not_needed_may_be_started_anew() {
    let mut world = with_one_finished();
    world.restart(1, 2);
    world.link_all();
    world.settle();
    assert_eq!(world.blamed(1), ["p1"], "the run of the others is not for it");
    world.pass(GRACE * 2);
    assert_eq!([&world.verdicts[0], &world.verdicts[2]], [&None, &None]);
    for peer in [0, 2] {
        world.give(peer, Event::Exited(Exit::Status(0)));
    }
    world.settle();
    assert_eq!(world.verdicts[0], Some(Verdict::Completed));
    assert_eq!(world.verdicts[2], Some(Verdict::Completed));
}

#[test]
fn who_shows_no_entry_is_not_heard_of() {
    let mut world = World::running(2);
    world.unlink(0, 1);
    world.give(0, Event::Linked(at(1), super::world::key(1)));
    for _ in 0..10 {
        world.pass(GRACE / 10 + SECOND / 5);
        world.give(0, Event::Received(at(1), Control::Beat(0)));
    }
    assert_eq!(world.blamed(0), ["p1"]);
}

#[test]
fn an_abort_of_another_instance_ends_no_run() {
    let mut world = World::running(3);
    let observer = world.runs[0].roster.get(at(2)).unwrap().clone();
    let who = vec![observer.clone()];
    let failure = Failure { who, stage: Stage::Find, reason: Reason::Stopped, observer, via: None };
    world.give(0, Event::Linked(at(2), super::world::key(2)));
    world.give(0, Event::Received(at(2), Control::Abort(failure)));
    world.give(0, Event::Unlinked(at(2), "the peer closed it".into()));
    assert_eq!(world.verdicts[0], None);
    world.link(0, 2);
    world.settle();
    world.pass(GRACE * 2);
    assert_eq!(world.verdicts, [None, None, None]);
    // The known one says who it is first, on each link.
    world.unlink(0, 2);
    world.give(2, Event::Failed(Reason::Stopped));
    world.link(0, 2);
    world.settle();
    assert_eq!((world.blamed(0), &world.failure(0).reason), (vec!["p2"], &Reason::Stopped));
}

#[test]
fn another_key_is_not_the_same_peer() {
    let mut world = World::running(2);
    world.unlink(0, 1);
    let actions = world.runs[0].handle(world.now, Event::Linked(at(1), super::world::key(7)));
    assert_eq!(actions, [super::super::Action::Unlink(at(1))]);
}

#[test]
fn a_last_word_is_said_until_it_is_heard() {
    for failing in [false, true] {
        let mut world = World::running(2);
        world.give(1, Event::Exited(Exit::Status(0)));
        world.settle();
        world.give(0, Event::Exited(Exit::Status(i32::from(failing))));
        assert!(world.verdicts[0].is_some() && !world.left[0], "it waits for the other to hear it");
        world.unlink(0, 1);
        world.pass(SECOND * 3);
        assert!(world.verdicts[1].is_none() && !world.left[0]);
        world.link(0, 1);
        world.settle();
        assert_eq!(world.verdicts[1].is_some(), world.verdicts[0].is_some());
        assert_eq!(world.left, [true, true]);
        match failing {
            true => assert_eq!(world.blamed(1), ["p0"]),
            false => assert_eq!(world.verdicts[1], Some(Verdict::Completed)),
        }
    }
}

#[test]
fn nobody_stays_for_ever_to_say_it() {
    let mut world = World::running(2);
    world.unlink(0, 1);
    world.give(0, Event::Failed(Reason::Stopped));
    world.pass(SECOND * 6);
    assert!(world.left[0]);
    let mut world = World::running(2);
    world.give(1, Event::Exited(Exit::Status(0)));
    world.settle();
    world.unlink(0, 1);
    world.give(0, Event::Exited(Exit::Status(0)));
    world.pass(GRACE - SECOND);
    assert!(!world.left[0]);
    world.give(0, Event::Failed(Reason::Stopped));
    assert!(world.left[0], "asked to end, it does");
}

#[test]
fn a_lost_last_report_leaves_it_unconfirmed() {
    let mut world = World::running(3);
    world.unlink(0, 1);
    for index in 0..3 {
        world.give(index, Event::Exited(Exit::Status(0)));
    }
    world.pass(GRACE + SECOND);
    let unconfirmed = |who: &str| Some(Verdict::Unconfirmed(vec![who.parse().unwrap()]));
    assert_eq!(world.verdicts, [unconfirmed("p1"), unconfirmed("p0"), Some(Verdict::Completed)]);
}

#[test]
fn only_those_whose_last_report_is_lost_are_unconfirmed() {
    let mut world = World::running(3);
    world.give(0, Event::Exited(Exit::Status(0)));
    world.settle();
    world.unlink(0, 1);
    world.pass(GRACE + SECOND);
    assert_eq!(world.verdicts[0], Some(Verdict::Unconfirmed(vec!["p1".parse().unwrap()])));
}

#[test]
fn a_peer_that_is_done_owes_what_its_streams_still_hold() {
    for (begun, ended, owes) in [(0, 0, true), (1, 0, true), (2, 1, true), (1, 1, false)] {
        let mut world = World::running(2);
        (0..ended).for_each(|_| world.give(0, Event::StreamEnded(at(1))));
        (0..begun).for_each(|_| world.give(0, Event::StreamBegan(at(1))));
        world.give(1, Event::Exited(Exit::Status(0)));
        world.settle();
        world.unlink(0, 1);
        world.pass(GRACE + SECOND);
        if owes {
            assert_eq!(world.blamed(0), ["p1"], "{ended} of {begun} streams have ended");
            continue;
        }
        assert_eq!(world.verdicts[0], None, "it may take its time");
        world.give(0, Event::Exited(Exit::Status(0)));
        assert_eq!(world.verdicts[0], Some(Verdict::Completed));
    }
}

#[test]
fn stopped_after_its_success_it_has_not_failed() {
    let mut world = World::running(2);
    world.give(0, Event::Exited(Exit::Status(0)));
    world.settle();
    world.give(0, Event::Failed(Reason::Stopped));
    assert_eq!(world.verdicts[0], Some(Verdict::Unconfirmed(vec!["p1".parse().unwrap()])));
    world.give(1, Event::Exited(Exit::Status(0)));
    assert_eq!(world.verdicts[1], Some(Verdict::Completed));
}

#[test]
fn who_could_explain_a_failure_is_waited_for() {
    let mut world = World::running(2);
    world.give(1, Event::StreamEnded(at(0)));
    world.unlink(0, 1);
    world.give(0, Event::Exited(Exit::Signal(9)));
    world.give(1, Event::Exited(Exit::Status(1)));
    world.pass(EXPLANATION_TIMEOUT * 2);
    assert_eq!(world.verdicts[1], None);
    world.link(0, 1);
    world.settle();
    assert_eq!(world.blamed(1), ["p0"]);
}

#[test]
fn nobody_waits_for_who_has_finished_and_gone_to_tell_a_failure() {
    let mut world = with_one_finished();
    world.give(1, Event::Failed(Reason::Stopped));
    world.unlink(0, 1);
    world.unlink(1, 2);
    world.give(0, Event::Exited(Exit::Status(1)));
    world.pass(EXPLANATION_TIMEOUT * 2);
    assert_eq!((world.blamed(0), world.blamed(2)), (vec!["p0"], vec!["p0"]));
}

#[test]
fn a_different_second_statement_is_a_fault() {
    let old = World::running(2).started[0].unwrap();
    let mut world = World::running(3);
    let list = world.runs[0].agreement.as_ref().unwrap().list().unwrap();
    world.give(0, Event::Received(at(1), Control::List(list.clone())));
    world.give(0, Event::Received(at(1), Control::Ready(world.started[0].unwrap())));
    assert_eq!(world.verdicts[0], None, "what was said before is no news");
    for changed in [Control::List(list[..2].to_vec()), Control::Ready(old)] {
        let mut world = World::running(3);
        world.give(0, Event::Received(at(1), changed));
        assert_eq!(world.blamed(0), ["p1"]);
        assert!(matches!(world.failure(0).reason, Reason::Protocol(_)));
    }
}

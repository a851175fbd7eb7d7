//! Nothing of an entry is passed over: a label that is more, less, changed or unknown, and bytes
//! that this version does not know.

use super::super::{Event, Stage, TWIN_TIMEOUT};
use super::world::{World, at, components, entry, with_more};
use crate::agreement::EncodedEntry;
use crate::component::Components;
use crate::control::Control;
use crate::label::Label;
use crate::verdict::Reason;

/// Three parties are linked; all but the party at `position` would run the usual.
fn all_but(position: usize) -> World {
    let mut world = World::new(3);
    world.link_all();
    (0..3).filter(|&i| i != position).for_each(|i| world.prepare(i, None));
    world
}

/// The party at `position` would run `theirs`: all name it, and `label`, and nothing starts.
fn differs(position: usize, theirs: &Components, label: &Label) {
    let mut world = all_but(position);
    let own = entry(&world.runs[0].roster, position, theirs, 1);
    world.prepare_as(position, theirs.clone(), own);
    world.settle();
    for index in 0..3 {
        assert_eq!(world.blamed(index), [format!("p{position}")], "{label} at {index}");
        assert_eq!(world.failure(index).reason, Reason::Differs(vec![label.clone()]));
    }
    assert_eq!((&world.agreed, &world.started), (&vec![None; 3], &vec![None; 3]));
}

fn parts<'a>(
    without: Option<&'a Label>,
    more: Option<Label>,
) -> impl Iterator<Item = (Label, Vec<Vec<u8>>)> + 'a {
    let known = Label::KNOWN.iter().map(|(label, _)| label.clone());
    let kept = known.filter(move |label| Some(label) != without);
    kept.chain(more).map(|label| (label, vec![vec![0]]))
}

#[test]
fn each_difference_names_the_odd_one_out() {
    for (label, _) in Label::KNOWN {
        for position in 0..3 {
            differs(position, &components(Some(label)), label);
        }
    }
}

#[test]
fn a_label_less_is_a_difference() {
    for (label, _) in Label::KNOWN {
        differs(1, &Components::new(parts(Some(label), None)), label);
    }
}

#[test]
fn a_label_more_is_a_difference_whether_it_is_known_or_not() {
    let unknown: Label = "gadget".parse().unwrap();
    for position in 0..3 {
        differs(position, &Components::new(parts(None, Some(unknown.clone()))), &unknown);
    }
    // Known to this version, and not sent by the others.
    let fewer = || Components::new(parts(Some(&Label::MESSAGE_FORMAT), None));
    let mut world = World::new(3);
    world.link_all();
    for index in [0, 2] {
        let own = entry(&world.runs[0].roster, index, &fewer(), 1);
        world.prepare_as(index, fewer(), own);
    }
    world.prepare(1, None);
    world.settle();
    for index in 0..3 {
        assert_eq!(world.blamed(index), ["p1"]);
        assert_eq!(world.failure(index).reason, Reason::Differs(vec![Label::MESSAGE_FORMAT]));
    }
}

#[test]
fn an_unknown_label_is_said_to_be_one() {
    let mut world = all_but(1);
    let theirs = Components::new(parts(None, Some("gadget".parse().unwrap())));
    let own = entry(&world.runs[0].roster, 1, &theirs, 1);
    world.prepare_as(1, theirs, own);
    world.settle();
    let said = world.failure(0).to_string();
    assert!(said.contains("something this version does not know: gadget"), "{said}");
}

/// The party at position 2 sends these entries to the other two.
fn says(world: &mut World, entries: [&EncodedEntry; 2]) {
    for (index, entry) in entries.into_iter().enumerate() {
        world.give(index, Event::Received(at(2), Control::Entry(entry.clone())));
    }
    world.settle();
}

#[test]
fn two_entries_that_differ_in_what_this_version_does_not_know_never_agree() {
    let plain = entry(&World::new(3).runs[0].roster, 2, &components(None), 1);
    for (one, two) in [(&b""[..], &b"x"[..]), (b"x", b"y"), (b"x", b"xx"), (&[0; 9], &[0; 8])] {
        let mut world = all_but(2);
        says(&mut world, [&with_more(&plain, one), &with_more(&plain, two)]);
        world.pass(TWIN_TIMEOUT * 2);
        for index in 0..2 {
            let failure = world.failure(index);
            assert!(matches!(failure.reason, Reason::Inconsistent(_)), "{failure}");
            assert!(world.blamed(index).contains(&"p2"), "{failure}");
        }
        assert_eq!((&world.agreed, &world.started), (&vec![None; 3], &vec![None; 3]));
    }
}

#[test]
fn what_this_version_does_not_know_is_passed_on_as_it_came() {
    let roster = World::new(3).runs[0].roster.clone();
    let own = with_more(&entry(&roster, 2, &components(None), 1), b"of a later version");
    let mut world = all_but(2);
    world.prepare_as(2, components(None), own.clone());
    world.settle();
    assert!(world.started.iter().all(Option::is_some), "{:?}", world.verdicts);
    for run in &world.runs {
        let list = run.agreement.as_ref().unwrap().list().unwrap();
        assert_eq!(list[2], own);
    }
    let without = World::running(3);
    assert_ne!(without.started[0], world.started[0], "the run's id covers every byte");
}

#[test]
fn an_entry_that_cannot_be_read_is_its_senders_fault() {
    let roster = World::new(3).runs[0].roster.clone();
    let good = entry(&roster, 2, &components(None), 1);
    let long = vec![0; EncodedEntry::MAX_BYTES + 1 - good.as_bytes().len()];
    let cut = &good.as_bytes()[..good.as_bytes().len() - 1];
    for bad in [with_more(&good, &long), cut.to_vec().into(), Vec::new().into()] {
        for prepared_first in [true, false] {
            let mut world = World::new(3);
            world.link_all();
            if prepared_first {
                world.prepare(0, None);
            }
            world.give(0, Event::Received(at(2), Control::Entry(bad.clone())));
            world.prepare(0, None);
            assert_eq!(world.blamed(0), ["p2"]);
            assert!(matches!(world.failure(0).reason, Reason::Protocol(_)));
        }
    }
}

#[test]
fn an_entry_of_ones_own_that_nobody_could_read_is_ones_own_fault() {
    let mut world = all_but(2);
    let long = vec![0; EncodedEntry::MAX_BYTES];
    let own = with_more(&entry(&world.runs[0].roster, 2, &components(None), 1), &long);
    world.prepare_as(2, components(None), own);
    world.settle();
    for index in 0..3 {
        assert_eq!(world.blamed(index), ["p2"]);
        assert!(matches!(world.failure(index).reason, Reason::Local(_)));
    }
}

#[test]
fn a_list_in_which_one_byte_differs_is_a_contradiction() {
    let mut world = World::new(3);
    world.link_all();
    (0..3).for_each(|i| world.prepare(i, None));
    let mut list = Vec::new();
    for index in 0..3 {
        list.push(world.runs[index].agreement.as_ref().unwrap().own().unwrap().clone());
    }
    for index in [1, 2] {
        world.give(0, Event::Received(at(index), Control::Entry(list[index].clone())));
    }
    assert_eq!(world.runs[0].stage(), Stage::Agree);
    list[1] = with_more(&list[1], b"x");
    world.give(0, Event::Received(at(2), Control::List(list)));
    // What p2 itself sends is still under way.
    world.wait(TWIN_TIMEOUT * 2);
    let said = world.failure(0).to_string();
    assert!(said.contains("p2 holds another entry of p1 than p0 does"), "{said}");
}

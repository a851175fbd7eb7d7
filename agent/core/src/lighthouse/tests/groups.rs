//! Whom an announcement admits by group.

use super::*;

fn join(fixture: &mut Fixture, party: &str, groups: &[&str]) -> ConnectionId {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    let member = Member { party: name(party), groups };
    fixture.0.connect(member, at("203.0.113.1:5"), Transport::Tcp, 0).unwrap().0
}

fn admit(fixture: &mut Fixture, id: ConnectionId, groups: &[&str]) -> Vec<Action> {
    let groups = groups.iter().map(|group| group.parse().unwrap()).collect();
    fixture.0.hear(id, Request::Admit { tag: tag("demo"), groups })
}

#[test]
fn a_group_sees_and_calls_and_nobody_else_does() {
    let mut fixture = Fixture::new();
    let admin = join(&mut fixture, "carol", &["lab", "admins"]);
    let others = [join(&mut fixture, "eve", &["lab"]), join(&mut fixture, "admins", &[])];
    for id in [admin, others[0], others[1]] {
        fixture.watch(id, &["bob"]);
    }
    let bob = fixture.connect("bob", "203.0.113.2:6");
    assert_eq!(fixture.announce(bob, &["192.0.2.1:1"], &[]), []);
    let seen = present(admin, "bob", &["203.0.113.2:1", "192.0.2.1:1"]);
    assert_eq!(admit(&mut fixture, bob, &["admins"]), [seen]);
    let callee = |party: &str, groups: &[&str]| {
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        fixture.0.callee(&name(party), &groups, tag("demo"), &name("bob"))
    };
    assert_eq!(callee("carol", &["admins"]), Some(bob));
    assert_eq!([callee("eve", &["lab"]), callee("admins", &[])], [None, None]);
}

#[test]
fn groups_outlive_announcements_and_are_replaced_by_others() {
    let mut fixture = Fixture::new();
    let carol = join(&mut fixture, "carol", &["admins"]);
    fixture.watch(carol, &["bob"]);
    let bob = fixture.connect("bob", "203.0.113.2:6");
    fixture.announce(bob, &["192.0.2.1:1"], &[]);
    admit(&mut fixture, bob, &["admins"]);
    let moved = present(carol, "bob", &["203.0.113.2:2", "192.0.2.1:2"]);
    assert_eq!(fixture.announce(bob, &["192.0.2.1:2"], &[]), [moved]);
    let gone = Answer::Gone { party: name("bob"), tag: tag("demo") };
    assert_eq!(admit(&mut fixture, bob, &["others"]), [Action::Send(carol, gone)]);
    assert_eq!(fixture.0.disconnect(bob), []);
}

#[test]
fn what_is_admitted_was_announced_and_is_bounded() {
    let mut fixture = Fixture::new();
    let bob = fixture.connect("bob", "203.0.113.2:6");
    assert_eq!(admit(&mut fixture, bob, &["admins"]), [Action::Close(bob, Reason::Instance)]);
    fixture.announce(bob, &["192.0.2.1:1"], &[]);
    let many: Vec<String> = (0..65).map(|number| format!("g{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(admit(&mut fixture, bob, &many), [Action::Close(bob, Reason::TooMuch)]);
    assert_eq!(admit(&mut fixture, bob, &many[..64]), []);
}

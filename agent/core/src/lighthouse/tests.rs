use super::*;
use crate::key::Fingerprint;
use proptest::prelude::*;

fn name(text: &str) -> PartyName {
    text.parse().unwrap()
}

fn tag(session: &str) -> Tag {
    Tag::new(&Fingerprint([1; 32]), &session.parse().unwrap(), &[])
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

struct Sea(Lighthouse);

impl Sea {
    fn new() -> Self {
        Self(Lighthouse::new(Limits::default()))
    }

    fn connect(&mut self, party: &str, from: &str) -> ConnectionId {
        self.0.connect(name(party), at(from)).unwrap().0
    }

    fn announce(&mut self, id: ConnectionId, candidates: &[&str], allow: &[&str]) -> Vec<Action> {
        let candidates = candidates.iter().map(|c| at(c)).collect();
        let allow = allow.iter().map(|a| name(a)).collect();
        self.0.hear(id, Request::Announce { tag: tag("demo"), candidates, allow })
    }

    fn watch(&mut self, id: ConnectionId, parties: &[&str]) -> Vec<Action> {
        let parties = parties.iter().map(|p| name(p)).collect();
        self.0.hear(id, Request::Watch { tag: tag("demo"), parties })
    }
}

fn present(to: ConnectionId, party: &str, candidates: &[&str]) -> Action {
    let candidates = candidates.iter().map(|c| at(c)).collect();
    Action::Send(to, Answer::Present { party: name(party), tag: tag("demo"), candidates })
}

fn gone(to: ConnectionId, party: &str) -> Action {
    Action::Send(to, Answer::Gone { party: name(party), tag: tag("demo") })
}

#[test]
fn parties_find_each_other_in_either_order() {
    let mut sea = Sea::new();
    let (alice, bob) = (sea.connect("alice", "203.0.113.1:5"), sea.connect("bob", "203.0.113.2:6"));
    assert_eq!(sea.watch(alice, &["bob"]), []);
    let seen = ["203.0.113.2:4747", "192.168.1.2:4747"];
    let told = sea.announce(bob, &["192.168.1.2:4747"], &["alice"]);
    assert_eq!(told, [present(alice, "bob", &seen)]);
    assert_eq!(sea.announce(bob, &["192.168.1.2:4747"], &["alice"]), [], "nothing new");
    let late = sea.connect("alice", "203.0.113.1:7");
    assert_eq!(sea.watch(late, &["bob"]), [present(late, "bob", &seen)]);
    assert_eq!(sea.0.disconnect(bob), [gone(alice, "bob"), gone(late, "bob")]);
    assert_eq!(sea.0.disconnect(bob), []);
}

#[test]
fn a_bystander_learns_nothing_whatever_happens() {
    let mut sea = Sea::new();
    let eve = sea.connect("eve", "203.0.113.9:1");
    let bob = sea.connect("bob", "203.0.113.2:6");
    let mut heard = sea.watch(eve, &["bob", "nobody"]);
    heard.extend(sea.announce(bob, &["192.168.1.2:4747"], &["alice"]));
    heard.extend(sea.watch(eve, &["bob", "nobody"]));
    heard.extend(sea.announce(bob, &["192.168.1.2:4748"], &["alice"]));
    heard.extend(sea.0.disconnect(bob));
    heard.extend(sea.watch(eve, &["bob"]));
    assert_eq!(heard, []);
}

#[test]
fn another_tag_is_another_world() {
    let mut sea = Sea::new();
    let (alice, bob) = (sea.connect("alice", "203.0.113.1:5"), sea.connect("bob", "203.0.113.2:6"));
    let parties = vec![name("bob")];
    sea.0.hear(alice, Request::Watch { tag: tag("other"), parties });
    assert_eq!(sea.announce(bob, &["192.168.1.2:4747"], &["alice"]), []);
}

#[test]
fn who_is_allowed_no_longer_hears_that_it_is_over() {
    let mut sea = Sea::new();
    let (alice, bob) = (sea.connect("alice", "203.0.113.1:5"), sea.connect("bob", "203.0.113.2:6"));
    sea.watch(alice, &["bob"]);
    sea.announce(bob, &["192.168.1.2:4747"], &["alice"]);
    assert_eq!(sea.announce(bob, &["192.168.1.2:4747"], &["carol"]), [gone(alice, "bob")]);
}

#[test]
fn a_restarted_instance_replaces_its_predecessor_without_a_gap() {
    let mut sea = Sea::new();
    let (alice, old) = (sea.connect("alice", "203.0.113.1:5"), sea.connect("bob", "203.0.113.2:6"));
    sea.watch(alice, &["bob"]);
    sea.announce(old, &["192.168.1.2:1"], &["alice"]);
    let new = sea.connect("bob", "203.0.113.3:6");
    let seen = ["203.0.113.3:2", "192.168.1.2:2"];
    let told = sea.announce(new, &["192.168.1.2:2"], &["alice"]);
    assert_eq!(told, [present(alice, "bob", &seen)]);
    assert_eq!(sea.0.disconnect(old), []);
}

#[test]
fn loopback_stays_on_the_machine() {
    let mut sea = Sea::new();
    let bob = sea.connect("bob", "127.0.0.1:6");
    sea.announce(bob, &["127.0.0.1:4747", "192.168.1.2:4747"], &["alice"]);
    let here = sea.connect("alice", "127.0.0.1:5");
    let told = sea.watch(here, &["bob"]);
    assert_eq!(told, [present(here, "bob", &["127.0.0.1:4747", "192.168.1.2:4747"])]);
    let there = sea.connect("alice", "203.0.113.1:5");
    let told = sea.watch(there, &["bob"]);
    assert_eq!(told, [present(there, "bob", &["192.168.1.2:4747"])]);
    let mallory = sea.connect("mallory", "203.0.113.6:5");
    sea.announce(mallory, &["127.0.0.1:22", "169.254.169.254:80"], &["alice"]);
    let told = sea.watch(here, &["mallory"]);
    assert_eq!(told, [present(here, "mallory", &["203.0.113.6:22"])]);
}

#[test]
fn everything_is_bounded() {
    let limits = Limits { connections: 5, per_party: 2, per_address: 4, tags: 1, parties: 1 };
    let mut sea = Sea(Lighthouse::new(limits));
    let first = sea.connect("alice", "203.0.113.1:1");
    sea.connect("alice", "203.0.113.1:2");
    let (_, actions) = sea.0.connect(name("alice"), at("203.0.113.1:3")).unwrap();
    assert!(matches!(actions[0], Action::Close(oldest, _) if oldest == first));
    sea.connect("bob", "203.0.113.1:4");
    assert_eq!(sea.0.connect(name("carol"), at("203.0.113.1:5")).unwrap_err(), Full);
    let bob = sea.connect("bob", "203.0.113.2:1");
    assert_eq!(sea.0.connect(name("carol"), at("203.0.113.3:1")).unwrap_err(), Full);
    assert!(matches!(sea.watch(bob, &["a", "b"])[..], [Action::Close(..)]));
    assert!(matches!(sea.announce(bob, &[], &["a", "b"])[..], [Action::Close(..)]));
    assert_eq!(sea.watch(bob, &["a"]), []);
    let parties = vec![name("a")];
    let second = sea.0.hear(bob, Request::Watch { tag: tag("other"), parties });
    assert!(matches!(second[..], [Action::Close(..)]));
}

/// Any event of the two instances of alice, bob and eve.
fn event() -> impl Strategy<Value = (usize, u8, u16)> {
    (0usize..6, 0u8..5, 1u16..4)
}

proptest! {
    /// Whatever happens, a watcher that adds up what it was told knows exactly what it may
    /// see, and eve, whom nobody allows, is told nothing.
    #[test]
    fn what_was_told_is_what_is(events in proptest::collection::vec(event(), 1..60)) {
        let names = ["alice", "bob", "eve"];
        let mut sea = Sea::new();
        let mut ids: Vec<Option<ConnectionId>> = vec![None; 6];
        let mut known: BTreeMap<ConnectionId, BTreeMap<PartyName, Vec<SocketAddr>>> = BTreeMap::new();
        for (who, what, port) in events {
            let actions = match (ids[who], what) {
                (None, _) => {
                    let from = SocketAddr::from(([203, 0, 113, u8::try_from(who).unwrap()], 9));
                    let (id, actions) = sea.0.connect(name(names[who % 3]), from).unwrap();
                    ids[who] = Some(id);
                    actions
                }
                (Some(id), 0) => { ids[who] = None; known.remove(&id); sea.0.disconnect(id) }
                (Some(id), 1) => sea.announce(id, &[&format!("192.0.2.1:{port}")], &["alice", "bob"]),
                (Some(id), 2) => sea.announce(id, &[&format!("192.0.2.1:{port}")], &["bob"]),
                (Some(id), _) => sea.watch(id, &["alice", "bob", "eve"]),
            };
            for action in actions {
                match action {
                    Action::Send(to, Answer::Present { party, candidates, .. }) => {
                        known.entry(to).or_default().insert(party, candidates);
                    }
                    Action::Send(to, Answer::Gone { party, .. }) => {
                        prop_assert!(known.entry(to).or_default().remove(&party).is_some());
                    }
                    Action::Send(..) => {}
                    Action::Close(..) => prop_assert!(false, "nothing is over a limit"),
                }
            }
            for id in ids.iter().flatten() {
                let connection = &sea.0.connections[id];
                let watching = connection.watched.get(&tag("demo"));
                for party in watching.into_iter().flatten() {
                    let seen = sea.0.visible(connection, tag("demo"), party);
                    let told = known.get(id).and_then(|k| k.get(party)).cloned();
                    prop_assert_eq!(seen, told);
                }
                if connection.party == name("eve") {
                    prop_assert!(known.get(id).is_none_or(BTreeMap::is_empty));
                }
            }
        }
    }
}

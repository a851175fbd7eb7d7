mod groups;
mod schedules;

use super::*;
use crate::key::Fingerprint;

const TIME: u64 = 1_700_000_000;

fn name(text: &str) -> PartyName {
    text.parse().unwrap()
}

fn tag(session: &str) -> Tag {
    Tag::session(&Fingerprint([1; 32]), &session.parse().unwrap())
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// «u» in front of an address means the kind that goes over UDP.
fn addresses(texts: &[&str]) -> Vec<Address> {
    let address = |text: &&str| match text.strip_prefix('u') {
        Some(address) => Address::new("quic", address),
        None => Address::new("tcp", text),
    };
    texts.iter().map(address).collect()
}

/// What a party that announces `addresses` lets the lighthouse complete, as every party does: how its
/// UDP socket is seen, and a forwarded port like its own.
fn reflexive(addresses: &[Address]) -> Vec<Reflexive> {
    let port = |a: &&Address| a.kind == "tcp";
    let port = addresses.iter().find(port).map(|a| a.socket().unwrap().port());
    let seen = Reflexive { kind: "quic".to_owned(), port: None };
    let forwarded = port.map(|port| Reflexive { kind: "tcp".to_owned(), port: Some(port) });
    std::iter::once(seen).filter(|_| !addresses.is_empty()).chain(forwarded).collect()
}

struct Fixture(Lighthouse);

impl Fixture {
    fn new() -> Self {
        Self(Lighthouse::new(Limits::default()))
    }

    fn connect(&mut self, party: &str, from: &str) -> ConnectionId {
        self.0.connect(name(party), at(from), Transport::Tcp, TIME).unwrap().0
    }

    fn connect_udp(&mut self, party: &str, from: &str) -> ConnectionId {
        self.0.connect(name(party), at(from), Transport::Udp, TIME).unwrap().0
    }

    /// Announces under «demo», as an instance of its own.
    fn announce(&mut self, id: ConnectionId, announced: &[&str], allow: &[&str]) -> Vec<Action> {
        self.announce_as(id, u8::try_from(id.0).unwrap(), announced, allow)
    }

    fn announce_as(
        &mut self,
        id: ConnectionId,
        instance: u8,
        announced: &[&str],
        allow: &[&str],
    ) -> Vec<Action> {
        let allow = allow.iter().map(|a| name(a)).collect();
        let (tag, instance) = (tag("demo"), Instance([instance; 16]));
        let addresses = addresses(announced);
        let reflexive = reflexive(&addresses);
        self.0.hear(id, Request::Announce { tag, instance, addresses, reflexive, allow })
    }

    /// Watches under «demo»; one that has announced nothing announces that first.
    fn watch(&mut self, id: ConnectionId, parties: &[&str]) -> Vec<Action> {
        if self.0.connections[&id].instance().is_none() {
            assert_eq!(self.announce(id, &[], &[]), []);
        }
        let parties = parties.iter().map(|p| name(p)).collect();
        self.0.hear(id, Request::Watch { tag: tag("demo"), parties })
    }
}

fn present(to: ConnectionId, party: &str, seen: &[&str]) -> Action {
    let addresses = addresses(seen);
    Action::Send(to, Answer::Present { party: name(party), tag: tag("demo"), addresses })
}

fn gone(to: ConnectionId, party: &str) -> Action {
    Action::Send(to, Answer::Gone { party: name(party), tag: tag("demo") })
}

#[test]
fn parties_find_each_other_in_either_order() {
    let mut fixture = Fixture::new();
    let (alice, bob) =
        (fixture.connect("alice", "203.0.113.1:5"), fixture.connect("bob", "203.0.113.2:6"));
    assert_eq!(fixture.watch(alice, &["bob"]), []);
    let seen = ["203.0.113.2:4747", "192.168.1.2:4747"];
    let told = fixture.announce(bob, &["192.168.1.2:4747"], &["alice"]);
    assert_eq!(told, [present(alice, "bob", &seen)]);
    assert_eq!(fixture.announce(bob, &["192.168.1.2:4747"], &["alice"]), [], "nothing new");
    let late = fixture.connect("alice", "203.0.113.1:7");
    assert_eq!(fixture.watch(late, &["bob"]), [present(late, "bob", &seen)]);
    assert_eq!(fixture.0.disconnect(bob), [gone(alice, "bob"), gone(late, "bob")]);
    assert_eq!(fixture.0.disconnect(bob), []);
}

#[test]
fn a_bystander_learns_nothing_whatever_happens() {
    let mut fixture = Fixture::new();
    let eve = fixture.connect("eve", "203.0.113.9:1");
    let bob = fixture.connect("bob", "203.0.113.2:6");
    let mut heard = fixture.watch(eve, &["bob", "zoe"]);
    heard.extend(fixture.announce(bob, &["192.168.1.2:4747"], &["alice"]));
    heard.extend(fixture.watch(eve, &["bob", "zoe"]));
    heard.extend(fixture.announce(bob, &["192.168.1.2:4748"], &["alice"]));
    heard.extend(fixture.0.disconnect(bob));
    heard.extend(fixture.watch(eve, &["bob"]));
    assert_eq!(heard, []);
}

#[test]
fn another_tag_is_another_world() {
    let mut fixture = Fixture::new();
    let (alice, bob) =
        (fixture.connect("alice", "203.0.113.1:5"), fixture.connect("bob", "203.0.113.2:6"));
    fixture.announce(alice, &[], &[]);
    let parties = vec![name("bob")];
    fixture.0.hear(alice, Request::Watch { tag: tag("other"), parties });
    assert_eq!(fixture.announce(bob, &["192.168.1.2:4747"], &["alice"]), []);
}

#[test]
fn who_is_allowed_no_longer_hears_that_it_is_over() {
    let mut fixture = Fixture::new();
    let (alice, bob) =
        (fixture.connect("alice", "203.0.113.1:5"), fixture.connect("bob", "203.0.113.2:6"));
    fixture.watch(alice, &["bob"]);
    fixture.announce(bob, &["192.168.1.2:4747"], &["alice"]);
    assert_eq!(fixture.announce(bob, &["192.168.1.2:4747"], &["carol"]), [gone(alice, "bob")]);
}

#[test]
fn a_restarted_instance_replaces_its_predecessor_without_a_gap() {
    let mut fixture = Fixture::new();
    let (alice, old) =
        (fixture.connect("alice", "203.0.113.1:5"), fixture.connect("bob", "203.0.113.2:6"));
    fixture.watch(alice, &["bob"]);
    fixture.announce(old, &["192.168.1.2:1"], &["alice"]);
    let new = fixture.connect("bob", "203.0.113.3:6");
    let seen = ["203.0.113.3:2", "192.168.1.2:2"];
    let told = fixture.announce(new, &["192.168.1.2:2"], &["alice"]);
    assert_eq!(told, [present(alice, "bob", &seen)]);
    assert_eq!(fixture.0.disconnect(old), []);
}

#[test]
fn loopback_stays_on_the_machine() {
    let mut fixture = Fixture::new();
    let bob = fixture.connect("bob", "127.0.0.1:6");
    fixture.announce(bob, &["127.0.0.1:4747", "192.168.1.2:4747"], &["alice"]);
    let here = fixture.connect("alice", "127.0.0.1:5");
    let told = fixture.watch(here, &["bob"]);
    assert_eq!(told, [present(here, "bob", &["127.0.0.1:4747", "192.168.1.2:4747"])]);
    let there = fixture.connect("alice", "203.0.113.1:5");
    let told = fixture.watch(there, &["bob"]);
    assert_eq!(told, [present(there, "bob", &["192.168.1.2:4747"])]);
    let mallory = fixture.connect("mallory", "203.0.113.6:5");
    fixture.announce(mallory, &["127.0.0.1:22", "169.254.169.254:80"], &["alice"]);
    let told = fixture.watch(here, &["mallory"]);
    assert_eq!(told, [present(here, "mallory", &["203.0.113.6:22"])]);
}

#[test]
fn an_instance_that_comes_back_replaces_its_older_connection_at_once() {
    let mut fixture = Fixture::new();
    let (alice, old) =
        (fixture.connect("alice", "203.0.113.1:5"), fixture.connect("bob", "203.0.113.2:6"));
    fixture.watch(alice, &["bob"]);
    fixture.announce_as(old, 7, &["192.168.1.2:1"], &["alice"]);
    let new = fixture.connect_udp("bob", "203.0.113.2:9");
    let told = fixture.announce_as(new, 7, &["192.168.1.2:1"], &["alice"]);
    let seen = ["u203.0.113.2:9", "203.0.113.2:1", "192.168.1.2:1"];
    assert_eq!(told, [Action::Close(old, Reason::Replaced), present(alice, "bob", &seen)]);
    assert_eq!(fixture.announce_as(old, 7, &["192.168.1.9:1"], &["alice"]), [], "it is over");
    assert_eq!(fixture.0.disconnect(old), []);
    // What another party calls its instance is its own affair.
    let eve = fixture.connect("eve", "203.0.113.6:6");
    assert_eq!(fixture.announce_as(eve, 7, &["192.168.1.2:1"], &["alice"]), []);
}

#[test]
fn a_delayed_announcement_on_the_older_connection_replaces_nothing() {
    let mut fixture = Fixture::new();
    let old = fixture.connect("bob", "203.0.113.2:6");
    let new = fixture.connect("bob", "203.0.113.3:6");
    fixture.announce_as(new, 7, &["192.168.1.2:1"], &["alice"]);
    let told = fixture.announce_as(old, 7, &["192.168.1.2:1"], &["alice"]);
    assert_eq!(told, [Action::Close(old, Reason::Replaced)]);
    let other = fixture.announce_as(new, 8, &["192.168.1.2:1"], &["alice"]);
    assert_eq!(other, [Action::Close(new, Reason::Instance)]);
}

#[test]
fn a_migrated_address_is_pushed() {
    let mut fixture = Fixture::new();
    let alice = fixture.connect("alice", "203.0.113.1:5");
    let bob = fixture.connect_udp("bob", "203.0.113.2:6");
    fixture.watch(alice, &["bob"]);
    let told = fixture.announce(bob, &["u192.168.1.2:6"], &["alice"]);
    assert_eq!(told, [present(alice, "bob", &["u203.0.113.2:6", "u192.168.1.2:6"])]);
    let observed = at("198.51.100.9:77");
    let told = fixture.0.moved(bob, at("[::ffff:198.51.100.9]:77"), TIME);
    let seen = present(alice, "bob", &["u198.51.100.9:77", "u192.168.1.2:6"]);
    assert_eq!(told, [Action::Send(bob, Answer::Welcome { observed, time: TIME }), seen]);
    assert_eq!(fixture.0.moved(bob, observed, TIME), []);
}

#[test]
fn who_leaves_the_machine_sees_no_loopback_any_more() {
    let mut fixture = Fixture::new();
    let (alice, bob) =
        (fixture.connect_udp("alice", "127.0.0.1:5"), fixture.connect("bob", "127.0.0.1:6"));
    fixture.announce(bob, &["127.0.0.1:4747", "192.168.1.2:4747"], &["alice"]);
    let told = fixture.watch(alice, &["bob"]);
    assert_eq!(told, [present(alice, "bob", &["127.0.0.1:4747", "192.168.1.2:4747"])]);
    let told = fixture.0.moved(alice, at("203.0.113.1:5"), TIME);
    assert_eq!(told[1..], [present(alice, "bob", &["192.168.1.2:4747"])]);
}

#[test]
fn a_call_reaches_only_whom_one_may_look_up() {
    let mut fixture = Fixture::new();
    let (old, new) =
        (fixture.connect("bob", "203.0.113.2:6"), fixture.connect("bob", "203.0.113.3:6"));
    fixture.announce(old, &["192.168.1.2:1"], &["alice", "carol"]);
    fixture.announce(new, &["192.168.1.2:2"], &["alice"]);
    let callee = |from| fixture.0.callee(&name(from), &[], tag("demo"), &name("bob"));
    assert_eq!([callee("alice"), callee("carol"), callee("eve")], [Some(new), Some(old), None]);
    assert_eq!(fixture.0.callee(&name("alice"), &[], tag("other"), &name("bob")), None);
}

#[test]
fn what_nobody_could_be_told_takes_no_room() {
    let mut fixture = Fixture::new();
    let id = fixture.connect("alice", "203.0.113.1:5");
    let address = |kind: &str, size| Address { kind: kind.to_owned(), value: vec![1; size] };
    let oversized = vec![address("tor", 12_000), address(&"k".repeat(3000), 1)];
    let many = (0..64).map(|n| Address { kind: "tor".to_owned(), value: vec![n; 240] }).collect();
    for addresses in [oversized, many] {
        let reflexive = vec![Reflexive { kind: "k".repeat(3000), port: None }; 4];
        let (tag, instance, allow) = (tag("demo"), Instance([1; 16]), Vec::new());
        fixture.0.hear(id, Request::Announce { tag, instance, addresses, reflexive, allow });
        let kept = fixture.0.connections[&id].announced_bytes();
        assert!(kept <= crate::addr::MAX_ADDRESSES_BYTES, "{kept} bytes");
    }
}

#[test]
fn everything_is_bounded() {
    let limits = Limits { connections: 5, per_party: 2, per_address: 4, tags: 1, parties: 1 };
    let mut fixture = Fixture(Lighthouse::new(limits));
    let connect = |fixture: &mut Fixture, party, from| {
        fixture.0.connect(name(party), at(from), Transport::Tcp, TIME).err()
    };
    let first = fixture.connect("alice", "203.0.113.1:1");
    fixture.connect("alice", "203.0.113.1:2");
    fixture.connect("bob", "203.0.113.1:3");
    fixture.connect("dave", "203.0.113.1:4");
    assert_eq!(connect(&mut fixture, "carol", "203.0.113.1:5"), Some(Reason::AddressFull));
    let bob = fixture.connect("bob", "203.0.113.2:1");
    assert_eq!(connect(&mut fixture, "carol", "203.0.113.3:1"), Some(Reason::Full));
    assert_eq!(
        fixture.announce_as(bob, 1, &[], &["a", "b"]),
        [Action::Close(bob, Reason::TooMuch)]
    );
    assert!(fixture.announce_as(bob, 1, &[], &["a"]).is_empty());
    assert_eq!(fixture.watch(bob, &["a", "b"]), [Action::Close(bob, Reason::TooMuch)]);
    assert_eq!(fixture.watch(bob, &["a"]), []);
    let parties = vec![name("a")];
    let second = fixture.0.hear(bob, Request::Watch { tag: tag("other"), parties });
    assert_eq!(second, [Action::Close(bob, Reason::TooMuch)]);
    // One of alice's that comes back is let in to replace itself, and for nothing else.
    assert!(fixture.announce_as(first, 1, &[], &[]).is_empty());
    let back = fixture.connect("alice", "203.0.113.1:6");
    assert_eq!(connect(&mut fixture, "alice", "203.0.113.1:7"), Some(Reason::Full));
    assert_eq!(fixture.announce_as(back, 1, &[], &[]), [Action::Close(first, Reason::Replaced)]);
    let more = fixture.connect("alice", "203.0.113.1:8");
    assert_eq!(fixture.announce_as(more, 3, &[], &[]), [Action::Close(more, Reason::Full)]);
    fixture.0.disconnect(more);
    fixture.0.disconnect(bob);
    assert_eq!(connect(&mut fixture, "erin", "203.0.113.3:1"), None);
}

#[test]
fn a_party_has_its_bound_and_one_customer_is_one_address() {
    let limits = Limits { per_party: 2, per_address: 3, ..Limits::default() };
    let mut fixture = Fixture(Lighthouse::new(limits));
    let connect = |fixture: &mut Fixture, party, from| {
        fixture.0.connect(name(party), at(from), Transport::Tcp, TIME).err()
    };
    fixture.connect("alice", "[2001:db8::1]:1");
    fixture.connect("alice", "[2001:db8::2]:1");
    let third = fixture.connect("alice", "[2001:db8:0:1::1]:1");
    let told = fixture.announce(third, &[], &[]);
    assert_eq!(told, [Action::Close(third, Reason::PartyFull)]);
    fixture.connect("bob", "[2001:db8::3]:1");
    assert_eq!(connect(&mut fixture, "carol", "[2001:db8::4]:1"), Some(Reason::AddressFull));
    assert_eq!(connect(&mut fixture, "carol", "[2001:db8:0:2::4]:1"), None);
}

#[test]
fn who_watches_says_first_who_it_is() {
    let mut fixture = Fixture::new();
    let alice = fixture.connect("alice", "203.0.113.1:1");
    let told =
        fixture.0.hear(alice, Request::Watch { tag: tag("demo"), parties: vec![name("bob")] });
    assert_eq!(told, [Action::Close(alice, Reason::Instance)]);
}

//! Random schedules of events: what a watcher adds up from what it is told is what it may see.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Any event of the two connections of alice, bob and eve.
fn event() -> impl Strategy<Value = (usize, u8, u16)> {
    (0usize..6, 0u8..7, 1u16..4)
}

/// What everybody has been told so far.
#[derive(Default)]
struct Known(BTreeMap<ConnectionId, BTreeMap<PartyName, Vec<Address>>>);

impl Known {
    /// Connection `id` does not watch these any longer, and is not told so.
    fn forget(&mut self, id: ConnectionId, parties: &[&str]) {
        let known = self.0.entry(id).or_default();
        known.retain(|party, _| !parties.contains(&party.as_str()));
    }

    /// Takes in what was sent; returns who was told to go.
    fn take(&mut self, actions: Vec<Action>) -> Vec<ConnectionId> {
        let mut closed = Vec::new();
        for action in actions {
            match action {
                Action::Send(to, Answer::Present { party, addresses, .. }) => {
                    self.0.entry(to).or_default().insert(party, addresses);
                }
                Action::Send(to, Answer::Gone { party, .. }) => {
                    assert!(self.0.entry(to).or_default().remove(&party).is_some());
                }
                Action::Send(..) => {}
                Action::Close(id, reason) => {
                    assert_eq!(reason, Reason::Replaced, "nothing is over a limit");
                    closed.push(id);
                }
            }
        }
        closed
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever happens, a watcher that adds up what it was told knows exactly what it may
    /// see, eve, whom nobody allows, is told nothing, and nothing is kept of who has gone.
    #[test]
    fn what_was_told_is_what_is(events in proptest::collection::vec(event(), 1..60)) {
        let names = ["alice", "bob", "eve"];
        let mut fixture = Fixture::new();
        let mut ids: Vec<Option<ConnectionId>> = vec![None; 6];
        let mut known = Known::default();
        for (who, what, port) in events {
            // The two connections of a party are one instance when the port says so.
            let instance = u8::try_from(if port == 1 { who % 3 } else { who }).unwrap();
            let announced = [&*format!("192.0.2.1:{port}"), "u192.0.2.1:9"];
            let mut unwatched = None;
            let actions = match (ids[who], what) {
                (None, _) => {
                    let from = SocketAddr::from(([203, 0, 113, u8::try_from(who).unwrap()], 9));
                    let transport = if port == 1 { Transport::Tcp } else { Transport::Udp };
                    let (id, actions) = fixture.0.connect(name(names[who % 3]), from, transport, TIME).unwrap();
                    ids[who] = Some(id);
                    actions
                }
                (Some(id), 0) => { ids[who] = None; known.0.remove(&id); fixture.0.disconnect(id) }
                (Some(id), 1) => fixture.0.moved(id, SocketAddr::from(([198, 51, 100, 7], port)), TIME),
                (Some(id), _) => {
                    let instance = fixture.0.connections[&id].instance().map_or(instance, |i| i.0[0]);
                    let allow: &[&str] = if what == 2 { &["alice", "bob"] } else { &["bob"] };
                    match what {
                        2 | 3 => fixture.announce_as(id, instance, &announced, allow),
                        _ => {
                            let mut actions = fixture.announce_as(id, instance, &[], &[]);
                            // It may have been told that it is the older one.
                            if fixture.0.connections[&id].instance().is_some() {
                                actions.extend(fixture.watch(id, &names[usize::from(what - 4)..]));
                                unwatched = Some((id, usize::from(what - 4)));
                            }
                            actions
                        }
                    }
                }
            };
            let closed = known.take(actions);
            if let Some((id, first)) = unwatched {
                known.forget(id, &names[..first]);
            }
            for closed in closed {
                let actions = fixture.0.disconnect(closed);
                prop_assert!(known.take(actions).is_empty());
                known.0.remove(&closed);
                ids.iter_mut().filter(|id| **id == Some(closed)).for_each(|id| *id = None);
            }
            for id in ids.iter().flatten() {
                let connection = &fixture.0.connections[id];
                for party in connection.watched.get(&tag("demo")).into_iter().flatten() {
                    let seen = fixture.0.visible(connection, tag("demo"), party);
                    let told = known.0.get(id).and_then(|k| k.get(party)).cloned();
                    prop_assert_eq!(seen, told);
                }
                if connection.party == name("eve") {
                    prop_assert!(known.0.get(id).is_none_or(BTreeMap::is_empty));
                }
            }
        }
        ids.iter().flatten().for_each(|id| drop(fixture.0.disconnect(*id)));
        prop_assert!(fixture.0.connections.is_empty() && fixture.0.index.is_empty());
    }
}

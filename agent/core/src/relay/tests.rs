use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;

fn name(text: &str) -> PartyName {
    text.parse().unwrap()
}

const NOW: Duration = Duration::ZERO;

fn exchange() -> Calls {
    Calls::new(Limits { pipes: 6, per_party: 3 })
}

#[test]
fn the_called_party_and_nobody_else_joins_once() {
    let mut exchange = exchange();
    let call = CallId([7; 16]);
    let [alice, bob, again, eve] =
        ["alice", "bob", "bob", "eve"].map(|party| exchange.enter(name(party)).unwrap());
    exchange.call(alice, name("bob"), call, NOW).unwrap();
    assert_eq!(exchange.join(eve, call, NOW), Err(Refusal::NoSuchCall));
    assert_eq!(exchange.join(bob, CallId([8; 16]), NOW), Err(Refusal::NoSuchCall));
    assert_eq!(exchange.join(bob, call, NOW), Ok(alice), "eve has not used it up");
    assert_eq!(exchange.join(again, call, NOW), Err(Refusal::NoSuchCall));
    // A pipe is good for one pair.
    assert!(exchange.call(bob, name("eve"), CallId([9; 16]), NOW).is_err());
    assert_eq!(exchange.leave(alice), Some(bob));
    assert_eq!((exchange.leave(bob), exchange.leave(bob)), (None, None));
    assert_eq!([again, eve].map(|pipe| exchange.leave(pipe)), [None, None]);
    assert!(exchange.is_empty());
}

#[test]
fn a_call_ends_with_its_time_or_its_caller() {
    let mut exchange = exchange();
    let [alice, bob] = ["alice", "bob"].map(|party| exchange.enter(name(party)).unwrap());
    let (first, second) = (CallId([1; 16]), CallId([2; 16]));
    exchange.call(alice, name("bob"), first, NOW).unwrap();
    assert_eq!(exchange.join(bob, first, JOIN_TIMEOUT), Err(Refusal::NoSuchCall));
    exchange.leave(alice);
    let alice = exchange.enter(name("alice")).unwrap();
    exchange.call(alice, name("bob"), second, NOW).unwrap();
    exchange.leave(alice);
    assert_eq!(exchange.join(bob, second, NOW), Err(Refusal::NoSuchCall));
    exchange.leave(bob);
    assert!(exchange.is_empty());
}

#[test]
fn pipes_are_bounded_for_each_and_for_all() {
    let mut exchange = exchange();
    let own: Vec<_> = (0..3).map(|_| exchange.enter(name("alice")).unwrap()).collect();
    assert_eq!(exchange.enter(name("alice")), Err(Refusal::PartyFull));
    for _ in 0..3 {
        exchange.enter(name("bob")).unwrap();
    }
    assert_eq!(exchange.enter(name("carol")), Err(Refusal::Full));
    exchange.leave(own[0]);
    assert!(exchange.enter(name("carol")).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// Under any schedule: a pair is one caller and the one it called, each pipe has at most one
    /// other end, no limit is passed, and in the end nothing is held.
    #[test]
    fn whatever_happens_pairs_are_as_called(
        events in proptest::collection::vec((0u8..4, 0usize..6, 0usize..6, 0u64..3), 1..80),
    ) {
        let names = ["alice", "bob", "eve"].map(name);
        let mut exchange = exchange();
        let mut now = NOW;
        let mut pipes: Vec<(PipeId, usize)> = Vec::new();
        let mut made: HashMap<CallId, (PipeId, usize, Duration)> = HashMap::new();
        let mut pairs: BTreeMap<PipeId, PipeId> = BTreeMap::new();
        for (serial, (what, one, other, seconds)) in events.into_iter().enumerate() {
            now += Duration::from_secs(seconds);
            let pipe = pipes.get(one % pipes.len().max(1)).copied();
            match (what, pipe) {
                (1, Some((pipe, _))) => {
                    let call = CallId([u8::try_from(serial).unwrap(); 16]);
                    let called = other % 3;
                    if exchange.call(pipe, names[called].clone(), call, now).is_ok() {
                        prop_assert!(!pairs.contains_key(&pipe));
                        made.insert(call, (pipe, called, now));
                    }
                }
                (2, Some((pipe, party))) => {
                    let Some(call) = made.keys().nth(other % made.len().max(1)).copied() else { continue };
                    let (caller, called, at) = made[&call];
                    let waiting = pipes.iter().any(|(pipe, _)| *pipe == caller);
                    let fresh = !pairs.contains_key(&pipe) && !made.values().any(|m| m.0 == pipe);
                    let due = called == party && waiting && now < at + JOIN_TIMEOUT && fresh;
                    let joined = exchange.join(pipe, call, now);
                    prop_assert_eq!(joined, if due { Ok(caller) } else { Err(Refusal::NoSuchCall) });
                    if due {
                        made.remove(&call);
                        pairs.insert(pipe, caller);
                        pairs.insert(caller, pipe);
                    }
                }
                (3, Some((pipe, _))) => {
                    let partner = pairs.remove(&pipe);
                    let here = partner.filter(|partner| pairs.contains_key(partner));
                    prop_assert_eq!(exchange.leave(pipe), here);
                    pipes.retain(|(id, _)| *id != pipe);
                }
                _ => {
                    let party = other % 3;
                    let own = pipes.iter().filter(|(_, owner)| *owner == party).count();
                    match exchange.enter(names[party].clone()) {
                        Ok(id) => { prop_assert!(own < 3 && pipes.len() < 6); pipes.push((id, party)) }
                        Err(Refusal::PartyFull) => prop_assert_eq!(own, 3),
                        Err(refusal) => prop_assert_eq!((refusal, pipes.len()), (Refusal::Full, 6)),
                    }
                }
            }
        }
        for (pipe, _) in pipes {
            exchange.leave(pipe);
        }
        prop_assert!(exchange.is_empty());
    }

    /// While parties always have something to send, none is ahead of another by more than a piece
    /// of each, however many pairs they have, however large their pieces are and however long a
    /// pair takes before it asks again, as long as its party has another that waits.
    #[test]
    fn busy_parties_share_alike(
        pairs in proptest::collection::vec((1usize..20, 1usize..=64 * 1024), 2..6),
        rounds in 1usize..400,
    ) {
        let names: Vec<_> = (0..pairs.len()).map(|party| name(&format!("p{party}"))).collect();
        let mut turns = FairQueue::default();
        for (party, (count, bytes)) in pairs.iter().enumerate() {
            (0..*count).for_each(|_| turns.ask(&names[party], party, *bytes));
        }
        let mut sent = vec![0usize; pairs.len()];
        for _ in 0..rounds {
            let (party, bytes) = turns.take().unwrap();
            sent[party] += bytes;
            turns.ask(&names[party], party, bytes);
            for (one, other) in (0..pairs.len()).flat_map(|one| (0..one).map(move |o| (one, o))) {
                let apart = sent[one].abs_diff(sent[other]);
                prop_assert!(apart <= pairs[one].1 + pairs[other].1, "{:?} {:?}", pairs, sent);
            }
        }
    }
}

#[test]
fn one_that_asks_rarely_waits_for_one_piece_only() {
    let (busy, quiet) = (name("busy"), name("quiet"));
    let mut turns = FairQueue::default();
    for _ in 0..200 {
        turns.ask(&busy, "busy", 65_536);
    }
    for _ in 0..50 {
        assert_eq!(turns.take(), Some(("busy", 65_536)));
        turns.ask(&quiet, "quiet", 10);
        assert_eq!(turns.take(), Some(("quiet", 10)));
    }
}

#[test]
fn nobody_saves_up_for_later() {
    let (steady, late) = (name("steady"), name("late"));
    let mut turns = FairQueue::default();
    turns.ask(&steady, "steady", 100);
    for _ in 0..50 {
        turns.ask(&steady, "steady", 100);
        assert_eq!(turns.take(), Some(("steady", 100)));
    }
    (0..10).for_each(|_| turns.ask(&late, "late", 100));
    (0..10).for_each(|_| turns.ask(&steady, "steady", 100));
    let next: Vec<_> = (0..10).filter_map(|_| turns.take()).map(|(who, _)| who).collect();
    assert!(next.iter().filter(|who| **who == "late").count() <= 6, "{next:?}");
}

#[test]
fn who_gives_up_does_not_wait_and_nothing_is_kept_for_long() {
    let mut turns = FairQueue::default();
    turns.ask(&name("alice"), 1, 10);
    turns.ask(&name("alice"), 2, 10);
    turns.ask(&name("bob"), 3, 10);
    turns.retain(|who| *who == 2);
    assert_eq!((turns.take(), turns.take()), (Some((2, 10)), None));
    assert!(turns.is_empty());
    turns.ask(&name("carol"), 0, 10);
    for party in 0..1000 {
        turns.ask(&name("carol"), 0, 10);
        turns.ask(&name(&format!("p{party}")), party, 10);
        assert!(turns.take().is_some() && turns.take().is_some());
    }
    assert!(turns.remembered() < 100);
}

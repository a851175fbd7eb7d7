//! What holds for connections that were there before the configuration was read again.

use std::collections::BTreeSet;

use mpyc_party_core::claims::Serial;
use mpyc_party_core::role::Role;

use super::*;

#[test]
fn a_key_that_is_pinned_later_holds_for_those_who_are_there() {
    let bob: PartyName = "bob".parse().unwrap();
    let claims = Claims {
        network: "example".parse().unwrap(),
        role: Role::Party(bob.clone()),
        address: "10.0.0.1".parse().unwrap(),
        groups: Vec::new(),
        key: PublicKey([1; 32]),
        not_before: 0,
        not_after: 1,
        serial: Serial(vec![1]),
    };
    let (parties, groups) = (BTreeSet::from([bob.clone()]), BTreeSet::new());
    let (name, to) = ("ssh".parse().unwrap(), "127.0.0.1:22".parse().unwrap());
    let rule = Rule { name, port: 22, to, parties, groups };
    let mut allowed = Allowed { rules: Rules(vec![rule.clone()]), pins: BTreeMap::new() };
    for (pinned, fine) in [(None, true), (Some(1), true), (Some(2), false)] {
        allowed.pins = pinned.map(|key| (bob.clone(), PublicKey([key; 32]))).into_iter().collect();
        assert_eq!(allowed.find(&claims, 22).is_some(), fine, "{pinned:?}");
        assert_eq!(allowed.still(&rule, &claims), fine, "{pinned:?}");
        assert!(allowed.find(&claims, 23).is_none());
    }
}

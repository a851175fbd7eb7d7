//! Ports that a party exposes to some others: who may reach what, and how they ask for it.
//!
//! Off unless configured. Whoever may reach anything at all is told by the [`Rules`] as a whole,
//! which is what the handshake goes by; which port, is told by the one [`Rule`] that allows it. A
//! port that is not exposed and one that is exposed to others are answered alike.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::addr::Address;
use crate::claims::Claims;
use crate::name::{GroupName, PartyName, PortName};

/// The most bytes of one message: the addresses of [`Ask::Meet`] fit.
pub const MAX_MESSAGE_BYTES: usize = 8 * 1024;

/// What the party that wants to connect says, before the bytes of the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// «I dial you and am dialled there over UDP: dial, too, and we may get through to each other.»
    /// At most once, on a connection that is relayed.
    Meet(Vec<Address>),
    /// «Connect me with this port.» Everything behind the answer belongs to that connection.
    Port(u16),
}

/// The only message of the party that exposes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Whatever listens there has taken the connection.
    Connected,
    /// There will be none.
    Refused(Refusal),
}

/// Why a party does not connect another with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Not exposed, or not to this party: which of the two is not told.
    #[error("it exposes no such port to this party")]
    NotAllowed,
    /// It is exposed, but nobody is there.
    #[error("nothing answers at {0} there")]
    Unanswered(SocketAddr),
    /// No room for one more connection of this party.
    #[error("it has as many connections of this party as it allows")]
    PartyFull,
    /// No room for anybody.
    #[error("it has as many connections as it allows")]
    Full,
}

/// One port, and who may reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it is called.
    pub name: PortName,
    /// What is asked for.
    pub port: u16,
    /// Where that leads.
    pub to: SocketAddr,
    /// Parties that may.
    pub parties: BTreeSet<PartyName>,
    /// Whoever is in one of these groups may, too.
    pub groups: BTreeSet<GroupName>,
}

impl Rule {
    /// Whether the party with these claims may.
    #[must_use]
    pub fn allows(&self, claims: &Claims) -> bool {
        let Some(party) = claims.party() else { return false };
        self.parties.contains(party) || self.groups.iter().any(|group| claims.is_in(group))
    }
}

/// Everything that a party exposes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(pub Vec<Rule>);

impl Rules {
    /// What `port` is for the party with these claims; nothing where it may not.
    #[must_use]
    pub fn find(&self, claims: &Claims, port: u16) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.port == port && rule.allows(claims))
    }

    /// Whether the party with these claims, who was connected by `rule`, still would be.
    #[must_use]
    pub fn still(&self, rule: &Rule, claims: &Claims) -> bool {
        self.find(claims, rule.port).is_some_and(|now| now.to == rule.to)
    }

    /// The parties that may reach something.
    #[must_use]
    pub fn parties(&self) -> BTreeSet<PartyName> {
        self.0.iter().flat_map(|rule| rule.parties.iter().cloned()).collect()
    }

    /// The groups that may reach something.
    #[must_use]
    pub fn groups(&self) -> BTreeSet<GroupName> {
        self.0.iter().flat_map(|rule| rule.groups.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{MAX_ADDRESSES, MAX_ADDRESSES_BYTES};
    use crate::claims::{PublicKey, Serial};
    use crate::role::Role;

    fn claims(role: Role, groups: &[&str]) -> Claims {
        Claims {
            network: "example".parse().unwrap(),
            role,
            address: "10.0.0.1".parse().unwrap(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            key: PublicKey([1; 32]),
            not_before: 0,
            not_after: 1,
            serial: Serial(vec![1]),
        }
    }

    fn party(name: &str, groups: &[&str]) -> Claims {
        claims(Role::party(name.parse().unwrap()).unwrap(), groups)
    }

    fn rule(name: &str, port: u16, parties: &[&str], groups: &[&str]) -> Rule {
        Rule {
            name: name.parse().unwrap(),
            port,
            to: SocketAddr::from(([127, 0, 0, 1], port)),
            parties: parties.iter().map(|party| party.parse().unwrap()).collect(),
            groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn a_port_is_for_those_whom_its_own_rule_names() {
        let rules = Rules(vec![rule("ssh", 22, &["operator"], &["admins"]), {
            rule("web", 80, &["alice"], &[])
        }]);
        let finds = |claims: &Claims, port| rules.find(claims, port).is_some();
        assert!(finds(&party("operator", &[]), 22));
        assert!(finds(&party("carol", &["lab", "admins"]), 22));
        assert!(!finds(&party("carol", &["lab"]), 22));
        assert!(!finds(&party("admins", &[]), 22), "a party is no group");
        assert!(!finds(&party("alice", &[]), 22), "she may reach another port");
        assert!(!finds(&party("operator", &["admins"]), 23));
        assert!(!finds(&claims(Role::Hub(1), &["admins"]), 22), "a hub is no party");
        assert_eq!((rules.parties().len(), rules.groups().len()), (2, 1));
    }

    #[test]
    fn a_connection_stays_allowed_while_it_would_lead_to_the_same() {
        let first = rule("ssh", 22, &["alice", "bob"], &[]);
        let still = |now: Rule| Rules(vec![now]).still(&first, &party("bob", &["admins"]));
        assert!(still(rule("ssh", 22, &["bob"], &[])));
        assert!(still(rule("shell", 22, &[], &["admins"])));
        assert!(!still(rule("ssh", 22, &["alice"], &[])));
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 22));
        assert!(!still(Rule { to: elsewhere, ..first.clone() }));
    }

    #[test]
    fn the_longest_message_fits() {
        let address = Address { kind: "k".repeat(16), value: vec![0; MAX_ADDRESSES_BYTES / 32] };
        let longest = Ask::Meet(vec![address; MAX_ADDRESSES]);
        assert!(postcard::to_stdvec(&longest).unwrap().len() <= MAX_MESSAGE_BYTES);
    }
}

//! Which protocol a connection speaks and who may be at its other end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use mpyc_party_core::claims::{Claims, PublicKey};
use mpyc_party_core::name::{GroupName, PartyName};
use mpyc_party_core::role::Role;

use crate::verify::PeerError;

/// What a connection is for; one ALPN each (RFC 7301), so that none is mistaken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// A newcomer and the authority; the one protocol without a client certificate.
    Enrol,
    /// A member and the authority.
    Renew,
    /// A party and the lighthouse.
    Hub,
    /// Two parties of a session: agreement, barrier, heartbeats.
    Control,
    /// Two parties of a session: is the other there, and what would it run? Not a control link, so
    /// that asking starts nothing where no runner is yet.
    Check,
    /// Two parties of a session: one MPyC connection.
    Stream,
    /// Two parties of a session over QUIC: control links and MPyC connections as streams.
    Peer,
    /// A party and a hub: a pipe to another party, inside which the two speak what they will.
    Relay,
    /// A party and one that exposes ports to it, over TCP and over QUIC: one connection to a port.
    Expose,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Self; 9] = [
        Self::Enrol,
        Self::Renew,
        Self::Hub,
        Self::Control,
        Self::Check,
        Self::Stream,
        Self::Peer,
        Self::Relay,
        Self::Expose,
    ];

    /// The ALPN. Its number is the version of the protocol, and rises when two versions cannot talk to
    /// each other; whatever a reader may skip is an [extension](crate::frame::MAX_EXTENSIONS) instead.
    #[must_use]
    pub const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Enrol => b"mpyc-enrol/2",
            Self::Renew => b"mpyc-renew/2",
            Self::Hub => b"mpyc-hub/2",
            Self::Control => b"mpyc-control/3",
            Self::Check => b"mpyc-check/3",
            Self::Stream => b"mpyc-stream/2",
            Self::Peer => b"mpyc-peer/3",
            Self::Relay => b"mpyc-relay/2",
            Self::Expose => b"mpyc-expose/2",
        }
    }

    /// The protocol of an ALPN.
    #[must_use]
    pub fn from_alpn(alpn: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.alpn() == alpn)
    }
}

/// Who may be at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The authority's server.
    Authority,
    /// Any hub of the network.
    Hub,
    /// Any party of the network.
    AnyParty,
    /// Any member that renews: its certificate may have expired up to [`RENEWAL_GRACE`] ago.
    Renewing,
    /// One of these parties, with the pinned key where there is one.
    Parties(Vec<(PartyName, Option<PublicKey>)>),
    /// One of these parties, or any that is in one of these groups.
    Members {
        /// The parties.
        parties: BTreeSet<PartyName>,
        /// The groups.
        groups: BTreeSet<GroupName>,
        /// The keys that some parties must have, whatever they are here for.
        pins: BTreeMap<PartyName, PublicKey>,
    },
}

/// How long after its expiry a certificate can still be renewed, in seconds: laptops sleep through
/// holidays. It shows nothing else than that its key is the one the authority knows.
pub const RENEWAL_GRACE: u64 = 30 * 86_400;

impl Expect {
    /// How long after expiry a certificate is accepted, in seconds.
    pub(crate) fn lateness(&self) -> u64 {
        if *self == Self::Renewing { RENEWAL_GRACE } else { 0 }
    }

    /// Checks role, name and pinned key of a verified certificate.
    pub(crate) fn check(&self, claims: &Claims) -> Result<(), PeerError> {
        let unexpected =
            || PeerError::Unexpected { found: claims.role.clone(), expected: self.to_string() };
        match (self, &claims.role) {
            (Self::Authority, Role::Authority)
            | (Self::Hub, Role::Hub(_))
            | (Self::AnyParty, Role::Party(_))
            | (Self::Renewing, Role::Party(_) | Role::Hub(_)) => Ok(()),
            (Self::Parties(list), Role::Party(name)) => {
                let entry = list.iter().find(|(expected, _)| expected == name);
                check_pin(name, entry.ok_or_else(unexpected)?.1, claims.key)
            }
            (Self::Members { parties, groups, pins }, Role::Party(name)) => {
                if !parties.contains(name) && !groups.iter().any(|group| claims.is_in(group)) {
                    return Err(unexpected());
                }
                check_pin(name, pins.get(name).copied(), claims.key)
            }
            _ => Err(unexpected()),
        }
    }
}

/// Whether the `found` key of `party` is the one pinned, where one is.
fn check_pin(
    party: &PartyName,
    pinned: Option<PublicKey>,
    found: PublicKey,
) -> Result<(), PeerError> {
    match pinned {
        Some(pinned) if pinned != found => {
            Err(PeerError::Pin { party: party.clone(), pinned, found })
        }
        _ => Ok(()),
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authority => f.write_str("the authority"),
            Self::Hub => f.write_str("a hub"),
            Self::AnyParty => f.write_str("a party"),
            Self::Renewing => f.write_str("a party or a hub"),
            Self::Members { .. } => f.write_str("a party to whom something is exposed"),
            Self::Parties(list) => match list.as_slice() {
                [] => f.write_str("nobody"),
                [(first, _), rest @ ..] => {
                    write!(f, "{first}")?;
                    rest.iter().try_for_each(|(name, _)| write!(f, " or {name}"))
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mpyc_party_core::claims::Serial;

    fn party(name: &str, groups: &[&str], key: u8) -> Claims {
        Claims {
            network: "example".parse().unwrap(),
            role: Role::party(name.parse().unwrap()).unwrap(),
            address: "10.0.0.1".parse().unwrap(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            key: PublicKey([key; 32]),
            not_before: 0,
            not_after: 1,
            serial: Serial(vec![1]),
        }
    }

    #[test]
    fn members_are_named_or_in_a_group_and_have_the_pinned_key() {
        let expect = Expect::Members {
            parties: BTreeSet::from(["alice".parse().unwrap()]),
            groups: BTreeSet::from(["admins".parse().unwrap()]),
            pins: BTreeMap::from([("carol".parse().unwrap(), PublicKey([7; 32]))]),
        };
        let check = |name, groups: &[&str], key| expect.check(&party(name, groups, key));
        assert_eq!(check("alice", &[], 1), Ok(()));
        assert_eq!(check("bob", &["lab", "admins"], 1), Ok(()));
        assert_eq!(check("carol", &["admins"], 7), Ok(()));
        assert!(matches!(check("carol", &["admins"], 1), Err(PeerError::Pin { .. })));
        for (name, groups) in [("bob", &["lab"][..]), ("admins", &[]), ("carol", &[])] {
            assert!(matches!(check(name, groups, 7), Err(PeerError::Unexpected { .. })), "{name}");
        }
        let hub = Claims { role: Role::Hub(1), ..party("alice", &["admins"], 1) };
        assert!(matches!(expect.check(&hub), Err(PeerError::Unexpected { .. })));
    }
}

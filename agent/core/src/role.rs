//! What a certificate's holder is in its network, and how the certificate says so: once as a DNS
//! name (the identity) and once as a SPIFFE id (the role in plain sight).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::{NetworkName, PartyName};
use crate::text::excerpt;

/// Every name of every network lies under this suffix; «internal» never resolves in public
/// (ICANN resolution 2024.07.29.06).
pub const SUFFIX: &str = "mpyc.internal";

const AUTHORITY: &str = "authority";
const HUB: &str = "hub-";

/// The role of a certificate's holder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// A participant of sessions.
    Party(PartyName),
    /// The hub of this number.
    Hub(u16),
    /// The authority's own server, where parties enrol.
    Authority,
}

/// Why a text names no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// The name of a hub or of the authority where a party's is wanted.
    #[error("«{0}» is reserved: a party may be called neither «authority» nor «hub-» and a number")]
    Reserved(PartyName),
    /// Neither a DNS name nor a SPIFFE id of this project.
    #[error("«{0}» is no identity of an mpyc-party network")]
    Foreign(String),
}

fn foreign(text: &str) -> RoleError {
    RoleError::Foreign(excerpt(text, 253))
}

impl Role {
    /// The role of the party `name`.
    ///
    /// # Errors
    /// Refuses the names that would collide with a hub's or the authority's DNS name.
    pub fn party(name: PartyName) -> Result<Self, RoleError> {
        let digits = name.as_str().strip_prefix(HUB).map(|n| n.bytes().all(|c| c.is_ascii_digit()));
        if name.as_str() == AUTHORITY || digits == Some(true) {
            return Err(RoleError::Reserved(name));
        }
        Ok(Self::Party(name))
    }

    fn from_label(label: &str) -> Option<Self> {
        if label == AUTHORITY {
            return Some(Self::Authority);
        }
        let number = label.strip_prefix(HUB).and_then(|n| n.parse().ok());
        if let Some(hub) = number.map(Self::Hub)
            && hub.label() == label
        {
            return Some(hub);
        }
        Self::party(label.parse().ok()?).ok()
    }

    fn label(&self) -> String {
        match self {
            Self::Party(name) => name.to_string(),
            Self::Hub(number) => format!("{HUB}{number}"),
            Self::Authority => AUTHORITY.to_owned(),
        }
    }

    /// The DNS name of this role in `network`, such as `alice.example.mpyc.internal`.
    #[must_use]
    pub fn dns_name(&self, network: &NetworkName) -> String {
        format!("{}.{network}.{SUFFIX}", self.label())
    }

    /// The network and the role that a DNS name states.
    ///
    /// # Errors
    /// When it is not exactly what [`Role::dns_name`] writes.
    pub fn from_dns_name(text: &str) -> Result<(NetworkName, Self), RoleError> {
        let parse = || {
            let (label, rest) = text.split_once('.')?;
            let network = rest.strip_suffix(SUFFIX)?.strip_suffix('.')?;
            Some((network.parse().ok()?, Self::from_label(label)?))
        };
        parse().ok_or_else(|| foreign(text))
    }

    /// The SPIFFE id of this role in `network`, such as `spiffe://example/party/alice`.
    #[must_use]
    pub fn spiffe_id(&self, network: &NetworkName) -> String {
        match self {
            Self::Party(name) => format!("spiffe://{network}/party/{name}"),
            Self::Hub(number) => format!("spiffe://{network}/hub/{number}"),
            Self::Authority => format!("spiffe://{network}/{AUTHORITY}"),
        }
    }

    /// The network and the role that a SPIFFE id states.
    ///
    /// # Errors
    /// When it is not exactly what [`Role::spiffe_id`] writes.
    pub fn from_spiffe_id(text: &str) -> Result<(NetworkName, Self), RoleError> {
        let parse = || {
            let (network, path) = text.strip_prefix("spiffe://")?.split_once('/')?;
            let role = match path.split_once('/') {
                Some(("party", name)) => Self::party(name.parse().ok()?).ok()?,
                Some(("hub", number)) => Self::Hub(number.parse().ok()?),
                None if path == AUTHORITY => Self::Authority,
                _ => return None,
            };
            let network = network.parse().ok()?;
            (role.spiffe_id(&network) == text).then_some((network, role))
        };
        parse().ok_or_else(|| foreign(text))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Party(name) => write!(f, "{name}"),
            Self::Hub(number) => write!(f, "hub {number}"),
            Self::Authority => write!(f, "the authority"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_texts_come_back() {
        let network: NetworkName = "example".parse().unwrap();
        let alice = Role::party("alice".parse().unwrap()).unwrap();
        for role in [alice, Role::Hub(0), Role::Hub(65535), Role::Authority] {
            let both = Ok((network.clone(), role.clone()));
            assert_eq!(Role::from_dns_name(&role.dns_name(&network)), both);
            assert_eq!(Role::from_spiffe_id(&role.spiffe_id(&network)), both);
        }
    }

    #[test]
    fn no_party_passes_for_a_hub_or_the_authority() {
        for name in ["authority", "hub-1", "hub-007", "hub-99999"] {
            assert!(Role::party(name.parse().unwrap()).is_err(), "{name}");
        }
        assert!(Role::party("hub-x".parse().unwrap()).is_ok());
        assert!(Role::from_spiffe_id("spiffe://example/party/hub-1").is_err());
        assert!(Role::from_spiffe_id("spiffe://example/party/authority").is_err());
    }

    #[test]
    fn only_the_canonical_spelling_counts() {
        for text in [
            "hub-01.example.mpyc.internal",
            "hub-65536.example.mpyc.internal",
            "Alice.example.mpyc.internal",
            "alice.example.mpyc.internal.",
            "alice.b.example.mpyc.internal",
            "alice.mpyc.internal",
            "alice.example.mpycxinternal",
            "alice.examplempyc.internal",
            "*.example.mpyc.internal",
            "",
        ] {
            assert!(Role::from_dns_name(text).is_err(), "{text}");
        }
        for text in [
            "spiffe://example/hub/01",
            "spiffe://example/hub/+1",
            "spiffe://example/party/alice/",
            "spiffe://example/authority/",
            "spiffe://example/",
            "SPIFFE://example/party/alice",
            "https://example/party/alice",
        ] {
            assert!(Role::from_spiffe_id(text).is_err(), "{text}");
        }
    }
}

//! The ways between networks, and which there have to be.

use serde::Serialize;
use serde_json::Value;

use crate::topology::Kind;

/// The way a link takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Path {
    /// TLS over TCP, from one to the other.
    Tcp,
    /// QUIC, from one to the other.
    Quic,
    /// Through a hub.
    Relay,
}

impl Path {
    pub(super) fn of(event: &Value) -> Option<Self> {
        match event["path"].as_str()? {
            "tcp" => Some(Self::Tcp),
            "quic" => Some(Self::Quic),
            "relay" => Some(Self::Relay),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Quic => "quic",
            Self::Relay => "relay",
        }
    }
}

/// Which ways there are between two networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// A direct one has to be found.
    Direct,
    /// A direct one takes luck: the port that a NAT chooses has to be guessed.
    Any,
    /// There is no direct one.
    Relay,
}

impl Expected {
    /// What there is between networks of these kinds.
    #[must_use]
    pub fn between(a: Kind, b: Kind) -> Self {
        use Kind::{Carrier, Easy, FullCone, Ipv6Only, Public, Symmetric, Tcp443, UdpBlocked};
        match (a, b) {
            (Public, _) | (_, Public) | (Ipv6Only, Ipv6Only) => Self::Direct,
            (Ipv6Only | UdpBlocked | Tcp443, _) | (_, Ipv6Only | UdpBlocked | Tcp443) => {
                Self::Relay
            }
            (FullCone, _) | (_, FullCone) | (Easy | Carrier, Easy | Carrier) => Self::Direct,
            (Symmetric, Easy | Carrier | Symmetric) | (Easy | Carrier, Symmetric) => Self::Any,
        }
    }

    /// Whether a link over `path` is what there has to be.
    #[must_use]
    pub fn allows(self, path: Path) -> bool {
        match self {
            Self::Direct => path != Path::Relay,
            Self::Any => true,
            Self::Relay => path == Path::Relay,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_does_not_depend_on_the_order() {
        for (a, b) in Kind::ALL.into_iter().flat_map(|a| Kind::ALL.map(|b| (a, b))) {
            assert_eq!(Expected::between(a, b), Expected::between(b, a), "{a} and {b}");
        }
    }

    #[test]
    fn cone_and_symmetric_meet_directly_where_strangers_are_let_in() {
        assert_eq!(Expected::between(Kind::FullCone, Kind::Symmetric), Expected::Direct);
        assert_eq!(Expected::between(Kind::Easy, Kind::Symmetric), Expected::Any);
        assert_eq!(Expected::between(Kind::Ipv6Only, Kind::Easy), Expected::Relay);
        assert!(!Expected::Direct.allows(Path::Relay) && !Expected::Relay.allows(Path::Quic));
    }
}

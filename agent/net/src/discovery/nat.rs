//! What the addresses under which hubs see this party tell about the NAT before it, in the terms of
//! RFC 4787, section 4.1.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// How the network before this party treats the UDP it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nat {
    /// The outside sees an address of this machine: there is none.
    None,
    /// Everybody outside sees the same address: whoever is told it can be let in.
    Easy,
    /// Every destination sees another one: nobody can be told where to knock.
    Symmetric,
    /// There is one, and one observer alone cannot tell of which kind.
    Unclear,
    /// No hub sees any UDP of this party.
    NoUdp,
}

impl Nat {
    /// What `observed`, the addresses seen by one hub each, tell about a party with the addresses
    /// `own` that sends all of it from one socket.
    #[must_use]
    pub fn judge(observed: &[SocketAddr], own: &[IpAddr]) -> Self {
        // A NAT may well treat the two families differently.
        let family = |v4: bool| observed.iter().filter(move |seen| seen.is_ipv4() == v4);
        let is_own = |seen: &SocketAddr| own.contains(&seen.ip()) || seen.ip().is_loopback();
        let differ = |v4| family(v4).any(|seen| Some(seen) != family(v4).next());
        match observed {
            [] => Self::NoUdp,
            _ if differ(true) || differ(false) => Self::Symmetric,
            _ if observed.iter().all(is_own) => Self::None,
            _ if family(true).count() > 1 || family(false).count() > 1 => Self::Easy,
            _ => Self::Unclear,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(observed: &[&str]) -> Nat {
        let observed: Vec<_> = observed.iter().map(|text| text.parse().unwrap()).collect();
        Nat::judge(&observed, &["192.168.1.2", "2001:db8::2"].map(|ip| ip.parse().unwrap()))
    }

    #[test]
    fn each_kind_is_told_from_the_others() {
        assert_eq!(judge(&[]), Nat::NoUdp);
        assert_eq!(judge(&["203.0.113.7:4747"]), Nat::Unclear);
        assert_eq!(judge(&["203.0.113.7:4747", "203.0.113.7:4747"]), Nat::Easy);
        assert_eq!(judge(&["203.0.113.7:4747", "203.0.113.7:4748"]), Nat::Symmetric);
        assert_eq!(judge(&["203.0.113.7:4747", "203.0.113.8:4747"]), Nat::Symmetric);
        assert_eq!(judge(&["192.168.1.2:4747"]), Nat::None);
        assert_eq!(judge(&["[2001:db8::2]:4747"]), Nat::None);
        assert_eq!(judge(&["127.0.0.1:4747"]), Nat::None);
        assert_eq!(judge(&["203.0.113.7:4747", "[2001:db8::2]:4747"]), Nat::Unclear);
    }
}

//! Candidates: the addresses a party may announce and another may dial.
//!
//! Whoever announces an address makes others connect to it, so an address that would lead into
//! the dialler's own machine or its provider's metadata service is refused, and the number is
//! bounded. Loopback is the one exception, for several parties on one machine: it passes only
//! between parties that all reach the hub over loopback, which nobody elsewhere can pretend.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// The most candidates that one instance of a party may announce: both kinds for sixteen addresses.
pub const MOST: usize = 32;

/// One way to try a party: an address, and what to send there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Candidate {
    /// Accepts TLS over TCP.
    Tcp(SocketAddr),
    /// Speaks QUIC; behind a NAT only to whom it speaks at the same time.
    Udp(SocketAddr),
}

impl Candidate {
    /// The address.
    #[must_use]
    pub fn address(self) -> SocketAddr {
        match self {
            Self::Tcp(address) | Self::Udp(address) => address,
        }
    }

    /// An IPv4 address that was written as an IPv6 one (RFC 4291, 2.5.5.2) as what it is.
    fn canonical(self) -> Self {
        match self {
            Self::Tcp(address) => Self::Tcp(canonical(address)),
            Self::Udp(address) => Self::Udp(canonical(address)),
        }
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp {address}"),
            Self::Udp(address) => write!(f, "udp {address}"),
        }
    }
}

/// `address` without IPv4 in an IPv6 disguise, and without a flow label or a scope.
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// From where a connection reached the hub, as both its ends see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vantage {
    /// Over loopback: party and hub are on one machine.
    SameHost,
    /// Over a network.
    Elsewhere,
}

impl Vantage {
    /// What the address of the other end tells.
    #[must_use]
    pub fn of(other_end: IpAddr) -> Self {
        if other_end.to_canonical().is_loopback() { Self::SameHost } else { Self::Elsewhere }
    }
}

/// Why an address is no candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing listens there.
    #[error("port 0 cannot be dialled")]
    NoPort,
    /// 0.0.0.0/8, `::`.
    #[error("an unspecified address cannot be dialled")]
    Unspecified,
    /// 127.0.0.0/8, `::1`, from elsewhere.
    #[error("a loopback address would lead to the dialler itself")]
    Loopback,
    /// 169.254.0.0/16, fe80::/10.
    #[error("a link-local address means a different machine on every link")]
    LinkLocal,
    /// One of the addresses at which clouds hand out credentials.
    #[error("a cloud's metadata service is no party")]
    Metadata,
    /// Multicast, broadcast, reserved space.
    #[error("a multicast, broadcast or reserved address is no single machine")]
    Multicast,
}

/// Metadata services outside link-local space: Alibaba, Oracle, Azure; AWS, Google.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
];
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// The IPv4 address inside a mapped (RFC 4291, 2.5.5.2) or NAT64 one (RFC 6052, 2.1), else itself.
fn unwrap(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) if v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] => {
            let [.., a, b, c, d] = v6.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        other => other.to_canonical(),
    }
}

/// Checks one candidate, announced or received at `vantage`.
///
/// # Errors
/// Says why the address may not be dialled.
pub fn check(candidate: Candidate, vantage: Vantage) -> Result<(), Refusal> {
    let address = unwrap(candidate.address().ip());
    let (metadata, unspecified, link_local, no_single) = match address {
        IpAddr::V4(v4) => (
            METADATA_V4.contains(&v4),
            v4.octets()[0] == 0,
            v4.is_link_local(),
            v4.is_multicast() || v4.octets()[0] >= 240,
        ),
        IpAddr::V6(v6) => (
            METADATA_V6.contains(&v6),
            v6.is_unspecified(),
            v6.is_unicast_link_local(),
            v6.is_multicast(),
        ),
    };
    match () {
        () if candidate.address().port() == 0 => Err(Refusal::NoPort),
        () if unspecified => Err(Refusal::Unspecified),
        () if address.is_loopback() && vantage == Vantage::Elsewhere => Err(Refusal::Loopback),
        () if link_local => Err(Refusal::LinkLocal),
        () if metadata => Err(Refusal::Metadata),
        () if no_single => Err(Refusal::Multicast),
        () => Ok(()),
    }
}

/// The candidates among `announced` that may be passed on or dialled at `vantage`: in their order,
/// each once, at most [`MOST`].
#[must_use]
pub fn admit(announced: &[Candidate], vantage: Vantage) -> Vec<Candidate> {
    let mut admitted = Vec::new();
    for candidate in announced {
        let candidate = candidate.canonical();
        if check(candidate, vantage).is_ok() && !admitted.contains(&candidate) {
            admitted.push(candidate);
        }
        if admitted.len() == MOST {
            break;
        }
    }
    admitted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both kinds of candidate at an address.
    fn both(text: &str) -> [Candidate; 2] {
        let address = text.parse().unwrap();
        [Candidate::Tcp(address), Candidate::Udp(address)]
    }

    #[test]
    fn addresses_that_lead_astray_are_refused() {
        for (text, why) in [
            ("203.0.113.7:0", Refusal::NoPort),
            ("0.0.0.0:1", Refusal::Unspecified),
            ("0.1.2.3:1", Refusal::Unspecified),
            ("[::]:1", Refusal::Unspecified),
            ("127.0.0.1:1", Refusal::Loopback),
            ("[::1]:1", Refusal::Loopback),
            ("[::ffff:127.0.0.1]:1", Refusal::Loopback),
            ("[64:ff9b::7f00:1]:1", Refusal::Loopback),
            ("169.254.169.254:80", Refusal::LinkLocal),
            ("[::ffff:169.254.169.254]:80", Refusal::LinkLocal),
            ("[fe80::1]:1", Refusal::LinkLocal),
            ("[fd00:ec2::254]:80", Refusal::Metadata),
            ("168.63.129.16:80", Refusal::Metadata),
            ("224.0.0.1:1", Refusal::Multicast),
            ("255.255.255.255:1", Refusal::Multicast),
            ("[ff02::1]:1", Refusal::Multicast),
        ] {
            for candidate in both(text) {
                assert_eq!(check(candidate, Vantage::Elsewhere), Err(why), "{candidate}");
            }
        }
        for text in ["203.0.113.7:4747", "192.168.1.2:4747", "[2001:db8::1]:4747", "[fd01::1]:1"] {
            for candidate in both(text) {
                assert_eq!(check(candidate, Vantage::Elsewhere), Ok(()), "{candidate}");
            }
        }
    }

    #[test]
    fn loopback_passes_on_one_machine_and_nothing_else_does() {
        for (text, expected) in [
            ("127.0.0.1:4747", Ok(())),
            ("[::1]:4747", Ok(())),
            ("127.0.0.1:0", Err(Refusal::NoPort)),
            ("169.254.169.254:80", Err(Refusal::LinkLocal)),
        ] {
            for candidate in both(text) {
                assert_eq!(check(candidate, Vantage::SameHost), expected, "{candidate}");
            }
        }
        assert_eq!(Vantage::of("::ffff:127.0.0.1".parse().unwrap()), Vantage::SameHost);
        assert_eq!(Vantage::of("192.168.1.2".parse().unwrap()), Vantage::Elsewhere);
    }

    #[test]
    fn the_number_is_bounded_and_repeats_do_not_count() {
        let mut list = both("127.0.0.1:9").to_vec();
        for port in 1..=40 {
            list.extend(both(&format!("203.0.113.7:{port}")));
            list.extend(both(&format!("[::ffff:203.0.113.7]:{port}")));
        }
        let admitted = admit(&list, Vantage::Elsewhere);
        assert_eq!(admitted.len(), MOST);
        assert_eq!(admitted[..3], [list[2], list[3], both("203.0.113.7:2")[0]]);
    }

    #[test]
    fn a_candidate_says_what_it_is() {
        assert_eq!(
            both("192.0.2.1:5").map(|c| c.to_string()),
            ["tcp 192.0.2.1:5", "udp 192.0.2.1:5"]
        );
    }
}

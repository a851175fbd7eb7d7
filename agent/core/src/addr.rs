//! Addresses: where a party says that it can be reached, and what of that may be dialled.
//!
//! An [`Address`] is open: a tag that names a kind of path, and a value that only that kind reads.
//! Whoever does not know a kind passes it on as it is, or skips it. Whoever announces an address
//! makes others connect to it, so number and size are bounded, and every kind has a policy of its
//! own. The policy of IP addresses is here: one that would lead into the dialler's own machine or its
//! provider's metadata service is refused. Loopback is the one exception, for several parties on one
//! machine: it passes only between parties that all reach the hub over loopback, which nobody
//! elsewhere can pretend.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::text::is_hidden;

/// The most addresses that one instance of a party may announce: two kinds for sixteen interfaces. Of
/// more, [`admit`] keeps the first ones. A party lists those of its best kind first, so with more kinds
/// or interfaces it is the worst kinds of which others hear nothing.
pub const MAX_ADDRESSES: usize = 32;
/// The most bytes that they may have together.
pub const MAX_ADDRESSES_BYTES: usize = 4096;
/// The most bytes of a kind's tag.
pub const MAX_KIND_BYTES: usize = 16;
/// The most bytes of one value: an onion service, a long name and a port, or a key fit.
pub const MAX_VALUE_BYTES: usize = 256;

/// One way to try a party.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address {
    /// The tag of the kind of path: up to 16 lower-case letters, digits and hyphens.
    pub kind: String,
    /// What only that kind reads; for those over IP the socket address as text.
    pub value: Vec<u8>,
}

impl Address {
    /// An address of the kind `kind` whose value is `value` as text.
    #[must_use]
    pub fn new(kind: &str, value: impl fmt::Display) -> Self {
        Self { kind: kind.to_owned(), value: value.to_string().into_bytes() }
    }

    /// The socket address, where the value is one (RFC 4291, 2.2; RFC 3986, 3.2.2).
    #[must_use]
    pub fn socket(&self) -> Option<SocketAddr> {
        self.text()?.parse().ok()
    }

    /// The value, where it is text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.value).ok()
    }

    /// Whether tag and value keep to their bounds.
    fn is_well_formed(&self) -> bool {
        is_kind(&self.kind) && (1..=MAX_VALUE_BYTES).contains(&self.value.len())
    }

    /// An IPv4 address that was written as an IPv6 one (RFC 4291, 2.5.5.2) as what it is.
    fn canonical(&self) -> Self {
        match self.socket() {
            Some(address) => Self::new(&self.kind, canonical(address)),
            None => self.clone(),
        }
    }
}

impl fmt::Display for Address {
    /// «tcp 192.0.2.1:4747»; what cannot be shown of a value is escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.escape_default(), self.value.escape_ascii())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether `tag` can be that of a kind of path.
#[must_use]
pub fn is_kind(tag: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=MAX_KIND_BYTES).contains(&tag.len()) && tag.bytes().all(allowed)
}

/// An address that the lighthouse completes, for only it sees how a party appears from outside
/// (server-reflexive, in the terms of RFC 8445).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reflexive {
    /// The tag of the kind of path.
    pub kind: String,
    /// The port to go with the IP address that is seen, as behind a forwarded port; without one, the
    /// address is the one that is seen, where the party is connected over UDP.
    pub port: Option<u16>,
}

/// `address` without IPv4 in an IPv6 disguise, and without a flow label or a scope.
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether `text` is «host:port», as in `hub.example.org:4747`, `192.0.2.1:4747` or `[2001:db8::1]:4747`
/// (RFC 3986, 3.2.2). Whether the host exists is not looked at.
#[must_use]
pub fn is_host_port(text: &str) -> bool {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return address.port() != 0;
    }
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let allowed = |c: char| !c.is_whitespace() && !is_hidden(c) && !"/:[]@".contains(c);
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port: u16 = port.parse().unwrap_or_default();
    !host.is_empty() && host.chars().all(allowed) && digits && port != 0
}

/// From where an address was told: the address source, of which each kind's policy asks how far it is
/// to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Vantage {
    /// By this machine's own configuration: whoever wrote it may name any machine.
    Configured,
    /// Over loopback: by a hub on this machine, about a party on this machine.
    SameHost,
    /// Over a network.
    Elsewhere,
}

impl Vantage {
    /// What the address of the other end of a connection to a hub tells; both ends see the same.
    #[must_use]
    pub fn of(other_end: IpAddr) -> Self {
        if other_end.to_canonical().is_loopback() { Self::SameHost } else { Self::Elsewhere }
    }
}

/// Why an address is not dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is none of its kind.
    #[error("it is no address of its kind")]
    Unreadable,
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
    /// A policy of its kind's own; why, as a clause with a subject.
    #[error("{0}")]
    Policy(&'static str),
}

/// Metadata services outside link-local space: Alibaba, Oracle, Azure; AWS (instances, containers),
/// Google, Scaleway.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
];
const METADATA_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];

/// The IPv4 address to which a translator or a tunnel would take this one, else itself: one that is
/// mapped (RFC 4291, 2.5.5.2), of NAT64 (RFC 6052, 2.1; RFC 8215 with a prefix of 96 bits), translated
/// (RFC 2765), compatible (RFC 4291, 2.5.5.1; `::` and `::1` are none) or of 6to4 (RFC 3056).
fn unwrap(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x2002, high, low, ..] => v4(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => v4(high, low),
        _ => address.to_canonical(),
    }
}

/// The policy of every kind of path over IP: checks an address that was told at `vantage`.
///
/// # Errors
/// Says why the address may not be dialled.
pub fn check_socket(address: SocketAddr, vantage: Vantage) -> Result<(), Refusal> {
    let ip = unwrap(address.ip());
    let (metadata, unspecified, link_local, no_single) = match ip {
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
        () if address.port() == 0 => Err(Refusal::NoPort),
        () if vantage == Vantage::Configured => Ok(()),
        () if unspecified => Err(Refusal::Unspecified),
        () if ip.is_loopback() && vantage == Vantage::Elsewhere => Err(Refusal::Loopback),
        () if link_local => Err(Refusal::LinkLocal),
        () if metadata => Err(Refusal::Metadata),
        () if no_single => Err(Refusal::Multicast),
        () => Ok(()),
    }
}

/// The addresses among `announced` that may be passed on at `vantage`: in their order, each once,
/// within [`MAX_ADDRESSES`] and [`MAX_ADDRESSES_BYTES`]. Socket addresses are checked whatever their
/// kind; what is none is passed on uninterpreted, for those who know its kind to check.
#[must_use]
pub fn admit(announced: &[Address], vantage: Vantage) -> Vec<Address> {
    let check = |socket| check_socket(socket, vantage).is_ok();
    bounded(announced, |address| address.socket().is_none_or(check))
}

/// The addresses among `announced` that can be passed on at any vantage: what is worth keeping of an
/// announcement, within the bounds of [`admit`].
#[must_use]
pub fn well_formed(announced: &[Address]) -> Vec<Address> {
    bounded(announced, |_| true)
}

/// Those that are well formed and `fit`: in their order, each once, within the bounds.
fn bounded(announced: &[Address], fit: impl Fn(&Address) -> bool) -> Vec<Address> {
    let (mut admitted, mut bytes) = (Vec::new(), 0);
    for address in announced.iter().filter(|address| address.is_well_formed()) {
        let address = address.canonical();
        let size = address.kind.len() + address.value.len();
        if fit(&address) && !admitted.contains(&address) && bytes + size <= MAX_ADDRESSES_BYTES {
            bytes += size;
            admitted.push(address);
        }
        if admitted.len() == MAX_ADDRESSES {
            break;
        }
    }
    admitted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two kinds of address at a socket address.
    fn both(text: &str) -> [Address; 2] {
        ["one", "two"].map(|kind| Address::new(kind, text))
    }

    fn check(address: &Address, vantage: Vantage) -> Result<(), Refusal> {
        check_socket(address.socket().unwrap(), vantage)
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
            ("[64:ff9b:1::7f00:1]:1", Refusal::Loopback),
            ("[::7f00:1]:1", Refusal::Loopback),
            ("[::ffff:0:7f00:1]:1", Refusal::Loopback),
            ("[2002:7f00:1::1]:1", Refusal::Loopback),
            ("[2002:a9fe:a9fe::]:80", Refusal::LinkLocal),
            ("[64:ff9b:1:ffff::6464:64c8]:80", Refusal::Metadata),
            ("[2002:e000:1::1]:1", Refusal::Multicast),
            ("169.254.169.254:80", Refusal::LinkLocal),
            ("[::ffff:169.254.169.254]:80", Refusal::LinkLocal),
            ("[fe80::1]:1", Refusal::LinkLocal),
            ("[fd00:ec2::254]:80", Refusal::Metadata),
            ("[fd00:ec2::23]:80", Refusal::Metadata),
            ("[fd00:42::42]:80", Refusal::Metadata),
            ("168.63.129.16:80", Refusal::Metadata),
            ("224.0.0.1:1", Refusal::Multicast),
            ("255.255.255.255:1", Refusal::Multicast),
            ("[ff02::1]:1", Refusal::Multicast),
        ] {
            for address in &both(text) {
                assert_eq!(check(address, Vantage::Elsewhere), Err(why), "{address}");
            }
        }
        for text in [
            "203.0.113.7:4747",
            "192.168.1.2:4747",
            "[2001:db8::1]:4747",
            "[fd01::1]:1",
            "[2002:cb00:7107::1]:4747",
            "[64:ff9b::cb00:7107]:4747",
        ] {
            for address in &both(text) {
                assert_eq!(check(address, Vantage::Elsewhere), Ok(()), "{address}");
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
            for address in &both(text) {
                assert_eq!(check(address, Vantage::SameHost), expected, "{address}");
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
        assert_eq!(admitted.len(), MAX_ADDRESSES);
        let third = both("203.0.113.7:2")[0].clone();
        assert_eq!(admitted[..3], [list[2].clone(), list[3].clone(), third]);
    }

    #[test]
    fn an_address_says_what_it_is_and_commands_no_terminal() {
        assert_eq!(
            both("192.0.2.1:5").map(|a| a.to_string()),
            ["one 192.0.2.1:5", "two 192.0.2.1:5"]
        );
        let hostile = Address { kind: "a\u{1b}b".to_owned(), value: b"\x1b[2J".to_vec() };
        assert!(hostile.to_string().chars().all(|c| c.is_ascii_graphic() || c == ' '), "{hostile}");
    }

    #[test]
    fn a_kind_that_nobody_here_knows_is_passed_on_within_bounds() {
        let unknown = Address { kind: "tor-v3".to_owned(), value: vec![0xff; 60] };
        assert_eq!(
            admit(&[unknown.clone(), unknown.clone()], Vantage::Elsewhere),
            std::slice::from_ref(&unknown)
        );
        let of = |kind: &str, size| Address { kind: kind.to_owned(), value: vec![1; size] };
        let bad = [of("", 1), of("Tor", 1), of("a b", 1), of(&"k".repeat(17), 1), of("tor", 0)];
        assert_eq!(admit(&bad, Vantage::Elsewhere), []);
        assert_eq!(admit(&[of("tor", MAX_VALUE_BYTES + 1)], Vantage::Elsewhere), []);
        let many: Vec<Address> =
            (0..40).map(|n| Address { kind: "tor".to_owned(), value: vec![n; 250] }).collect();
        let size = |a: &Address| a.kind.len() + a.value.len();
        let admitted = admit(&many, Vantage::Elsewhere);
        assert!(admitted.iter().map(size).sum::<usize>() <= MAX_ADDRESSES_BYTES);
        assert_eq!(admitted.len(), MAX_ADDRESSES_BYTES / 253);
        // A socket address leads somewhere whatever kind it claims to be.
        assert_eq!(admit(&[Address::new("tor", "127.0.0.1:22")], Vantage::Elsewhere), []);
    }

    #[test]
    fn a_place_is_a_host_and_a_port() {
        for fine in
            ["hub:1", "hub.example.org:4747", "192.0.2.1:65535", "[::1]:4747", "[fe80::1%2]:1"]
        {
            assert!(is_host_port(fine), "{fine}");
        }
        let bad = [
            "",
            "hub",
            ":1",
            "hub:",
            "hub:0",
            "192.0.2.1:0",
            "hub:65536",
            "hub:+1",
            "hub:x",
            "::1:4747",
            "[::1]",
        ];
        let more = [
            "a b:1",
            "https://hub:1",
            "hub:1/x",
            "[hub]:1",
            "[]:1",
            "hub\u{7}:1",
            "h\u{202e}b:1",
            "h\u{200b}b:1",
        ];
        for bad in bad.into_iter().chain(more) {
            assert!(!is_host_port(bad), "{bad}");
        }
    }

    #[test]
    fn whoever_wrote_the_configuration_may_name_any_machine() {
        for text in ["127.0.0.1:4747", "169.254.1.1:4747", "[fe80::1]:4747"] {
            assert_eq!(check_socket(text.parse().unwrap(), Vantage::Configured), Ok(()));
        }
        let none = check_socket("192.0.2.1:0".parse().unwrap(), Vantage::Configured);
        assert_eq!(none, Err(Refusal::NoPort));
    }
}

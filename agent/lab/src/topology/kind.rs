//! Kinds of network that a party may find itself in.

use std::fmt;
use std::str::FromStr;

use super::{HostPlace, RouterPlace, Topology};
use crate::{Families, Firewall, LabError, Nat};

/// A kind of network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Public addresses of both families.
    Public,
    /// Behind a router of the usual kind.
    Easy,
    /// Behind a NAT that maps each destination to another port.
    Symmetric,
    /// Behind a NAT that lets everybody in.
    FullCone,
    /// Behind a router of the usual kind, which is behind another.
    Carrier,
    /// Behind a router of the usual kind that lets no UDP out.
    UdpBlocked,
    /// Behind a router of the usual kind that lets nothing out but TCP to port 443.
    Tcp443,
    /// A public address, but IPv6 alone.
    Ipv6Only,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Public,
        Self::Easy,
        Self::Symmetric,
        Self::FullCone,
        Self::Carrier,
        Self::UdpBlocked,
        Self::Tcp443,
        Self::Ipv6Only,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Easy => "easy",
            Self::Symmetric => "symmetric",
            Self::FullCone => "full-cone",
            Self::Carrier => "carrier",
            Self::UdpBlocked => "udp-blocked",
            Self::Tcp443 => "tcp-443",
            Self::Ipv6Only => "ipv6-only",
        }
    }

    /// Adds the host `name` in a network of this kind.
    #[must_use]
    pub fn place(self, topology: Topology, name: &str) -> Topology {
        let router = |nat, firewall| RouterPlace { nat, firewall, ..RouterPlace::default() };
        match self {
            Self::Public => topology.public(name),
            Self::Ipv6Only => {
                let place = HostPlace { addresses: Families::V6, ..HostPlace::default() };
                topology.host(name, place)
            }
            Self::Easy => topology.behind(name, router(Nat::Easy, Firewall::Open)),
            Self::Symmetric => topology.behind(name, router(Nat::Symmetric, Firewall::Open)),
            Self::FullCone => topology.behind(name, router(Nat::FullCone, Firewall::Open)),
            Self::UdpBlocked => topology.behind(name, router(Nat::Easy, Firewall::UdpBlocked)),
            Self::Tcp443 => topology.behind(name, router(Nat::Easy, Firewall::Tcp443)),
            Self::Carrier => {
                let carrier = format!("{name}-carrier");
                let home = RouterPlace { behind: Some(carrier.clone()), ..RouterPlace::default() };
                topology.router(&carrier, RouterPlace::default()).behind(name, home)
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = LabError;
    fn from_str(text: &str) -> Result<Self, LabError> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            LabError::Topology(format!("«{text}» is no kind of network; there are {names}"))
        })
    }
}

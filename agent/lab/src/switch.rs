//! A switch: a bridge in a namespace, with a filter that drops what a test wants dropped. One is
//! the internet of a lab, others are what hangs on the inside of a router.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::LabError;
use crate::namespace::Namespace;
use crate::tool::{IP, NFT};

/// Neighbour discovery passes a cut: in a real network it ends at the next router, so that a path
/// broken in one direction still works in the other.
const FILTER: &str = "
table bridge lab {
  set cut { type ifname . ifname; }
  set silent { type ifname; }
  chain neighbours {
    ether type arp accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
  }
  chain arriving {
    type filter hook prerouting priority 0;
    jump neighbours
    iifname @silent drop
  }
  chain passing {
    type filter hook forward priority 0;
    jump neighbours
    iifname . oifname @cut drop
  }
  chain leaving {
    type filter hook postrouting priority 0;
    jump neighbours
    oifname @silent drop
  }
}
";

/// Between hosts that are far from each other, nobody hears another's multicasts.
const NO_MULTICAST: &str = "add rule bridge lab passing \
     ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 drop\n";

/// The number of a switch's own address where it is a gateway; the numbers of hosts are lower.
const GATEWAY: u8 = 254;

/// A port of a switch, from 1.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Port(pub(crate) u8);

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port{}", self.0)
    }
}

/// Where the addresses on a switch come from: the first three bytes of the IPv4 ones, and the first
/// two bytes of the IPv6 ones where there are any.
#[derive(Clone, Copy)]
pub(crate) struct Subnet {
    v4: [u8; 3],
    v6: Option<u16>,
}

impl Subnet {
    /// Where everybody is public.
    pub(crate) const INTERNET: Self = Self { v4: [10, 77, 0], v6: Some(0xfd77) };
    /// Between a carrier's NAT and those of its customers (RFC 6598).
    pub(crate) const CARRIER: Self = Self { v4: [100, 64, 0], v6: None };
    /// In a home: the same one in all of them, as with real routers.
    pub(crate) const HOME: Self = Self { v4: [192, 168, 1], v6: None };

    /// The IPv4 address of this number.
    pub(crate) fn v4(self, number: u8) -> Ipv4Addr {
        let [a, b, c] = self.v4;
        Ipv4Addr::new(a, b, c, number)
    }

    /// The IPv6 address of this number.
    pub(crate) fn v6(self, number: u8) -> Option<Ipv6Addr> {
        Some(Ipv6Addr::new(self.v6?, 0, 0, 0, 0, 0, 0, number.into()))
    }
}

/// A switch.
pub(crate) struct Switch {
    pub(crate) namespace: Arc<Namespace>,
    pub(crate) subnet: Subnet,
    /// Where what is on this switch leaves it, if anywhere.
    pub(crate) gateway: Option<u8>,
    /// The switch above the router that this one is inside of, and the router's port there.
    above: Option<(Arc<Self>, Port)>,
    used: AtomicU8,
}

impl Switch {
    /// A switch on which all are neighbours and there is nothing else.
    pub(crate) fn flat() -> Result<Self, LabError> {
        Self::new(Namespace::first()?.into(), Subnet::INTERNET, None, None)
    }

    /// An internet: no multicast, and what goes to an address that nobody has is dropped silently
    /// somewhere far away.
    pub(crate) fn internet() -> Result<Self, LabError> {
        let namespace = Namespace::first()?.into();
        let internet = Self::new(namespace, Subnet::INTERNET, Some(GATEWAY), None)?;
        NFT.run(&internet.namespace, NO_MULTICAST, None)?;
        Ok(internet)
    }

    /// The inside of the router in `namespace`, which hangs on a port of `above`.
    pub(crate) fn inside(
        namespace: Arc<Namespace>,
        subnet: Subnet,
        above: (Arc<Self>, Port),
    ) -> Result<Self, LabError> {
        Self::new(namespace, subnet, Some(GATEWAY), Some(above))
    }

    fn new(
        namespace: Arc<Namespace>,
        subnet: Subnet,
        gateway: Option<u8>,
        above: Option<(Arc<Self>, Port)>,
    ) -> Result<Self, LabError> {
        let mut bridge = "link add switch type bridge mcast_snooping 0\n".to_owned();
        if let Some(number) = gateway {
            bridge += &format!("addr add {}/24 dev switch\n", subnet.v4(number));
            let v6 = subnet.v6(number).map(|v6| format!("addr add {v6}/64 dev switch nodad\n"));
            bridge += &v6.unwrap_or_default();
        }
        IP.run(&namespace, &(bridge + "link set switch up\n"), None)?;
        NFT.run(&namespace, FILTER, None)?;
        Ok(Self { namespace, subnet, gateway, above, used: AtomicU8::new(0) })
    }

    /// A number for a port or an address that nobody has had.
    pub(crate) fn number(&self) -> Result<u8, LabError> {
        let next = |used: u8| (used < GATEWAY - 1).then(|| used + 1);
        let used = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        Ok(used.map_err(|_| LabError::Full)? + 1)
    }

    /// Connects `interface` of `namespace` with `port` by a cable.
    pub(crate) fn plug(
        &self,
        namespace: &Namespace,
        interface: &str,
        port: Port,
    ) -> Result<(), LabError> {
        let switch = self.namespace.descriptor();
        let peer = format!("{port} netns /proc/self/fd/{}", switch.as_raw_fd());
        let cable = format!("link add {interface} type veth peer name {peer}\n");
        IP.run(namespace, &cable, Some(switch))?;
        self.attach(port)
    }

    /// Takes the interface called like `port` as that port.
    pub(crate) fn attach(&self, port: Port) -> Result<(), LabError> {
        let attach = format!("link set {port} master switch\nlink set {port} up\n");
        IP.run(&self.namespace, &attach, None)
    }

    /// Pulls the cable out of `port` or puts it back.
    pub(crate) fn connect(&self, port: Port, connected: bool) -> Result<(), LabError> {
        let state = if connected { "up" } else { "down" };
        IP.run(&self.namespace, &format!("link set {port} {state}\n"), None)
    }

    /// Drops whatever goes through `port`, silently, or lets it pass again.
    pub(crate) fn silence(&self, port: Port, silent: bool) -> Result<(), LabError> {
        self.change("silent", &format!("\"{port}\""), silent)
    }

    /// Drops what goes from one port to the other, silently, or lets it pass again.
    pub(crate) fn block(&self, from: Port, to: Port, blocked: bool) -> Result<(), LabError> {
        self.change("cut", &format!("\"{from}\" . \"{to}\""), blocked)
    }

    /// Adds an element to a set or takes it out, whether or not it was in.
    fn change(&self, set: &str, element: &str, add: bool) -> Result<(), LabError> {
        let command = |verb| format!("{verb} element bridge lab {set} {{ {element} }}\n");
        let delete = if add { String::new() } else { command("delete") };
        NFT.run(&self.namespace, &(command("add") + &delete), None)
    }

    /// Lets everything pass.
    pub(crate) fn pass_all(&self) -> Result<(), LabError> {
        NFT.run(&self.namespace, "flush set bridge lab cut\nflush set bridge lab silent\n", None)
    }
}

/// The first switch that the ways out of two ports have in common, and the ports there.
pub(crate) fn meeting(
    a: (Arc<Switch>, Port),
    b: &(Arc<Switch>, Port),
) -> Option<(Arc<Switch>, Port, Port)> {
    let ways = |start: (Arc<Switch>, Port)| {
        std::iter::successors(Some(start), |(switch, _)| switch.above.clone())
    };
    ways(a).find_map(|(switch, from)| {
        let (_, to) = ways(b.clone()).find(|(other, _)| Arc::ptr_eq(&switch, other))?;
        Some((switch, from, to))
    })
}

//! The switch that joins the hosts of a lab: a bridge in a namespace of its own, with a filter that
//! drops what a test wants dropped.

use std::fmt;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::LabError;
use crate::namespace::Namespace;
use crate::tool::{IP, NFT};

/// Neighbour discovery passes a cut: in a real network it ends at the next router, so that a path
/// broken in one direction still works in the other.
const FILTER: &str = "
table bridge lab {
  set cut { type ifname . ifname; }
  chain passing {
    type filter hook forward priority 0;
    ether type arp accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
    iifname . oifname @cut drop
  }
}
";

/// A port of the switch, from 1.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Port(pub(crate) u8);

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port{}", self.0)
    }
}

/// The switch of a lab.
pub(crate) struct Switch {
    namespace: Namespace,
    used: AtomicU8,
}

impl Switch {
    /// A switch without hosts.
    pub(crate) fn new() -> Result<Self, LabError> {
        let namespace = Namespace::first()?;
        let bridge = "link add switch type bridge mcast_snooping 0\nlink set switch up\n";
        IP.run(&namespace, bridge, None)?;
        NFT.run(&namespace, FILTER, None)?;
        Ok(Self { namespace, used: AtomicU8::new(0) })
    }

    /// A new namespace whose `eth0` is plugged into the next port.
    pub(crate) fn plug(&self) -> Result<(Namespace, Port), LabError> {
        let next = |used: u8| (used < 254).then(|| used + 1);
        let used = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        let port = Port(used.map_err(|_| LabError::Full)? + 1);
        let host = self.namespace.sibling()?;
        let switch = self.namespace.descriptor();
        let peer = format!("{port} netns /proc/self/fd/{}", switch.as_raw_fd());
        let wire = format!("link set lo up\nlink add eth0 type veth peer name {peer}\n");
        IP.run(&host, &wire, Some(switch))?;
        let attach = format!("link set {port} master switch\nlink set {port} up\n");
        IP.run(&self.namespace, &attach, None)?;
        Ok((host, port))
    }

    /// Pulls the cable out of `port` or puts it back.
    pub(crate) fn connect(&self, port: Port, connected: bool) -> Result<(), LabError> {
        let state = if connected { "up" } else { "down" };
        IP.run(&self.namespace, &format!("link set {port} {state}\n"), None)
    }

    /// Drops what goes from one port to the other, silently.
    pub(crate) fn block(&self, from: Port, to: Port) -> Result<(), LabError> {
        NFT.run(&self.namespace, &element("add", from, to), None)
    }

    /// Lets it pass again, whether or not it was dropped.
    pub(crate) fn pass(&self, from: Port, to: Port) -> Result<(), LabError> {
        let script = element("add", from, to) + &element("delete", from, to);
        NFT.run(&self.namespace, &script, None)
    }

    /// Lets everything pass.
    pub(crate) fn pass_all(&self) -> Result<(), LabError> {
        NFT.run(&self.namespace, "flush set bridge lab cut\n", None)
    }
}

fn element(verb: &str, from: Port, to: Port) -> String {
    format!("{verb} element bridge lab cut {{ \"{from}\" . \"{to}\" }}\n")
}

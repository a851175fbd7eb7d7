//! Routers: a NAT and a firewall between a switch and those inside.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde::{Deserialize, Serialize};

use crate::LabError;
use crate::switch::{Subnet, Switch};
use crate::tool::{NFT, SH};
use crate::uplink::{Families, Uplink};
use crate::wan::Wan;

/// How a router maps the addresses inside to its own, and whom it lets back in (RFC 4787).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nat {
    /// Endpoint-independent mapping that keeps the port; only those are let in to whom something
    /// was sent (address and port). The usual router at home.
    #[default]
    Easy,
    /// Another random port for each destination.
    Symmetric,
    /// Endpoint-independent mapping, and everybody is let in to the first one inside.
    FullCone,
}

/// What a router lets out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Firewall {
    /// Everything.
    #[default]
    Open,
    /// Everything but UDP.
    UdpBlocked,
    /// TCP to port 443 and nothing else.
    #[serde(rename = "tcp-443")]
    Tcp443,
}

/// Ports of mappings once they have been made anew: this many, beginning here.
const REBOUND: (u16, u16) = (20_000, 1_000);

/// A router.
pub struct Router {
    name: String,
    uplink: Uplink,
    pub(crate) inside: Arc<Switch>,
    nat: Nat,
    firewall: Firewall,
    rebound: AtomicU16,
    zone: AtomicU16,
}

impl Router {
    pub(crate) fn new(
        name: &str,
        above: &Arc<Switch>,
        subnet: Subnet,
        (nat, firewall): (Nat, Firewall),
        wan: Option<&Wan>,
    ) -> Result<Self, LabError> {
        let uplink = Uplink::new(above, "wan", Families::V4, wan)?;
        let namespace = Arc::clone(&uplink.namespace);
        SH.run(&namespace, "echo 1 > /proc/sys/net/ipv4/ip_forward\n", None)?;
        let inside = Arc::new(Switch::inside(namespace, subnet, uplink.place())?);
        let (rebound, zone) = (AtomicU16::new(0), AtomicU16::new(0));
        let router = Self { name: name.into(), uplink, inside, nat, firewall, rebound, zone };
        router.rule()?;
        Ok(router)
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address on the outside.
    #[must_use]
    pub fn ip(&self) -> Option<Ipv4Addr> {
        self.uplink.ipv4()
    }

    /// How a person gets into it from another terminal while this process lives.
    #[must_use]
    pub fn enter_with(&self) -> String {
        self.uplink.namespace.enter_with()
    }

    /// Drops whatever passes to and from the outside, silently, until it is told otherwise.
    ///
    /// # Errors
    /// If the packet filter refuses.
    pub fn silence(&self, silent: bool) -> Result<(), LabError> {
        self.uplink.silence(silent)
    }

    /// Changes its WAN line.
    ///
    /// # Errors
    /// If the topology gave it none.
    pub fn set_link(&self, wan: &Wan) -> Result<(), LabError> {
        self.uplink.change(wan)
    }

    /// Forgets all mappings and makes new ones on other ports, as a router that restarts. A full
    /// cone, whose ports are those inside, only forgets.
    ///
    /// # Errors
    /// If the system refuses, or after some forty times.
    pub fn rebind(&self) -> Result<(), LabError> {
        self.rebound.fetch_add(1, Ordering::Relaxed);
        self.forget()
    }

    /// Gets another address from its provider, on which all mappings are new.
    ///
    /// # Errors
    /// If the system refuses, or no address is left.
    pub fn renumber(&self) -> Result<(), LabError> {
        self.uplink.renumber()?;
        self.forget()
    }

    /// Connections are tracked in another zone from here on, where none is known. At once: that the
    /// kernel forgets what it masqueraded behind an address that went is true a while later, and
    /// takes the first new mappings with it.
    fn forget(&self) -> Result<(), LabError> {
        self.zone.fetch_add(1, Ordering::Relaxed);
        self.rule()
    }

    fn rule(&self) -> Result<(), LabError> {
        NFT.run(&self.uplink.namespace, &self.rules(), None)
    }

    /// New packets from outside are dropped on input too: tracked, one that comes before its
    /// counterpart from inside would take the port that the mapping needs. Some kernels show what
    /// only passes the switch inside to these rules as well (`bridge-nf-call-iptables`).
    fn rules(&self) -> String {
        let (blocked, let_out) = match self.firewall {
            Firewall::Open => ("", "accept"),
            Firewall::UdpBlocked => ("meta l4proto udp drop", "accept"),
            Firewall::Tcp443 => ("", "tcp dport 443 accept"),
        };
        let strangers = match self.nat {
            Nat::FullCone => {
                let first = self.inside.subnet.v4(1);
                format!("fib daddr type local meta l4proto udp dnat to {first}")
            }
            Nat::Easy | Nat::Symmetric => String::new(),
        };
        let zone = self.zone.load(Ordering::Relaxed);
        format!(
            "table ip router
             delete table ip router
             table ip router {{
               chain tracking {{
                 type filter hook prerouting priority raw;
                 ct zone set {zone}
               }}
               chain tracking_own {{
                 type filter hook output priority raw;
                 ct zone set {zone}
               }}
               chain addressed {{
                 type filter hook input priority 0;
                 iifname wan ct state new drop
               }}
               chain passing {{
                 type filter hook forward priority 0; policy drop;
                 iifname switch oifname switch accept
                 {blocked}
                 ct state established,related accept
                 ct status dnat accept
                 iifname switch oifname wan {let_out}
               }}
               chain arriving {{
                 type nat hook prerouting priority -100;
                 iifname wan {strangers}
               }}
               chain leaving {{
                 type nat hook postrouting priority 100;
                 {}
               }}
             }}\n",
            self.mapping()
        )
    }

    /// Not `masquerade`: its mappings end with the address or the interface, which `forget` does
    /// for every kind, and when it is called.
    fn mapping(&self) -> String {
        let Some(own) = self.ip() else { return String::new() };
        let (first, count) = REBOUND;
        match (self.nat, self.rebound.load(Ordering::Relaxed)) {
            (Nat::Symmetric, _) => format!("oifname wan snat to {own} random,fully-random"),
            (Nat::Easy, times @ 1..) => {
                let first = first.saturating_add((times - 1).saturating_mul(count));
                let ports = format!("{first}-{}", first.saturating_add(count - 1));
                format!(
                    "oifname wan meta l4proto {{ tcp, udp }} snat to {own}:{ports}
                     oifname wan snat to {own}"
                )
            }
            (Nat::Easy | Nat::FullCone, _) => format!("oifname wan snat to {own}"),
        }
    }
}

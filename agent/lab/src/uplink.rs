//! How a host or a router hangs on a switch: its interface, its addresses, and what can happen to
//! them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use serde::{Deserialize, Serialize};

use crate::LabError;
use crate::namespace::Namespace;
use crate::switch::{Port, Switch};
use crate::tool::{IP, TC};
use crate::wan::{Line, Wan};

/// Which addresses a host has. Behind a NAT there is IPv4 only, whatever is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Families {
    /// IPv4 and IPv6.
    #[default]
    Both,
    /// IPv4 alone.
    #[serde(rename = "ipv4")]
    V4,
    /// IPv6 alone.
    #[serde(rename = "ipv6")]
    V6,
}

/// One end on a switch.
pub(crate) struct Uplink {
    pub(crate) namespace: Arc<Namespace>,
    switch: Arc<Switch>,
    port: Port,
    interface: &'static str,
    families: Families,
    number: AtomicU8,
    line: Option<Line>,
}

impl Uplink {
    /// A new namespace whose `interface` is connected with the next port of `switch`: by a WAN line
    /// where one is asked for, else by a cable, which can have a rate as well.
    pub(crate) fn new(
        switch: &Arc<Switch>,
        interface: &'static str,
        families: Families,
        wan: Option<&Wan>,
    ) -> Result<Self, LabError> {
        let number = switch.number()?;
        let (port, namespace) = (Port(number), Arc::new(switch.namespace.sibling()?));
        let line = match wan.filter(|wan| wan.needs_line()) {
            None => {
                switch.plug(&namespace, interface, port)?;
                None
            }
            Some(wan) => {
                let ends = [(&*namespace, interface), (&*switch.namespace, &*port.to_string())];
                let line = Line::new(ends, wan)?;
                switch.attach(port)?;
                Some(line)
            }
        };
        let number = AtomicU8::new(number);
        let switch = Arc::clone(switch);
        let uplink = Self { namespace, switch, port, interface, families, number, line };
        IP.run(&uplink.namespace, &format!("link set lo up\n{}", uplink.appear()), None)?;
        wan.map_or(Ok(()), |wan| uplink.limit(wan))?;
        Ok(uplink)
    }

    /// Sets the rate in both directions.
    fn limit(&self, wan: &Wan) -> Result<(), LabError> {
        TC.run(&self.namespace, &wan.bucket(self.interface), None)?;
        TC.run(&self.switch.namespace, &wan.bucket(&self.port.to_string()), None)
    }

    /// The commands that give the interface its addresses and take it up.
    fn appear(&self) -> String {
        let Self { interface, switch, .. } = self;
        // An interface that has no link-local address speaks no IPv6.
        let quiet = format!("link set {interface} addrgenmode none\n");
        let mut script = if self.ipv6().is_some() { String::new() } else { quiet };
        let route = |via: IpAddr| format!("route add default via {via} dev {interface}\n");
        let mut routes = String::new();
        if let Some(v4) = self.ipv4() {
            script += &format!("addr add {v4}/24 dev {interface}\n");
            let via = switch.gateway.map(|number| switch.subnet.v4(number).into());
            routes += &via.map(route).unwrap_or_default();
        }
        if let Some(v6) = self.ipv6() {
            // Without duplicate address detection the address works at once.
            script += &format!("addr add {v6}/64 dev {interface} nodad\n");
            let via = switch.gateway.and_then(|number| switch.subnet.v6(number));
            routes += &via.map(|via| route(via.into())).unwrap_or_default();
        }
        script + &format!("link set {interface} up\n") + &routes
    }

    fn number(&self) -> u8 {
        self.number.load(Ordering::Relaxed)
    }

    /// Its place on the switch.
    pub(crate) fn place(&self) -> (Arc<Switch>, Port) {
        (Arc::clone(&self.switch), self.port)
    }

    /// The IPv4 address, if it has one.
    pub(crate) fn ipv4(&self) -> Option<Ipv4Addr> {
        (self.families != Families::V6).then(|| self.switch.subnet.v4(self.number()))
    }

    /// The IPv6 address, if it has one.
    pub(crate) fn ipv6(&self) -> Option<Ipv6Addr> {
        if self.families == Families::V4 { None } else { self.switch.subnet.v6(self.number()) }
    }

    /// Pulls the plug or puts it back; the addresses stay.
    pub(crate) fn connect(&self, connected: bool) -> Result<(), LabError> {
        self.switch.connect(self.port, connected)?;
        if self.line.is_some() {
            // The two ends of a WAN line do not see each other's carrier.
            let carrier = if connected { "on" } else { "off" };
            let script = format!("link set {} carrier {carrier}\n", self.interface);
            IP.run(&self.namespace, &script, None)?;
        }
        Ok(())
    }

    /// Drops whatever passes, silently, or lets it pass again.
    pub(crate) fn silence(&self, silent: bool) -> Result<(), LabError> {
        self.switch.silence(self.port, silent)
    }

    /// Changes the WAN line.
    pub(crate) fn change(&self, wan: &Wan) -> Result<(), LabError> {
        self.line.as_ref().ok_or(LabError::NoWan)?.set(wan);
        self.limit(wan)
    }

    /// Takes the interface down and up again with addresses that nobody has had.
    pub(crate) fn renumber(&self) -> Result<(), LabError> {
        self.number.store(self.switch.number()?, Ordering::Relaxed);
        let interface = self.interface;
        let gone = format!("link set {interface} down\naddr flush dev {interface}\n");
        IP.run(&self.namespace, &(gone + &self.appear()), None)
    }
}

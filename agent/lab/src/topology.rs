//! Networks as data: which hosts there are, behind which routers, over which lines.
//!
//! Everything hangs on one internet, where those are that are behind nobody. Written as TOML:
//!
//! ```toml
//! [hosts.hub]                                   # public, with IPv4 and IPv6
//! [hosts.alice]
//! behind = "home"
//! [hosts.bob]
//! addresses = "ipv6"
//! link = { delay = "20ms", jitter = "3ms", loss-percent = 0.5, rate-mbit = 50.0, mtu = 1400 }
//! [routers.home]
//! nat = "easy"                                  # or "symmetric", "full-cone"
//! firewall = "open"                             # or "udp-blocked", "tcp-443"
//! behind = "carrier"
//! [routers.carrier]
//! nat = "symmetric"
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::switch::{Subnet, Switch};
use crate::{Families, Firewall, Host, Lab, LabError, Nat, Router, Wan};

mod kind;

pub use kind::Kind;

/// A description of a network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Topology {
    /// Hosts, by name.
    pub hosts: BTreeMap<String, HostPlace>,
    /// Routers, by name.
    pub routers: BTreeMap<String, RouterPlace>,
}

/// Where a host is, and how it is connected.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct HostPlace {
    /// The router it is behind; the internet where none is named.
    pub behind: Option<String>,
    /// Which addresses it has.
    pub addresses: Families,
    /// The WAN line it is connected by; a cable where there is none.
    pub link: Option<Wan>,
}

/// What a router does, where it is, and how it is connected to the outside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RouterPlace {
    /// How it maps addresses.
    pub nat: Nat,
    /// What it lets out.
    pub firewall: Firewall,
    /// The router it is behind; the internet where none is named.
    pub behind: Option<String>,
    /// The WAN line to the outside; a cable where there is none.
    pub link: Option<Wan>,
}

/// A network that is there.
pub struct Built {
    /// The internet.
    pub lab: Lab,
    /// The hosts, by name.
    pub hosts: BTreeMap<String, Host>,
    /// The routers, by name.
    pub routers: BTreeMap<String, Router>,
}

impl Topology {
    /// Reads a description.
    ///
    /// # Errors
    /// Says where it is not one.
    pub fn parse(text: &str) -> Result<Self, LabError> {
        toml::from_str(text).map_err(|error| LabError::Topology(error.to_string()))
    }

    /// The description as TOML.
    ///
    /// # Errors
    /// None is known: every value here has a form in TOML.
    pub fn to_toml(&self) -> Result<String, LabError> {
        toml::to_string(self).map_err(|error| LabError::Topology(error.to_string()))
    }

    /// Adds a public host.
    #[must_use]
    pub fn public(self, name: &str) -> Self {
        self.host(name, HostPlace::default())
    }

    /// Adds a host.
    #[must_use]
    pub fn host(mut self, name: &str, place: HostPlace) -> Self {
        self.hosts.insert(name.into(), place);
        self
    }

    /// Adds a router.
    #[must_use]
    pub fn router(mut self, name: &str, place: RouterPlace) -> Self {
        self.routers.insert(name.into(), place);
        self
    }

    /// Adds a host behind a router of its own, which is called after it: «alice-router».
    #[must_use]
    pub fn behind(self, name: &str, router: RouterPlace) -> Self {
        let between = format!("{name}-router");
        let place = HostPlace { behind: Some(between.clone()), ..HostPlace::default() };
        self.router(&between, router).host(name, place)
    }

    /// Gives everything that hangs on the internet by now this line.
    #[must_use]
    pub fn lines(mut self, line: &Wan) -> Self {
        let hosts = self.hosts.values_mut().filter(|place| place.behind.is_none());
        hosts.for_each(|place| place.link = Some(line.clone()));
        let routers = self.routers.values_mut().filter(|place| place.behind.is_none());
        routers.for_each(|place| place.link = Some(line.clone()));
        self
    }

    /// Builds it. Ordinary users may serve on every port of its hosts.
    ///
    /// # Errors
    /// If a router is behind one that is not there or behind itself, or the system refuses.
    pub fn build(&self) -> Result<Built, LabError> {
        let mut built =
            Built { lab: Lab::internet()?, hosts: BTreeMap::new(), routers: BTreeMap::new() };
        let mut waiting: BTreeSet<&String> = self.routers.keys().collect();
        while !waiting.is_empty() {
            let before = waiting.len();
            for name in waiting.clone() {
                let place = &self.routers[name];
                if let Ok(above) = built.switch(place.behind.as_ref()) {
                    built.routers.insert(name.clone(), self.build_router(name, &above)?);
                    waiting.remove(name);
                }
            }
            if waiting.len() == before {
                let names = format!("{waiting:?} are behind a router that is not there");
                return Err(LabError::Topology(names));
            }
        }
        for (name, place) in &self.hosts {
            let switch = built.switch(place.behind.as_ref())?;
            let host = Host::new(name, &switch, place.addresses, place.link.as_ref())?;
            host.open_low_ports()?;
            built.hosts.insert(name.clone(), host);
        }
        Ok(built)
    }

    fn build_router(&self, name: &str, above: &Arc<Switch>) -> Result<Router, LabError> {
        let place = &self.routers[name];
        let carrier = self.routers.values().any(|other| other.behind.as_deref() == Some(name));
        let subnet = if carrier { Subnet::CARRIER } else { Subnet::HOME };
        Router::new(name, above, subnet, (place.nat, place.firewall), place.link.as_ref())
    }
}

impl Built {
    /// What a host or router is connected with that is behind `router`.
    fn switch(&self, router: Option<&String>) -> Result<Arc<Switch>, LabError> {
        let Some(name) = router else { return Ok(Arc::clone(self.lab.switch())) };
        let unknown = || LabError::Topology(format!("there is no router {name}"));
        self.routers.get(name).map(|router| Arc::clone(&router.inside)).ok_or_else(unknown)
    }
}

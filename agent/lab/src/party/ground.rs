//! What a network of parties stands on.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::{Host, Lab, LabError, Router, Topology};

/// The hub's port on a host of its own.
const HUB_PORT: u16 = 4747;
/// The port of hub and parties in a topology, to which every firewall lets TCP out.
const WEB_PORT: u16 = 443;

/// Where hub and parties are.
pub(super) enum Ground {
    /// All on this machine.
    Loopback,
    /// On neighbouring hosts, made as they are needed.
    Neighbours(Lab),
    /// On the hosts of a topology, taken as they are needed.
    Topology { lab: Lab, routers: BTreeMap<String, Router>, hosts: Mutex<BTreeMap<String, Host>> },
}

impl Ground {
    pub(super) fn topology(topology: &Topology) -> Result<Self, LabError> {
        let built = topology.build()?;
        Ok(Self::Topology { lab: built.lab, routers: built.routers, hosts: built.hosts.into() })
    }

    /// The host for the hub or party of this name.
    pub(super) fn host(&self, name: &str) -> Result<Option<Host>, LabError> {
        match self {
            Self::Loopback => Ok(None),
            Self::Neighbours(lab) => lab.host(name).map(Some),
            Self::Topology { hosts, .. } => {
                let missing = || LabError::Topology(format!("there is no host left for {name}"));
                let mut hosts = hosts.lock().unwrap_or_else(PoisonError::into_inner);
                hosts.remove(name).ok_or_else(missing).map(Some)
            }
        }
    }

    pub(super) fn lab(&self) -> Option<&Lab> {
        match self {
            Self::Loopback => None,
            Self::Neighbours(lab) | Self::Topology { lab, .. } => Some(lab),
        }
    }

    pub(super) fn router(&self, name: &str) -> Option<&Router> {
        match self {
            Self::Loopback | Self::Neighbours(_) => None,
            Self::Topology { routers, .. } => routers.get(name),
        }
    }

    /// The port that the hub serves on; any where it is 0.
    pub(super) fn hub_port(&self) -> u16 {
        match self {
            Self::Loopback => 0,
            Self::Neighbours(_) => HUB_PORT,
            Self::Topology { .. } => WEB_PORT,
        }
    }

    /// The port that parties listen on; any where it is 0.
    pub(super) fn party_port(&self) -> u16 {
        if matches!(self, Self::Topology { .. }) { WEB_PORT } else { 0 }
    }
}

//! A lab: a switch and the hosts on it, all of them neighbours.

use std::sync::Arc;

use crate::switch::Switch;
use crate::uplink::Families;
use crate::{Host, LabError};

/// A switch and the hosts on it.
pub struct Lab {
    switch: Arc<Switch>,
}

impl Lab {
    /// A lab without hosts.
    ///
    /// # Errors
    /// If namespaces are not allowed here or a tool is missing; the message says what to do.
    pub fn new() -> Result<Self, LabError> {
        Ok(Self { switch: Arc::new(Switch::flat()?) })
    }

    /// A lab whose hosts are as far from each other as on the internet.
    pub(crate) fn internet() -> Result<Self, LabError> {
        Ok(Self { switch: Arc::new(Switch::internet()?) })
    }

    /// The switch.
    pub(crate) fn switch(&self) -> &Arc<Switch> {
        &self.switch
    }

    /// Whether labs work on this machine, for this user; if not, why.
    ///
    /// # Errors
    /// The reason and the remedy.
    pub fn available() -> Result<(), String> {
        Self::new().and_then(|lab| lab.host("probe")).map(drop).map_err(|e| e.to_string())
    }

    /// Adds a host with addresses 10.77.0.n and fd77::n, n counting from 1. Its name is for people.
    ///
    /// # Errors
    /// If the system refuses, or there are 253 hosts.
    pub fn host(&self, name: &str) -> Result<Host, LabError> {
        Host::new(name, &self.switch, Families::Both, None)
    }

    /// Drops everything between two hosts, silently, in both directions.
    ///
    /// # Errors
    /// If the packet filter refuses.
    pub fn cut(&self, a: &Host, b: &Host) -> Result<(), LabError> {
        a.drop_to(b)?;
        b.drop_to(a)
    }

    /// Lets two hosts talk again in both directions.
    ///
    /// # Errors
    /// If the packet filter refuses.
    pub fn heal(&self, a: &Host, b: &Host) -> Result<(), LabError> {
        let (switch, from, to) = a.meeting(b)?;
        switch.block(from, to, false)?;
        switch.block(to, from, false)
    }

    /// Lets all hosts talk again. Hosts that are [`Host::down`] stay so.
    ///
    /// # Errors
    /// If the packet filter refuses.
    pub fn heal_all(&self) -> Result<(), LabError> {
        self.switch.pass_all()
    }
}

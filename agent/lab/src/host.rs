//! A host: a network namespace in which ordinary programs run.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::switch::{Port, Switch, meeting};
use crate::tool::{NFT, SH};
use crate::uplink::{Families, Uplink};
use crate::wan::Wan;
use crate::{LabError, destinations, leftovers};

/// Where [`Host::free_port`] starts: above the usual services, below the ports that the kernel
/// gives to outgoing connections.
const FIRST_FREE_PORT: u16 = 20_000;

/// How often [`Host::wait_for`] looks.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A host: a network namespace with its own addresses. When it is dropped, whatever still runs in
/// it is killed.
pub struct Host {
    name: String,
    uplink: Uplink,
    next_port: AtomicU16,
}

impl Host {
    pub(crate) fn new(
        name: &str,
        switch: &Arc<Switch>,
        families: Families,
        wan: Option<&Wan>,
    ) -> Result<Self, LabError> {
        let uplink = Uplink::new(switch, "eth0", families, wan)?;
        Ok(Self { name: name.to_owned(), uplink, next_port: AtomicU16::new(FIRST_FREE_PORT) })
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its IPv4 address; the unspecified one where it has none.
    #[must_use]
    pub fn ip(&self) -> Ipv4Addr {
        self.uplink.ipv4().unwrap_or(Ipv4Addr::UNSPECIFIED)
    }

    /// Its IPv6 address; the unspecified one where it has none.
    #[must_use]
    pub fn ipv6(&self) -> Ipv6Addr {
        self.uplink.ipv6().unwrap_or(Ipv6Addr::UNSPECIFIED)
    }

    /// The addresses that it has.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        let v4 = self.uplink.ipv4().map(IpAddr::from);
        v4.into_iter().chain(self.uplink.ipv6().map(IpAddr::from)).collect()
    }

    /// Its IPv4 address with a port.
    #[must_use]
    pub fn socket(&self, port: u16) -> SocketAddr {
        (IpAddr::from(self.ip()), port).into()
    }

    /// A program that will run on this host; the process spawned is the program itself. For an
    /// asynchronous one: `tokio::process::Command::from(host.command(…))`.
    ///
    /// The program is killed when the **thread** that spawns it ends, which the kernel takes for
    /// the death of its parent: spawn from a thread that outlives it.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.uplink.namespace.command(program)
    }

    /// A UDP socket of this host, bound to `port` (0 takes any) for both families, to be used from
    /// here.
    ///
    /// # Errors
    /// If the port is taken or the system refuses.
    pub fn udp_socket(&self, port: u16) -> Result<UdpSocket, LabError> {
        let what = || format!("cannot open UDP port {port} of {}", self.name);
        self.uplink.namespace.udp(port).map_err(|e| LabError::io(what())(e))
    }

    /// A TCP socket of this host that listens on `port` for both families, to be served from here.
    ///
    /// # Errors
    /// If the port is taken or the system refuses.
    pub fn tcp_listener(&self, port: u16) -> Result<TcpListener, LabError> {
        let what = || format!("cannot listen on TCP port {port} of {}", self.name);
        self.uplink.namespace.tcp(port).map_err(|e| LabError::io(what())(e))
    }

    /// From now on remembers whereto this host begins to send TCP or UDP; once is enough.
    ///
    /// # Errors
    /// If the packet filter refuses.
    pub fn watch_destinations(&self) -> Result<(), LabError> {
        NFT.run(&self.uplink.namespace, destinations::WATCH, None)
    }

    /// Whereto this host has begun to send since [`Host::watch_destinations`], including itself.
    ///
    /// # Errors
    /// If it is not watched.
    pub fn destinations(&self) -> Result<BTreeSet<SocketAddr>, LabError> {
        destinations::read(&self.uplink.namespace)
    }

    /// How a person gets into this host from another terminal while this process lives.
    #[must_use]
    pub fn enter_with(&self) -> String {
        self.uplink.namespace.enter_with()
    }

    /// Drops everything from this host to the other, silently; the other direction still works. Where
    /// one is behind a router, this happens to all behind it.
    ///
    /// # Errors
    /// If the packet filter refuses, or they are of different labs.
    pub fn drop_to(&self, other: &Self) -> Result<(), LabError> {
        let (switch, from, to) = self.meeting(other)?;
        switch.block(from, to, true)
    }

    /// Drops everything from the other host to this one, silently.
    ///
    /// # Errors
    /// If the packet filter refuses.
    pub fn drop_from(&self, other: &Self) -> Result<(), LabError> {
        other.drop_to(self)
    }

    /// Pulls the plug: the interface loses its carrier and keeps its addresses.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn down(&self) -> Result<(), LabError> {
        self.uplink.connect(false)
    }

    /// Puts the plug back.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn up(&self) -> Result<(), LabError> {
        self.uplink.connect(true)
    }

    /// Drops whatever passes to and from this host, silently, until it is told otherwise.
    ///
    /// # Errors
    /// If the packet filter refuses.
    pub fn silence(&self, silent: bool) -> Result<(), LabError> {
        self.uplink.silence(silent)
    }

    /// Takes the interface down and up again with addresses that nobody has had.
    ///
    /// # Errors
    /// If the system refuses, or no address is left.
    pub fn renumber(&self) -> Result<(), LabError> {
        self.uplink.renumber()
    }

    /// Changes its WAN line.
    ///
    /// # Errors
    /// If the topology gave it none.
    pub fn set_link(&self, wan: &Wan) -> Result<(), LabError> {
        self.uplink.change(wan)
    }

    /// The switch where the ways to another host meet, and the ports there.
    pub(crate) fn meeting(&self, other: &Self) -> Result<(Arc<Switch>, Port, Port), LabError> {
        let apart = || LabError::Apart(self.name.clone(), other.name.clone());
        meeting(self.uplink.place(), &other.uplink.place()).ok_or_else(apart)
    }

    /// Lets ordinary users serve on every port.
    pub(crate) fn open_low_ports(&self) -> Result<(), LabError> {
        let script = "echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start\n";
        SH.run(&self.uplink.namespace, script, None)
    }

    /// A TCP port on which nothing listens here; no two calls return the same one.
    ///
    /// # Errors
    /// If the socket table cannot be read.
    pub fn free_port(&self) -> Result<u16, LabError> {
        loop {
            let port = self.next_port.fetch_add(1, Ordering::Relaxed);
            if !self.listens(port)? {
                return Ok(port);
            }
        }
    }

    /// Whether a program listens on TCP port `port`. Looks at the kernel's table, connects to
    /// nothing.
    ///
    /// # Errors
    /// If the socket table cannot be read.
    pub fn listens(&self, port: u16) -> Result<bool, LabError> {
        let what = || format!("cannot read the socket table of {}", self.name);
        self.uplink.namespace.sockets().contain(port).map_err(|e| LabError::io(what())(e))
    }

    /// Waits until a program listens on TCP port `port`.
    ///
    /// # Errors
    /// If none does within `limit`.
    pub fn wait_for(&self, port: u16, limit: Duration) -> Result<(), LabError> {
        let begun = Instant::now();
        while !self.listens(port)? {
            let waited = begun.elapsed();
            if waited > limit {
                return Err(LabError::NotListening { host: self.name.clone(), port, waited });
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        leftovers::kill(self.uplink.namespace.descriptor());
    }
}

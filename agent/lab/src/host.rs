//! A lab and its hosts.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::namespace::Namespace;
use crate::switch::{Port, Switch};
use crate::tool::IP;
use crate::{LabError, leftovers};

/// Where [`Host::free_port`] starts: above the usual services, below the ports that the kernel
/// gives to outgoing connections.
const FIRST_FREE_PORT: u16 = 20_000;

/// How often [`Host::wait_for`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);

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
        Ok(Self { switch: Arc::new(Switch::new()?) })
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
    /// If the system refuses, or there are 254 hosts.
    pub fn host(&self, name: &str) -> Result<Host, LabError> {
        let (namespace, port) = self.switch.plug()?;
        let host = Host {
            name: name.to_owned(),
            namespace,
            port,
            switch: Arc::clone(&self.switch),
            next_port: AtomicU16::new(FIRST_FREE_PORT),
        };
        let (v4, v6) = (host.ip(), host.ipv6());
        // Without duplicate address detection the address works at once.
        let script = format!(
            "addr add {v4}/24 dev eth0\naddr add {v6}/64 dev eth0 nodad\nlink set eth0 up\n"
        );
        IP.run(&host.namespace, &script, None)?;
        Ok(host)
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
        self.switch.pass(a.port, b.port)?;
        self.switch.pass(b.port, a.port)
    }

    /// Lets all hosts talk again. Hosts that are [`Host::down`] stay so.
    ///
    /// # Errors
    /// If the packet filter refuses.
    pub fn heal_all(&self) -> Result<(), LabError> {
        self.switch.pass_all()
    }
}

/// A host: a network namespace with its own addresses. When it is dropped, whatever still runs in
/// it is killed.
pub struct Host {
    name: String,
    namespace: Namespace,
    port: Port,
    switch: Arc<Switch>,
    next_port: AtomicU16,
}

impl Host {
    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its IPv4 address.
    #[must_use]
    pub fn ip(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, self.port.0)
    }

    /// Its IPv6 address.
    #[must_use]
    pub fn ipv6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, self.port.0.into())
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
        self.namespace.command(program)
    }

    /// How a person gets into this host from another terminal while this process lives.
    #[must_use]
    pub fn enter_with(&self) -> String {
        self.namespace.enter_with()
    }

    /// Drops everything from this host to the other, silently; the other direction still works.
    ///
    /// # Errors
    /// If the packet filter refuses.
    pub fn drop_to(&self, other: &Self) -> Result<(), LabError> {
        self.switch.block(self.port, other.port)
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
        self.switch.connect(self.port, false)
    }

    /// Puts the plug back.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn up(&self) -> Result<(), LabError> {
        self.switch.connect(self.port, true)
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
        self.namespace.sockets().contain(port).map_err(|e| LabError::io(what())(e))
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
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        leftovers::kill(self.namespace.descriptor());
    }
}

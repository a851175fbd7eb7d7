//! What the tests of hosts and topologies have in common: sockets on hosts, and looking around.

#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not their helpers")]
#![allow(dead_code, reason = "each test file uses its part of it")]

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mpyc_party_lab::topology::{Built, Kind};
use mpyc_party_lab::{Host, Topology};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_mpyc-party-lab");
/// Far longer than anything here takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);
/// What passes, passes within a thousandth of this.
pub(crate) const SILENCE_TIME: Duration = Duration::from_millis(300);
/// Where the socket inside is bound.
pub(crate) const INSIDE: u16 = 5000;

/// A host in a network of some kind, with a socket, and two public sockets outside on hosts of
/// their own, of which one has a second port.
pub(crate) struct Scene {
    pub(crate) built: Built,
    pub(crate) inside: UdpSocket,
    pub(crate) near: UdpSocket,
    near_again: UdpSocket,
    pub(crate) far: UdpSocket,
}

impl Scene {
    pub(crate) fn new(kind: Kind) -> Self {
        let topology = kind.place(Topology::default(), "alice").public("near").public("far");
        let built = topology.build().unwrap();
        let socket = |host: &str, port| built.hosts[host].udp_socket(port).unwrap();
        let (inside, far) = (socket("alice", INSIDE), socket("far", 7000));
        let (near, near_again) = (socket("near", 7000), socket("near", 7001));
        Self { inside, near, near_again, far, built }
    }

    pub(crate) fn address(&self, host: &str, port: u16) -> SocketAddr {
        self.built.hosts[host].socket(port)
    }

    /// Sends from inside to each of the three outside, and returns where it came from to each.
    pub(crate) fn mapped(&self) -> [SocketAddr; 3] {
        let targets = [("near", 7000), ("near", 7001), ("far", 7000)];
        for (host, port) in targets {
            send(&self.inside, self.address(host, port));
        }
        [&self.near, &self.near_again, &self.far].map(|socket| receive(socket).unwrap())
    }
}

pub(crate) fn send(from: &UdpSocket, to: SocketAddr) {
    let to = match to.ip() {
        IpAddr::V4(v4) => (v4.to_ipv6_mapped(), to.port()).into(),
        IpAddr::V6(_) => to,
    };
    from.send_to(b"hello", to).unwrap();
}

pub(crate) fn receive_within(socket: &UdpSocket, limit: Duration) -> Option<SocketAddr> {
    socket.set_read_timeout(Some(limit)).unwrap();
    let (_, from) = socket.recv_from(&mut [0; 16]).ok()?;
    Some(SocketAddr::new(from.ip().to_canonical(), from.port()))
}

pub(crate) fn receive(socket: &UdpSocket) -> Option<SocketAddr> {
    receive_within(socket, LIMIT)
}

pub(crate) fn hears_nothing(socket: &UdpSocket) {
    assert_eq!(receive_within(socket, SILENCE_TIME), None, "something came through");
}

/// A TCP connection from a host to this address opens, or does not for a while.
pub(crate) fn connects(from: &Host, to: SocketAddr, expected: bool) -> bool {
    let limit = if expected { LIMIT } else { SILENCE_TIME };
    let script = format!("exec 3<> /dev/tcp/{}/{}", to.ip(), to.port());
    let seconds = limit.as_secs_f64().to_string();
    let tried = from
        .command("timeout")
        .args([&seconds, "bash", "-c", &script])
        .stderr(Stdio::null())
        .status();
    tried.unwrap().success() == expected
}

/// Listens on TCP ports of a host until it is dropped.
pub(crate) struct Listeners(Vec<Child>);

impl Listeners {
    pub(crate) fn new(host: &Host, ports: &[u16]) -> Self {
        let listen = |port: &u16| {
            let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port));
            let mut command = host.command(PROGRAM);
            command.args(["traffic", "serve", &address.to_string()]).stdout(Stdio::null());
            let child = command.spawn().unwrap();
            host.wait_for(*port, LIMIT).unwrap();
            child
        };
        Self(ports.iter().map(listen).collect())
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        for listener in &mut self.0 {
            listener.kill().unwrap();
            listener.wait().unwrap();
        }
    }
}

/// Everything that keeps a network namespace alive: processes in it, descriptors, mounts.
pub(crate) fn holders(namespace: &str) -> Vec<String> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let path = process.path();
        let links = fs::read_dir(path.join("fd")).into_iter().flatten().flatten();
        let links = links.map(|fd| fd.path()).chain([path.join("ns/net")]);
        for link in links {
            if fs::read_link(&link).is_ok_and(|to| to.to_string_lossy() == namespace) {
                found.push(link.display().to_string());
            }
        }
        let mounts = fs::read_to_string(path.join("mountinfo")).unwrap_or_default();
        if mounts.contains(namespace) {
            found.push(path.join("mountinfo").display().to_string());
        }
    }
    found
}

pub(crate) fn namespace_of(pid: u32) -> String {
    fs::read_link(format!("/proc/{pid}/ns/net")).unwrap().to_string_lossy().into_owned()
}

pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LIMIT, "not {what} after {LIMIT:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

//! Each kind of NAT, firewall and line does what it claims, seen with real sockets.

#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not their helpers")]

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mpyc_party_lab::topology::{Built, HostPlace, Kind};
use mpyc_party_lab::{Host, LabError, Router, Topology, Wan};

const PROGRAM: &str = env!("CARGO_BIN_EXE_mpyc-party-lab");
/// Far longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);
/// What passes, passes within a thousandth of this.
const SILENCE: Duration = Duration::from_millis(300);
/// Where the socket inside is bound.
const INSIDE: u16 = 5000;

/// A host in a network of some kind, with a socket, and two public sockets outside on hosts of
/// their own, of which one has a second port.
struct Scene {
    built: Built,
    inside: UdpSocket,
    near: UdpSocket,
    near_again: UdpSocket,
    far: UdpSocket,
}

impl Scene {
    fn new(kind: Kind) -> Self {
        let topology = kind.place(Topology::default(), "alice").public("near").public("far");
        let built = topology.build().unwrap();
        let socket = |host: &str, port| built.hosts[host].udp_socket(port).unwrap();
        let (inside, far) = (socket("alice", INSIDE), socket("far", 7000));
        let (near, near_again) = (socket("near", 7000), socket("near", 7001));
        Self { inside, near, near_again, far, built }
    }

    fn address(&self, host: &str, port: u16) -> SocketAddr {
        self.built.hosts[host].socket(port)
    }

    /// Sends from inside to each of the three outside, and returns where it came from to each.
    fn mapped(&self) -> [SocketAddr; 3] {
        let targets = [("near", 7000), ("near", 7001), ("far", 7000)];
        for (host, port) in targets {
            send(&self.inside, self.address(host, port));
        }
        [&self.near, &self.near_again, &self.far].map(|socket| receive(socket).unwrap())
    }
}

fn send(from: &UdpSocket, to: SocketAddr) {
    let to = match to.ip() {
        IpAddr::V4(v4) => (v4.to_ipv6_mapped(), to.port()).into(),
        IpAddr::V6(_) => to,
    };
    from.send_to(b"hello", to).unwrap();
}

fn receive_within(socket: &UdpSocket, limit: Duration) -> Option<SocketAddr> {
    socket.set_read_timeout(Some(limit)).unwrap();
    let (_, from) = socket.recv_from(&mut [0; 16]).ok()?;
    Some(SocketAddr::new(from.ip().to_canonical(), from.port()))
}

fn receive(socket: &UdpSocket) -> Option<SocketAddr> {
    receive_within(socket, LIMIT)
}

fn hears_nothing(socket: &UdpSocket) {
    assert_eq!(receive_within(socket, SILENCE), None, "something came through");
}

#[test]
fn an_easy_nat_maps_by_endpoint_and_filters_by_address_and_port() {
    for kind in [Kind::Easy, Kind::Carrier] {
        let scene = Scene::new(kind);
        let [mapped, again, far] = scene.mapped();
        assert_eq!((mapped, mapped), (again, far), "{kind}: another mapping for each destination");
        assert_eq!(mapped.port(), INSIDE, "{kind}: the port is not kept");
        send(&scene.far, mapped);
        assert_eq!(receive(&scene.inside), Some(scene.address("far", 7000)), "{kind}");
        let stranger = scene.built.hosts["far"].udp_socket(7002).unwrap();
        send(&stranger, mapped);
        hears_nothing(&scene.inside);
    }
}

#[test]
fn an_early_packet_does_not_change_the_mapping() {
    let scene = Scene::new(Kind::Easy);
    let outside = scene.built.routers["alice-router"].ip().unwrap();
    send(&scene.near, (outside, INSIDE).into());
    hears_nothing(&scene.inside);
    let [mapped, ..] = scene.mapped();
    assert_eq!(mapped, (outside, INSIDE).into(), "the early packet has taken the port");
    send(&scene.near, mapped);
    assert!(receive(&scene.inside).is_some());
}

#[test]
fn a_symmetric_nat_maps_each_destination_to_another_port() {
    let scene = Scene::new(Kind::Symmetric);
    let mapped = scene.mapped();
    let [near, again, far] = mapped.map(|address| address.port());
    assert!(near != again && again != far && near != far, "{mapped:?}");
    send(&scene.near, mapped[0]);
    assert_eq!(receive(&scene.inside), Some(scene.address("near", 7000)));
    send(&scene.far, mapped[0]);
    hears_nothing(&scene.inside);
}

#[test]
fn a_full_cone_lets_strangers_in() {
    let scene = Scene::new(Kind::FullCone);
    let [mapped, again, far] = scene.mapped();
    assert_eq!((mapped, mapped), (again, far));
    let stranger = scene.built.hosts["far"].udp_socket(7002).unwrap();
    send(&stranger, mapped);
    assert_eq!(receive(&scene.inside), Some(scene.address("far", 7002)));
}

/// Does something to the router of a host behind a NAT of this kind, and returns its mapping before
/// and after. The old one is dead, the new one works.
fn rebound(kind: Kind, by: fn(&Router) -> Result<(), LabError>) -> [SocketAddr; 2] {
    let scene = Scene::new(kind);
    let [before, ..] = scene.mapped();
    by(&scene.built.routers["alice-router"]).unwrap();
    let begun = Instant::now();
    let after = loop {
        // The kernel forgets a little later.
        let [after, ..] = scene.mapped();
        if after != before {
            break after;
        }
        assert!(begun.elapsed() < LIMIT, "{kind}: still {before}");
    };
    send(&scene.near, before);
    hears_nothing(&scene.inside);
    send(&scene.near, after);
    assert!(receive(&scene.inside).is_some(), "{kind}: {after} is not open");
    [before, after]
}

#[test]
fn rebinding_changes_the_port() {
    for kind in [Kind::Easy, Kind::Symmetric] {
        let [before, after] = rebound(kind, Router::rebind);
        assert_eq!(before.ip(), after.ip(), "{kind}");
    }
}

#[test]
fn another_provider_changes_the_address() {
    for kind in [Kind::Easy, Kind::FullCone] {
        let [before, after] = rebound(kind, Router::renumber);
        assert_ne!(before.ip(), after.ip(), "{kind}");
    }
}

/// Whether a TCP connection from a host to this address opens soon.
fn connects(from: &Host, to: SocketAddr) -> bool {
    let script = format!("exec 3<> /dev/tcp/{}/{}", to.ip(), to.port());
    let seconds = SILENCE.as_secs_f64().to_string();
    let tried = from
        .command("timeout")
        .args([&seconds, "bash", "-c", &script])
        .stderr(Stdio::null())
        .status();
    tried.unwrap().success()
}

/// Listens on TCP ports of a host until it is dropped.
struct Listeners(Vec<Child>);

impl Listeners {
    fn new(host: &Host, ports: &[u16]) -> Self {
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

#[test]
fn firewalls_let_out_what_they_say() {
    for (kind, other_port, udp) in
        [(Kind::Easy, true, true), (Kind::UdpBlocked, true, false), (Kind::Tcp443, false, false)]
    {
        let scene = Scene::new(kind);
        let (alice, near) = (&scene.built.hosts["alice"], &scene.built.hosts["near"]);
        let _listeners = Listeners::new(near, &[443, 8443]);
        assert!(connects(alice, near.socket(443)), "{kind}");
        assert_eq!(connects(alice, near.socket(8443)), other_port, "{kind}");
        send(&scene.inside, near.socket(7000));
        let limit = if udp { LIMIT } else { SILENCE };
        assert_eq!(receive_within(&scene.near, limit).is_some(), udp, "{kind}");
    }
}

#[test]
fn nobody_outside_gets_in_unasked() {
    for kind in [Kind::Easy, Kind::Symmetric, Kind::FullCone, Kind::UdpBlocked, Kind::Tcp443] {
        let scene = Scene::new(kind);
        let (alice, near) = (&scene.built.hosts["alice"], &scene.built.hosts["near"]);
        let _listener = Listeners::new(alice, &[4747]);
        let outside = scene.built.routers["alice-router"].ip().unwrap();
        assert!(!connects(near, (outside, 4747).into()), "{kind}");
        assert!(!connects(near, alice.socket(4747)), "{kind}: its private address is reachable");
        assert!(connects(alice, alice.socket(4747)), "{kind}: the listener is gone");
        if kind != Kind::FullCone {
            send(&scene.near, (outside, INSIDE).into());
            hears_nothing(&scene.inside);
        }
    }
}

#[test]
fn ipv6_alone_is_without_ipv4() {
    let topology = Kind::Ipv6Only.place(Topology::default(), "alice").public("near");
    let built = topology.build().unwrap();
    let (alice, near) = (&built.hosts["alice"], &built.hosts["near"]);
    let _listener = Listeners::new(near, &[443]);
    assert!(connects(alice, (near.ipv6(), 443).into()));
    assert!(!connects(alice, near.socket(443)));
    assert_eq!(alice.addresses(), [IpAddr::from(alice.ipv6())]);
    let addresses = alice.command("ip").args(["-4", "addr", "show", "dev", "eth0"]).output();
    assert_eq!(String::from_utf8(addresses.unwrap().stdout).unwrap(), "");
}

/// Two public hosts, one of them on this line.
fn on_line(link: Wan) -> Built {
    let place = HostPlace { link: Some(link), ..HostPlace::default() };
    Topology::default().host("alice", place).public("near").build().unwrap()
}

/// Sends that many packets over the line and returns how many arrived, and when after being sent.
fn passing(built: &Built, packets: usize) -> Vec<Duration> {
    let (alice, near) = (&built.hosts["alice"], &built.hosts["near"]);
    let (from, to) = (alice.udp_socket(0).unwrap(), near.udp_socket(7000).unwrap());
    send(&from, near.socket(7000));
    receive_within(&to, SILENCE);
    let mut times = Vec::new();
    for _ in 0..packets {
        let sent = Instant::now();
        send(&from, near.socket(7000));
        if receive_within(&to, SILENCE / 3).is_some() {
            times.push(sent.elapsed());
        }
    }
    times
}

#[test]
fn a_line_delays_and_never_reorders() {
    let (delay, jitter) = (Duration::from_millis(20), Duration::from_millis(10));
    let built = on_line(Wan { delay, jitter, ..Wan::default() });
    let mut times = passing(&built, 30);
    times.sort();
    assert_eq!(times.len(), 30, "packets are lost");
    assert!(times[0] >= delay, "{times:?}");
    // Half of the packets have less than half of the jitter; a busy machine adds some.
    assert!(times[15] < delay + jitter * 2, "{times:?}");
    assert!(times[29] - times[0] > jitter / 4, "no jitter: {times:?}");
    let (from, to) = (
        built.hosts["alice"].udp_socket(0).unwrap(),
        built.hosts["near"].udp_socket(7001).unwrap(),
    );
    let target = SocketAddr::from((built.hosts["near"].ipv6(), 7001));
    for number in 0..100_u8 {
        from.send_to(&[number], target).unwrap();
    }
    to.set_read_timeout(Some(LIMIT)).unwrap();
    for number in 0..100_u8 {
        let mut got = [0];
        to.recv_from(&mut got).unwrap();
        assert_eq!(got, [number]);
    }
}

#[test]
fn a_line_loses_what_it_should_and_can_be_changed() {
    let built = on_line(Wan { seed: 7, ..Wan::lossy(30.0) });
    let arrived = passing(&built, 100).len();
    assert!((50..=88).contains(&arrived), "{arrived} of 100 at 30 % loss");
    built.hosts["alice"].set_link(&Wan::default()).unwrap();
    assert_eq!(passing(&built, 30).len(), 30);
    built.hosts["alice"].set_link(&Wan::lossy(100.0)).unwrap();
    assert_eq!(passing(&built, 3).len(), 0);
    assert!(matches!(built.hosts["near"].set_link(&Wan::default()), Err(LabError::NoWan)));
}

#[test]
fn a_line_keeps_its_rate() {
    for delay in [Duration::ZERO, Duration::from_millis(5)] {
        let built = on_line(Wan { rate_mbit: Some(20.0), ..Wan::delay(delay) });
        let (alice, near) = (&built.hosts["alice"], &built.hosts["near"]);
        let _listener = Listeners::new(near, &[7000]);
        let mut command = alice.command(PROGRAM);
        command.args(["traffic", "drive", &near.socket(7000).to_string()]);
        let mut driver = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        driver.stdin.take().unwrap().write_all(b"{\"Bulk\":5000000}\n").unwrap();
        let report = String::from_utf8(driver.wait_with_output().unwrap().stdout).unwrap();
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        // 40 megabit at 20 a second, and what is on top of the payload.
        let seconds = report["Bulk"]["seconds"].as_f64().unwrap();
        assert!((1.9..3.0).contains(&seconds), "{seconds} s for two seconds' worth of bytes");
    }
}

#[test]
fn a_silent_host_hears_nothing_and_is_not_heard() {
    for behind in [false, true] {
        let scene = Scene::new(if behind { Kind::Easy } else { Kind::Public });
        let [mapped, ..] = scene.mapped();
        let alice = &scene.built.hosts["alice"];
        alice.silence(true).unwrap();
        send(&scene.inside, scene.address("near", 7000));
        hears_nothing(&scene.near);
        send(&scene.near, mapped);
        hears_nothing(&scene.inside);
        alice.silence(false).unwrap();
        send(&scene.inside, scene.address("near", 7000));
        assert!(receive(&scene.near).is_some());
        scene.built.lab.cut(alice, &scene.built.hosts["near"]).unwrap();
        send(&scene.inside, scene.address("near", 7000));
        send(&scene.inside, scene.address("far", 7000));
        assert!(receive(&scene.far).is_some(), "the cut hit a bystander");
        hears_nothing(&scene.near);
    }
}

#[test]
fn another_address_works_and_the_old_one_does_not() {
    for link in [None, Some(Wan::default())] {
        let place = HostPlace { link, ..HostPlace::default() };
        let built = Topology::default().host("alice", place).public("near").build().unwrap();
        let (alice, near) = (&built.hosts["alice"], &built.hosts["near"]);
        let before = alice.addresses();
        alice.renumber().unwrap();
        let after = alice.addresses();
        assert_eq!((before.len(), after.len()), (2, 2));
        let (inside, outside) = (alice.udp_socket(5000).unwrap(), near.udp_socket(5000).unwrap());
        for (old, new) in before.into_iter().zip(after) {
            assert_ne!(old, new);
            send(&outside, (old, 5000).into());
            hears_nothing(&inside);
            send(&outside, (new, 5000).into());
            assert!(receive(&inside).is_some(), "{new}");
        }
        alice.down().unwrap();
        send(&outside, alice.socket(5000));
        hears_nothing(&inside);
        alice.up().unwrap();
        send(&outside, alice.socket(5000));
        assert!(receive(&inside).is_some(), "the address is gone with the plug");
    }
}

#[test]
fn a_description_is_read_and_a_wrong_one_refused() {
    let text = "
        [hosts.hub]
        [hosts.alice]
        behind = 'home'
        link = { delay = '20ms', loss-percent = 0.5, rate-mbit = 50.0 }
        [routers.home]
        nat = 'symmetric'
        firewall = 'tcp-443'
        behind = 'carrier'
        [routers.carrier]
    ";
    let topology = Topology::parse(text).unwrap();
    assert_eq!(Topology::parse(&topology.to_toml().unwrap()).unwrap(), topology);
    assert_eq!(topology.hosts["alice"].link.as_ref().unwrap().delay, Duration::from_millis(20));
    assert_eq!(topology.build().unwrap().routers.len(), 2);
    for (wrong, said) in [
        ("[hosts.alice]\nbehind = 'nowhere'", "nowhere"),
        ("[routers.a]\nbehind = 'b'\n[routers.b]\nbehind = 'a'", "a"),
        ("[hosts.alice]\nwhere = 'home'", "where"),
    ] {
        let error = Topology::parse(wrong).and_then(|topology| topology.build().map(drop));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("topology") && error.contains(said), "{error}");
    }
}

#[test]
fn by_hand_it_stays_until_the_end_of_input() {
    let mut held = Command::new(PROGRAM)
        .args(["topology", "easy,symmetric"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(held.stdout.take().unwrap()).lines().map(Result::unwrap);
    let alice = lines.find(|line| line.starts_with("easy-1 ")).unwrap();
    let enter = &alice[alice.find("nsenter").unwrap()..];
    let command = format!("{enter} ip -br addr show dev eth0");
    let shown = Command::new("sh").args(["-c", &command]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("192.168.1.1/24"), "{shown}");
    drop(held.stdin.take());
    assert!(held.wait().unwrap().success());
}

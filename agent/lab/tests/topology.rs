//! Topologies: lines, faults and changes of address do what they say, and descriptions are read.

#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not their helpers")]

mod scene;

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mpyc_party_lab::topology::{Built, HostPlace, Kind, RouterPlace};
use mpyc_party_lab::{Host, LabError, Topology, Wan};
use scene::{
    LIMIT, Listeners, PROGRAM, SILENCE_TIME, Scene, eventually, hears_nothing, holders, receive,
    receive_within, send,
};

/// Two public hosts, one of them on this line.
fn on_line(link: Wan) -> Built {
    let place = HostPlace { link: Some(link), ..HostPlace::default() };
    Topology::default().host("alice", place).public("near").build().unwrap()
}

/// Sends that many packets over the line, one after the other has come, and returns when after being
/// sent they came.
fn passing(built: &Built, packets: usize) -> Vec<Duration> {
    let (alice, near) = (&built.hosts["alice"], &built.hosts["near"]);
    let (from, to) = (alice.udp_socket(0).unwrap(), near.udp_socket(7000).unwrap());
    let pass = || {
        let sent = Instant::now();
        send(&from, near.socket(7000));
        assert!(receive(&to).is_some(), "a packet is lost");
        sent.elapsed()
    };
    // The first finds out where the other is.
    pass();
    (0..packets).map(|_| pass()).collect()
}

#[test]
fn a_line_delays_and_never_reorders() {
    let (delay, jitter) = (Duration::from_millis(20), Duration::from_millis(10));
    let built = on_line(Wan { delay, jitter, ..Wan::default() });
    let mut times = passing(&built, 30);
    times.sort();
    assert!(times[0] >= delay, "{times:?}");
    // Half of the packets have less than half of the jitter; a busy machine adds some.
    assert!(times[15] < delay * 5, "{times:?}");
    assert!(times[20] - times[2] > jitter / 4, "no jitter: {times:?}");
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

/// How many of a hundred packets come over the line, in the end.
fn arriving(built: &Built) -> usize {
    let (alice, near) = (&built.hosts["alice"], &built.hosts["near"]);
    let (from, to) = (alice.udp_socket(0).unwrap(), near.udp_socket(7000).unwrap());
    for _ in 0..100 {
        send(&from, near.socket(7000));
    }
    (0..100).take_while(|_| receive_within(&to, SILENCE_TIME).is_some()).count()
}

#[test]
fn a_line_loses_what_it_should_and_can_be_changed() {
    let built = on_line(Wan::default());
    // The two know where the other is before anything is lost.
    passing(&built, 1);
    let lossy = |percent| {
        built.hosts["alice"].set_link(&Wan { seed: 7, ..Wan::lossy(percent) }).unwrap();
        arriving(&built)
    };
    assert!((50..=88).contains(&lossy(30.0)));
    assert_eq!((lossy(0.0), lossy(100.0)), (100, 0));
    assert!(matches!(built.hosts["near"].set_link(&Wan::default()), Err(LabError::NoWan)));
}

/// Whether a datagram that makes an IPv4 packet of `bytes` arrives.
fn passes(built: &Built, bytes: usize) -> bool {
    const HEADER_BYTES: usize = 20 + 8;
    let (alice, near) = (&built.hosts["alice"], &built.hosts["near"]);
    let (from, to) = (alice.udp_socket(0).unwrap(), near.udp_socket(7000).unwrap());
    let at = (near.ip().to_ipv6_mapped(), 7000);
    from.send_to(&vec![0; bytes - HEADER_BYTES], at).unwrap();
    receive_within(&to, SILENCE_TIME).is_some()
}

#[test]
fn a_narrow_line_loses_what_is_larger_and_says_nothing() {
    let built = on_line(Wan::narrow(1400));
    passing(&built, 1);
    let sizes = [100, 1400, 1401, 1500, 1400];
    assert_eq!(sizes.map(|bytes| passes(&built, bytes)), [true, true, false, false, true]);
}

#[test]
fn a_line_keeps_its_rate() {
    let slow = Wan { rate_mbit: Some(20.0), ..Wan::default() };
    for later in [false, true] {
        let built =
            on_line(if later { Wan::delay(Duration::from_millis(5)) } else { slow.clone() });
        if later {
            built.hosts["alice"].set_link(&slow).unwrap();
        }
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
        assert!((1.9..5.0).contains(&seconds), "{seconds} s for two seconds' worth of bytes");
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
    moves_and_is_unplugged(None);
}

#[test]
fn a_line_survives_another_address_and_a_pulled_plug() {
    moves_and_is_unplugged(Some(Wan::default()));
}

/// What is sent arrives, now or a little later: the kernel does not see at once that an interface is
/// up again.
fn arrives(from: &UdpSocket, to: SocketAddr, at: &UdpSocket) {
    eventually("there", || {
        send(from, to);
        receive_within(at, SILENCE_TIME).is_some()
    });
}

fn moves_and_is_unplugged(link: Option<Wan>) {
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
        arrives(&outside, (new, 5000).into(), &inside);
    }
    alice.down().unwrap();
    eventually("unplugged", || {
        let shown = alice.command("ip").args(["-br", "link", "show", "eth0"]).output().unwrap();
        String::from_utf8(shown.stdout).unwrap().contains("NO-CARRIER")
    });
    send(&outside, alice.socket(5000));
    hears_nothing(&inside);
    alice.up().unwrap();
    arrives(&outside, alice.socket(5000), &inside);
}

#[test]
fn a_description_is_read_and_a_wrong_one_refused() {
    let text = "
        [hosts.hub]
        [hosts.alice]
        behind = 'home'
        link = { rate-mbit = 50.0 }
        [routers.home]
        nat = 'symmetric'
        firewall = 'tcp-443'
        behind = 'carrier'
        [routers.carrier]
    ";
    let topology = Topology::parse(text).unwrap();
    assert_eq!(Topology::parse(&topology.to_toml().unwrap()).unwrap(), topology);
    let line = "[hosts.a]\nlink = { delay = '20ms', jitter = '2ms', loss-percent = 0.5, mtu = 1400, seed = 3 }";
    let (delay, jitter) = (Duration::from_millis(20), Duration::from_millis(2));
    let wanted =
        Wan { delay, jitter, loss_percent: 0.5, rate_mbit: None, mtu: Some(1400), seed: 3 };
    assert_eq!(Topology::parse(line).unwrap().hosts["a"].link, Some(wanted));
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

/// A topology held by hand, and the command that enters its host `name`.
fn held(topology: &str, name: &str) -> (Child, String) {
    let mut command = Command::new(PROGRAM);
    command.args(["topology", topology]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut held = command.spawn().unwrap();
    let lines = BufReader::new(held.stdout.take().unwrap()).lines().map(Result::unwrap);
    let lines: Vec<String> = lines.take_while(|line| !line.starts_with("It stays")).collect();
    let host = lines.iter().find(|line| line.starts_with(&format!("{name} "))).unwrap();
    (held, host[host.find("nsenter").unwrap()..].to_owned())
}

/// What a command prints.
fn printed(command: &str) -> String {
    let shown = Command::new("sh").args(["-c", command]).output().unwrap();
    String::from_utf8(shown.stdout).unwrap()
}

#[test]
fn by_hand_it_stays_until_the_end_of_input() {
    let (mut held, enter) = held("easy,symmetric", "easy-1");
    let shown = printed(&format!("{enter} ip -br addr show dev eth0"));
    assert!(shown.contains("192.168.1.1/24"), "{shown}");
    drop(held.stdin.take());
    assert!(held.wait().unwrap().success());
}

#[test]
fn a_killed_owner_leaves_nothing() {
    let (mut held, enter) = held("carrier", "carrier-1");
    let namespace = printed(&format!("{enter} readlink /proc/self/ns/net")).trim().to_owned();
    assert!(!holders(&namespace).is_empty());
    held.kill().unwrap();
    held.wait().unwrap();
    eventually("swept", || holders(&namespace).is_empty());
}

#[test]
fn multicast_stays_among_neighbours() {
    let group = Ipv4Addr::new(239, 1, 2, 3);
    let sockets = |from: &Host, to: &Host| {
        let (sender, receiver) = (from.udp_socket(0).unwrap(), to.udp_socket(7000).unwrap());
        receiver.join_multicast_v4(&group, &to.ip()).unwrap();
        sender.join_multicast_v4(&group, &from.ip()).unwrap();
        (sender, receiver)
    };
    let home = || HostPlace { behind: Some("home".into()), ..HostPlace::default() };
    let topology = Topology::default().router("home", RouterPlace::default());
    let topology = topology.host("alice", home()).host("bob", home());
    let built = topology.public("near").public("far").build().unwrap();
    let host = |name: &str| &built.hosts[name];
    let (sender, receiver) = sockets(host("alice"), host("bob"));
    arrives(&sender, host("bob").socket(7000), &receiver);
    arrives(&sender, (group, 7000).into(), &receiver);
    let (sender, receiver) = sockets(host("near"), host("far"));
    arrives(&sender, host("far").socket(7000), &receiver);
    send(&sender, (group, 7000).into());
    hears_nothing(&receiver);
}

//! The lab itself: hosts talk, faults are faults, and nothing is left behind.

#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not their helpers")]

mod scene;

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use mpyc_party_lab::{Host, Lab};
use scene::{LIMIT, PROGRAM, eventually, holders, namespace_of};

/// What passes, passes within a thousandth of this.
const SILENCE_TIME: Duration = Duration::from_millis(400);

/// A pair of processes that echo to each other.
struct Echo {
    ends: [Child; 2],
    replies: Receiver<String>,
}

impl Echo {
    fn between(a: &Host, b: &Host, address: SocketAddr) -> Self {
        let (server, mut lines) = start(b, "serve", address);
        assert_eq!(lines.next().unwrap().unwrap(), "\"listening\"");
        let (driver, lines) = start(a, "drive", address);
        let (sender, replies) = channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { ends: [driver, server], replies }
    }

    fn ask(&mut self) {
        self.ends[0].stdin.as_mut().unwrap().write_all(b"{\"Ping\":1}\n").unwrap();
    }

    fn answered(&self, within: Duration) -> bool {
        self.replies.recv_timeout(within).is_ok_and(|line| line.contains("p50"))
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        for end in &mut self.ends {
            end.kill().unwrap();
            end.wait().unwrap();
        }
    }
}

fn start(host: &Host, end: &str, address: SocketAddr) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut command = host.command(PROGRAM);
    command.args(["traffic", end, &address.to_string()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

fn pair() -> (Lab, Host, Host) {
    let lab = Lab::new().unwrap();
    let (alice, bob) = (lab.host("alice").unwrap(), lab.host("bob").unwrap());
    (lab, alice, bob)
}

#[test]
fn hosts_talk_over_both_protocols() {
    let (_lab, alice, bob) = pair();
    for address in [bob.socket(7000), (bob.ipv6(), 7001).into()] {
        let mut echo = Echo::between(&alice, &bob, address);
        echo.ask();
        assert!(echo.answered(LIMIT), "{address}");
    }
}

#[test]
fn labs_side_by_side_do_not_meet() {
    let (_one, alice, _) = pair();
    let (_two, _, bob) = pair();
    let (mut server, mut lines) = start(&bob, "serve", bob.socket(7000));
    assert_eq!(lines.next().unwrap().unwrap(), "\"listening\"");
    let status = alice
        .command(PROGRAM)
        .args(["traffic", "drive", &bob.socket(7000).to_string()])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(!status.success(), "the same address in another lab answered");
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn a_cut_drops_and_healing_delivers() {
    let (lab, alice, bob) = pair();
    let carol = lab.host("carol").unwrap();
    let mut cut = Echo::between(&alice, &bob, bob.socket(7000));
    let mut other = Echo::between(&carol, &bob, bob.socket(7001));
    for everywhere in [false, true] {
        lab.cut(&alice, &bob).unwrap();
        cut.ask();
        assert!(!cut.answered(SILENCE_TIME), "the cut let something through");
        other.ask();
        assert!(other.answered(LIMIT), "the cut hit a bystander");
        if everywhere { lab.heal_all() } else { lab.heal(&alice, &bob) }.unwrap();
        assert!(cut.answered(LIMIT), "nothing came through after healing");
    }
}

/// Sends a datagram from one host to the other, where it finds no listener and is counted.
fn expect(from: &Host, to: &Host, arrives: bool) {
    let before = strays(to);
    let send = format!("echo > /dev/udp/{}/9", to.ip());
    assert!(from.command("bash").args(["-c", &send]).status().unwrap().success());
    if arrives {
        eventually("arrived", || strays(to) > before);
    } else {
        thread::sleep(SILENCE_TIME);
        assert_eq!(strays(to), before, "{} still reaches {}", from.name(), to.name());
    }
}

/// `NoPorts` of the host's UDP counters.
fn strays(host: &Host) -> u64 {
    let counters = host.command("cat").arg("/proc/self/net/snmp").output().unwrap().stdout;
    let counters = String::from_utf8(counters).unwrap();
    let values = counters.lines().filter(|line| line.starts_with("Udp:")).nth(1).unwrap();
    values.split_whitespace().nth(2).unwrap().parse().unwrap()
}

#[test]
fn each_direction_drops_alone() {
    let (lab, alice, bob) = pair();
    let passing = |to_bob, to_alice| {
        expect(&alice, &bob, to_bob);
        expect(&bob, &alice, to_alice);
    };
    passing(true, true);
    alice.drop_to(&bob).unwrap();
    passing(false, true);
    lab.heal(&alice, &bob).unwrap();
    alice.drop_from(&bob).unwrap();
    passing(true, false);
    lab.heal(&alice, &bob).unwrap();
    lab.cut(&alice, &bob).unwrap();
    passing(false, false);
    lab.heal(&alice, &bob).unwrap();
    passing(true, true);
}

#[test]
fn a_pulled_plug_is_silent_and_keeps_the_address() {
    let (_lab, alice, bob) = pair();
    for address in [bob.socket(7000), (bob.ipv6(), 7001).into()] {
        let mut echo = Echo::between(&alice, &bob, address);
        bob.down().unwrap();
        echo.ask();
        assert!(!echo.answered(SILENCE_TIME), "something came without a cable");
        bob.up().unwrap();
        assert!(echo.answered(LIMIT), "{address} is gone");
    }
}

#[test]
fn waiting_for_a_port_ends() {
    let (_lab, alice, bob) = pair();
    let port = bob.free_port().unwrap();
    assert_ne!(port, bob.free_port().unwrap());
    let refused = bob.wait_for(port, Duration::from_millis(20)).unwrap_err().to_string();
    assert!(refused.contains("bob") && refused.contains(&port.to_string()), "{refused}");
    let (mut server, _lines) = start(&bob, "serve", bob.socket(port));
    bob.wait_for(port, LIMIT).unwrap();
    assert!(!alice.listens(port).unwrap(), "a socket of another host");
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn the_spawned_process_is_the_program() {
    let (_lab, alice, _) = pair();
    let child = alice.command("sh").args(["-c", "echo $$"]).stdout(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let printed = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(printed.trim(), pid.to_string());
}

#[test]
fn dropping_a_host_ends_what_runs_there() {
    let (lab, alice, bob) = pair();
    let script = "setsid sleep 1000 & echo; wait";
    let mut shell =
        alice.command("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let mut elsewhere = bob.command("sleep").arg("1000").spawn().unwrap();
    let namespace = namespace_of(shell.id());
    assert!(!holders(&namespace).is_empty());
    drop(alice);
    eventually("ended", || shell.try_wait().unwrap().is_some());
    eventually("gone", || holders(&namespace).is_empty());
    assert!(elsewhere.try_wait().unwrap().is_none(), "another host's program ended too");
    drop((lab, bob));
    elsewhere.wait().unwrap();
}

#[test]
fn a_killed_owner_leaves_nothing() {
    let mut owner = Command::new(PROGRAM)
        .args(["hosts", "alice", "--", "sh", "-c", "echo $$; exec sleep 1000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let pid: u32 = lines.find_map(|line| line.unwrap().parse().ok()).unwrap();
    let namespace = namespace_of(pid);
    assert_ne!(namespace, namespace_of(std::process::id()));
    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("swept", || holders(&namespace).is_empty());
}

//! Three parties on one switch, enrolled and without any hub: they find each other by multicast DNS,
//! whatever else is said on that network.

mod common;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use common::{LIMIT, NAMES, SUM, completes, demo};
use mpyc_party_lab::party::Network;
use mpyc_party_lab::{Host, hosts_for_tests, python};

/// The usual three on a host each, who look around there; their hub is gone. None where the one who
/// tests says that there cannot be hosts.
fn without_hub() -> Result<Option<Network>> {
    if !hosts_for_tests()? {
        return Ok(None);
    }
    let mut network = Network::on_hosts(&NAMES)?;
    network.kill_hub();
    network.parties().iter().try_for_each(|party| party.look_nearby())?;
    Ok(Some(network))
}

#[test]
fn parties_in_one_room_need_no_hub() -> Result<()> {
    let Some(network) = without_hub()? else { return Ok(()) };
    network.declare(&demo(SUM))?;
    network.run("demo")?.into_iter().try_for_each(completes)?;
    Ok(network.end()?)
}

#[test]
fn two_sessions_in_one_room_do_not_mix() -> Result<()> {
    let Some(network) = without_hub()? else { return Ok(()) };
    network.declare(&demo(SUM))?;
    network.declare(&mpyc_party_lab::party::Session::new("other", SUM).parties(&NAMES))?;
    let runs = [network.run("demo")?, network.run("other")?];
    runs.into_iter().flatten().try_for_each(completes)?;
    Ok(network.end()?)
}

/// Hears who announces itself, and answers for each: the same name at addresses that must not be
/// dialled, at a host that is somebody else's, and in packets that are none. Beside that it invents
/// thousands of announcements.
const LIAR: &str = r#"
import os, random, re, socket, struct, sys
GROUP, SERVICE = ('224.0.0.251', 5353), b'_mpyc-party._tcp.local'
own = sys.argv[1]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind(('', 5353))
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton('224.0.0.251') + socket.inet_aton(own))

def name(text):
    return b''.join(bytes([len(part)]) + part for part in text.split(b'.')) + b'\0'

def record(owner, kind, data):
    return name(owner) + struct.pack('!HHIH', kind, 1, 120, len(data)) + data

def answer(*records):
    return struct.pack('!6H', 0, 0x8400, 0, len(records), 0, 0) + b''.join(records)

def lie(alias, marks, addresses, port):
    full, host = alias + b'.' + SERVICE, alias + b'.local'
    a = [record(host, 1, socket.inet_aton(address)) for address in addresses]
    return answer(record(SERVICE, 12, name(full)), record(full, 33, struct.pack('!3H', 0, 0, port) + name(host)), record(full, 16, marks), *a)

known = set()
print('listening', flush=True)
while True:
    packet = s.recv(9000)
    marks = re.search(rb'\x43m0=.{64}', packet, re.DOTALL)
    for alias in set(re.findall(rb'\x10([0-9a-f]{16})', packet)) - known if marks else ():
        known.add(alias)
        print('lies about', alias.decode(), flush=True)
        s.sendto(lie(alias, marks[0], ['127.0.0.1', '169.254.169.254', '203.0.113.7', '224.0.0.251', own], 22), GROUP)
        s.sendto(lie(alias, marks[0], [own], 0), GROUP)
    for _ in range(20):
        s.sendto(lie(b'%016x' % random.getrandbits(64), b'\x43m0=' + os.urandom(64), [own], 22), GROUP)
        s.sendto(packet[:random.randrange(len(packet))] + os.urandom(random.randrange(40)), GROUP)
"#;

/// Announces hundreds of parties in each packet, for ever.
const FLOOD: &str = r#"
import os, socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 5353))
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(sys.argv[1]))
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
service = b'\x0b_mpyc-party\x04_tcp\x05local\0'
print('listening', flush=True)
while True:
    packet = struct.pack('!6H', 0, 0x8400, 0, 30, 0, 0)
    for n in range(30):
        alias = b'\x10' + os.urandom(8).hex().encode() + (service if n == 0 else b'\xc0' + bytes([12]))
        packet += (service if n == 0 else b'\xc0\x0c') + struct.pack('!HHIH', 12, 1, 4500, len(alias)) + alias
    s.sendto(packet, ('224.0.0.251', 5353))
"#;

/// A process of a host that ends with the test.
struct Liar(Child);

impl Drop for Liar {
    fn drop(&mut self) {
        // It may have ended, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Liar {
    /// Starts to lie, and is heard from now on.
    fn start(host: &Host, how: &str) -> Result<Self> {
        let mut command = host.command(python());
        command.args(["-c", how, &host.ip().to_string()]).stdout(Stdio::piped());
        let mut liar = Self(command.spawn()?);
        let mut first = [0; 9];
        let output = liar.0.stdout.as_mut().context("no output")?;
        std::io::Read::read_exact(output, &mut first)?;
        ensure!(&first == b"listening");
        Ok(liar)
    }
}

#[test]
fn whoever_lies_about_where_parties_are_keeps_nobody_apart() -> Result<()> {
    let Some(network) = without_hub()? else { return Ok(()) };
    let lab = network.lab().context("no lab")?;
    let eve = lab.host("eve")?;
    let mut liar = Liar::start(&eve, LIAR)?;
    network.declare(&demo(SUM))?;
    let runs = network.run("demo")?;
    let mut said = String::new();
    for run in runs {
        run.wait_for_line("sum 3", LIMIT)?;
        said += &run.said();
        completes(run)?;
    }
    let _ = liar.0.kill();
    let mut told = String::new();
    std::io::Read::read_to_string(liar.0.stdout.as_mut().context("no output")?, &mut told)?;
    ensure!(told.matches("lies about").count() >= 3, "the liar heard nobody: {told}");
    for astray in ["127.0.0.1", "169.254.169.254", "203.0.113.7", "224.0.0.251"] {
        ensure!(!said.contains(&format!(" at {astray}:")), "{astray} was dialled:\n{said}");
    }
    Ok(network.end()?)
}

#[test]
fn a_flood_is_thrown_away() -> Result<()> {
    let Some(network) = without_hub()? else { return Ok(()) };
    let lab = network.lab().context("no lab")?;
    let eve = lab.host("eve")?;
    network.declare(&demo(SUM).deadline(LIMIT))?;
    let alice = network.party("alice").run("demo")?;
    alice.wait_for("waiting", LIMIT)?;
    let flood = Liar::start(&eve, FLOOD)?;
    let (begun, told) = (Instant::now(), ["records were announced on it", "too much is announced"]);
    while !told.iter().any(|text| alice.said().contains(text)) {
        ensure!(begun.elapsed() < LIMIT, "nothing is thrown away: {}", alice.said());
        std::thread::sleep(Duration::from_millis(20));
    }
    let status = format!("/proc/{}/status", alice.runner()?.id());
    let status = std::fs::read_to_string(status)?;
    let memory =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no memory")?;
    let memory: u64 = memory.trim().trim_end_matches(" kB").parse()?;
    ensure!(memory < 100_000, "{memory} KiB for what a stranger says");
    drop((flood, alice));
    Ok(network.end()?)
}

#[test]
fn a_network_without_multicast_is_no_trouble() -> Result<()> {
    let network = Network::on_loopback(&NAMES)?;
    network.declare(&demo(SUM))?;
    let alice = network.party("alice");
    alice.look_nearby()?;
    let mut ping = alice.command();
    ping.args(["ping", "bob", "--wait", "1s"]);
    let mut alone = Command::new("unshare");
    alone.args(["--user", "--map-root-user", "--net"]).arg(ping.get_program());
    alone.args(ping.get_args());
    let said = alone.output()?;
    let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    ensure!(said.contains("bob does not answer") && !said.contains("panicked"), "{said}");
    Ok(network.end()?)
}

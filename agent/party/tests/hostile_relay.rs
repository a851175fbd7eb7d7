//! A relay that means ill, in the middle of a whole run: alice and bob reach each other over it
//! alone. Whatever it does, not a byte of what MPyC reads is another; it is noticed; and it reads
//! nothing.

mod common;
mod false_hub;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use common::{BOUND, LIMIT};
use false_hub::wire::Wire;
use false_hub::{Behaviour, Behaviours, FalseHub, honest};
use mpyc_party::identity::Store;
use mpyc_party_core::sni::Tag;
use mpyc_party_lab::exchange::{Exchange, NAMES};
use mpyc_party_lab::party::{Network, Run, Session};
use mpyc_party_lab::topology::Kind;
use mpyc_party_lab::{Topology, hosts_for_tests, mpyc_party};
use serde_json::Value;

/// The usual grace time.
const GRACE: Duration = Duration::from_secs(30);
/// So often a relay does what it does in a run that has to survive it.
const OFTEN: u32 = 6;

/// Alice and bob can reach the hub over TCP, and each other not at all.
fn apart() -> Topology {
    let hub = Topology::default().public("hub").public("carol");
    Kind::UdpBlocked.place(Kind::UdpBlocked.place(hub, "alice"), "bob")
}

/// The session under way over a relay that will do this.
fn under_way(behaviour: Behaviour, grace: Duration) -> Result<(Exchange, FalseHub)> {
    let mut network = Network::in_topology(&apart(), &NAMES)?;
    let hub = FalseHub::instead(&mut network, honest, Behaviours::of(behaviour))?;
    let begun = Instant::now();
    let exchange = Exchange::within(network, grace)?;
    exchange.links("alice", "bob", "relay", begun)?;
    Ok((exchange, hub))
}

/// How often alice and bob were told that bytes were changed on the way.
fn warnings(exchange: &Exchange) -> usize {
    let events = exchange.runs.iter().flat_map(Run::events);
    let warned = |text: &str| text.contains("were changed on the way");
    events.filter(|(_, event)| event["text"].as_str().is_some_and(warned)).count()
}

/// Whether alice has got another link to bob over the relay since then.
fn linked_anew(exchange: &Exchange, since: Instant) -> Result<bool> {
    let another = |(at, event): &(Instant, Value)| {
        let link = event["event"] == "link" && event["party"] == "bob" && event["path"] == "relay";
        link && *at >= since
    };
    Ok(exchange.run("alice")?.events().iter().any(another))
}

/// The run completes with every byte right however often the relay does this to it.
fn survives(behaviour: Behaviour) -> Result<()> {
    if !hosts_for_tests()? {
        return Ok(());
    }
    let (exchange, hub) = under_way(behaviour, GRACE)?;
    hub.behaviours.allow(OFTEN);
    let begun = Instant::now();
    while hub.behaviours.done() < OFTEN {
        ensure!(begun.elapsed() < LIMIT, "{} times in {LIMIT:?}", hub.behaviours.done());
        exchange.moves()?;
    }
    exchange.moves()?;
    let changed = matches!(
        behaviour,
        Behaviour::Flip
            | Behaviour::Drop
            | Behaviour::Double
            | Behaviour::Swap
            | Behaviour::Shorten
            | Behaviour::Insert
    );
    // Where nothing was changed, what shows is that there had to be another link. It goes on until the
    // connection of the link was among those that it happened to.
    while !changed && !linked_anew(&exchange, begun)? {
        ensure!(begun.elapsed() < LIMIT, "{behaviour:?}: nobody has noticed");
        hub.behaviours.allow(u32::MAX);
        exchange.moves()?;
    }
    hub.behaviours.allow(0);
    let noticed = warnings(&exchange);
    ensure!((noticed > 0) == changed, "{behaviour:?}: noticed {noticed} times");
    let shown = exchange.network.party("alice").command().arg("peers").output()?;
    let shown = String::from_utf8(shown.stdout)?;
    ensure!(shown.contains("because bytes were changed on the way") == changed, "{shown}");
    exchange.complete()?;
    Ok(())
}

#[test]
fn flipped_bits() -> Result<()> {
    survives(Behaviour::Flip)
}

#[test]
fn lost_pieces() -> Result<()> {
    survives(Behaviour::Drop)
}

#[test]
fn doubled_pieces() -> Result<()> {
    survives(Behaviour::Double)
}

#[test]
fn swapped_pieces() -> Result<()> {
    survives(Behaviour::Swap)
}

#[test]
fn shortened_pieces() -> Result<()> {
    survives(Behaviour::Shorten)
}

#[test]
fn inserted_pieces() -> Result<()> {
    survives(Behaviour::Insert)
}

#[test]
fn late_pieces() -> Result<()> {
    survives(Behaviour::Delay)
}

#[test]
fn false_ends() -> Result<()> {
    survives(Behaviour::End)
}

#[test]
fn connections_said_again() -> Result<()> {
    survives(Behaviour::Repeat)
}

#[test]
fn a_relay_that_never_stops_ends_the_run_and_who_was_lost_is_named() -> Result<()> {
    if !hosts_for_tests()? {
        return Ok(());
    }
    let grace = Duration::from_secs(6);
    let (mut exchange, hub) = under_way(Behaviour::Flip, grace)?;
    hub.behaviours.without_end();
    let begun = Instant::now();
    for run in &mut exchange.runs {
        let outcome = run.verdict(LIMIT)?;
        let late = outcome.at.saturating_duration_since(begun + grace);
        ensure!(late <= BOUND, "{}: {late:?} late", run.party());
        // Each of the two lost the other, and whoever is told first is believed: carol never is.
        let who = outcome.who();
        let named = !who.is_empty() && who.iter().all(|name| ["alice", "bob"].contains(name));
        ensure!(named && ["silent", "lost"].contains(&outcome.reason()), "{}", outcome.text);
        ensure!(run.exit(LIMIT)?.code() == Some(1), "{} has another exit status", run.party());
        // The program compares every byte.
        ensure!(!run.said().contains("AssertionError"), "{}", run.said());
    }
    let record = exchange.network.party("alice").record();
    let peers = record["peers"].as_array().context("no peers")?;
    let tampered = |name: &str| {
        let peer = peers.iter().find(|peer| peer["party"] == name);
        peer.map(|peer| peer["tampered"].as_u64().unwrap_or_default())
    };
    ensure!(tampered("bob") > Some(0) && tampered("carol") == Some(0), "{record:#}");
    let warned = record["warnings"].to_string();
    ensure!(warned.contains("between this party and bob were changed"), "{record:#}");
    drop(exchange.runs);
    Ok(exchange.network.end()?)
}

/// What nobody but the three should ever see.
const MARKS: [&str; 3] =
    ["sunflower telescope marmalade", "the colour of heliotrope", "lantern under water"];
const LONG_NAMES: [&str; 3] = ["alexandrina", "bartholomew", "clementine"];
const SESSION: &str = "orchid-ledger";
/// How often each of the three sends each other a mark, many times over.
const ROUNDS: usize = 10;
const TIMES: usize = 2000;

/// Sends marks as text, as bytes and in a list, and says how many came.
fn telling() -> String {
    let [text, bytes, remark] = MARKS;
    format!(
        "
from mpyc.runtime import mpc
# {remark}
mpc.run(mpc.start())
came = 0
for number in range({ROUNDS}):
    told = ('{text}' * {TIMES}, b'{bytes}' * {TIMES}, ['{text}', number])
    came += sum('{text}' in heard[2] for heard in mpc.run(mpc.transfer(told)))
print('came', came)
mpc.run(mpc.shutdown())
"
    )
}

/// Runs what tells the marks, with the first two parties apart, over the hub that `make` puts in
/// place of the real one; what that has heard, as `heard` tells, is returned.
fn overheard<H>(
    make: impl FnOnce(&mut Network) -> Result<H>,
    heard: impl FnOnce(&H) -> Vec<u8>,
) -> Result<Option<(Vec<u8>, String)>> {
    if !hosts_for_tests()? {
        return Ok(None);
    }
    let [one, other, third] = LONG_NAMES;
    let hub = Topology::default().public("hub").public(third);
    let topology = Kind::UdpBlocked.place(Kind::UdpBlocked.place(hub, one), other);
    let mut network = Network::in_topology(&topology, &LONG_NAMES)?;
    let ill = make(&mut network)?;
    network.declare(&Session::new(SESSION, &telling()).parties(&LONG_NAMES).grace(GRACE))?;
    let mut runs = network.run(SESSION)?;
    for run in &mut runs {
        let outcome = run.verdict(LIMIT)?;
        ensure!(outcome.completed(), "{}\n{}", outcome.text, run.said());
        ensure!(run.said().contains(&format!("came {}", ROUNDS * 3)), "{}", run.said());
        ensure!(run.exit(LIMIT)?.success(), "{} has another exit status", run.party());
    }
    let root = Store::new(&network.party(one).state()).load()?.root().fingerprint;
    let tag = Tag::pair(&root, &SESSION.parse()?, &one.parse()?, &other.parse()?).server_name();
    let heard = heard(&ill);
    drop((runs, ill));
    network.end()?;
    Ok(Some((heard, tag)))
}

fn contains(heard: &[u8], what: &str) -> bool {
    heard.windows(what.len()).any(|window| window == what.as_bytes())
}

/// Nothing that is to be secret is in it, and all that was said is.
fn is_opaque(heard: &[u8]) -> Result<()> {
    for secret in MARKS.iter().chain(&LONG_NAMES).chain([&SESSION, &"program.py", &"mpc.run"]) {
        ensure!(!contains(heard, secret), "«{secret}» is to be read");
    }
    let said = 2 * ROUNDS * TIMES * (MARKS[0].len() + MARKS[1].len());
    ensure!(heard.len() > said, "only {} of {said} bytes were overheard", heard.len());
    Ok(())
}

#[test]
fn the_relay_itself_reads_nothing() -> Result<()> {
    let make = |network: &mut Network| FalseHub::instead(network, honest, Behaviours::eavesdrop());
    let heard = |hub: &FalseHub| hub.behaviours.heard();
    let Some((heard, tag)) = overheard(make, heard)? else { return Ok(()) };
    is_opaque(&heard)?;
    // It is the parties' own handshakes that were heard.
    ensure!(contains(&heard, &tag), "no handshake of the session was overheard");
    Ok(())
}

/// The real hub, which ends when this is dropped, and the wire to it.
struct Tapped(Child, Wire);

impl Drop for Tapped {
    fn drop(&mut self) {
        // It may have ended, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Puts a tap between the port of the hub and the hub, which moves elsewhere.
fn tap(network: &mut Network) -> Result<Tapped> {
    network.kill_hub();
    let listener =
        network.hub_host().context("a host")?.tcp_listener(network.hub_address().port())?;
    let (state, port) = (network.hub_state(), network.hub_state().join("inner-port"));
    let mut hub = Command::new(mpyc_party()?);
    hub.arg("--config").arg(state.join("config.toml")).arg("--state").arg(&state);
    hub.args(["hub", "--listen", "127.0.0.1:0", "--port-file"]).arg(&port);
    let hub = hub.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let begun = Instant::now();
    let port = loop {
        if let Some(port) = fs::read_to_string(&port).ok().and_then(|port| port.parse().ok()) {
            break port;
        }
        ensure!(begun.elapsed() < LIMIT, "the hub does not serve");
        std::thread::sleep(Duration::from_millis(10));
    };
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Ok(Tapped(hub, Wire::tap(listener, to)))
}

#[test]
fn a_capture_at_the_hub_holds_nothing_to_read() -> Result<()> {
    let Some((heard, tag)) = overheard(tap, |Tapped(_, wire)| wire.heard())? else {
        return Ok(());
    };
    is_opaque(&heard)?;
    // Which session the parties of a connection are in is inside as well.
    ensure!(!contains(&heard, &tag), "the session's tag is to be read");
    Ok(())
}

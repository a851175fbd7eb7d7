//! Parties whose sessions of one name have different rosters: two meet where each names the other, and
//! both are told at once what differs; whoever the other does not name learns nothing.

mod common;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use common::{BOUND, LIMIT, NAMES, SUM, blames, demo, fails, three};
use mpyc_party::identity::Store;
use mpyc_party_core::sni::Tag;
use mpyc_party_lab::party::{Network, Session};
use mpyc_party_transport::{Expect, Protocol, connect};

const FOUR: [&str; 4] = ["alice", "bob", "carol", "dave"];
/// Long enough to tell a verdict at once from one at the deadline.
const DEADLINE: Duration = Duration::from_secs(40);
/// A known difference waits for so long for others who may tell who is the odd one out.
const COMPARISON: Duration = Duration::from_secs(3);

fn session(names: &[&str]) -> Session {
    Session::new("demo", SUM).parties(names).deadline(DEADLINE)
}

#[test]
fn whoever_has_added_a_party_is_told_at_once_and_so_are_the_others() -> Result<()> {
    let network = Network::on_loopback(&FOUR)?;
    network.declare(&session(&NAMES))?;
    network.party("alice").declare(&session(&FOUR))?;
    let mut runs = Vec::new();
    for name in NAMES {
        runs.push(network.party(name).run("demo")?);
    }
    let due = Instant::now() + COMPARISON;
    for run in &mut runs {
        let outcome = blames(run, due, &["alice"], "rosters")?;
        let text = "the rosters differ: alice has alice, bob, carol, dave; bob, carol have alice, bob, carol";
        ensure!(outcome.text.contains(text), "{}", outcome.text);
    }
    Ok(network.end()?)
}

#[test]
fn whoever_has_left_a_party_out_is_told_at_once() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM).deadline(DEADLINE))?;
    let two = session(&["bob", "carol"]).set("allow-no-privacy", "true");
    network.party("carol").declare(&two)?;
    let mut runs = network.run("demo")?;
    let due = Instant::now() + COMPARISON;
    // Alice does not meet carol, who does not name her: bob knows both.
    let bob = blames(&mut runs[1], due, &["carol"], "rosters")?;
    let text = "carol has bob, carol; bob has alice, bob, carol";
    ensure!(bob.text.contains(text) || bob.text.contains("alice, bob have"), "{}", bob.text);
    for run in [0, 2] {
        let outcome = fails(&mut runs[run], due)?;
        ensure!(outcome.reason() == "rosters", "{}", outcome.text);
    }
    Ok(network.end()?)
}

#[test]
fn the_order_counts() -> Result<()> {
    // Carol thinks that she is party 0: the indices of all three are in doubt.
    let network = three()?;
    network.declare(&demo(SUM).deadline(DEADLINE))?;
    network.party("carol").declare(&session(&["carol", "alice", "bob"]))?;
    let mut runs = network.run("demo")?;
    let due = Instant::now() + COMPARISON;
    for run in &mut runs {
        blames(run, due, &["carol"], "rosters")?;
    }
    Ok(network.end()?)
}

/// What becomes of dave's connection to `port` at which he asks for the party behind this tag.
fn knock(network: &Network, port: u16, tag: Tag) -> Result<String> {
    let identity = Store::new(&network.party("dave").state()).load()?;
    let (expect, name) = (Expect::AnyParty, tag.server_name());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let tcp = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        let made = connect(tcp, &identity, Protocol::Control, &expect, &name).await;
        Ok(made.err().context("dave is let in")?.to_string())
    })
}

#[test]
fn a_party_that_the_others_do_not_name_learns_nothing() -> Result<()> {
    let network = Network::on_loopback(&FOUR)?;
    network.declare(&demo(common::ENDLESS).deadline(DEADLINE))?;
    let there = NAMES.map(|name| network.party(name).run("demo"));
    let mut ports = Vec::new();
    let there: Vec<_> = there.into_iter().collect::<Result<_, _>>()?;
    for run in &there {
        let port = run.wait_for("waiting", LIMIT)?["port"].as_u64().context("a port")?;
        run.wait_for("running", LIMIT)?;
        ports.push(u16::try_from(port)?);
    }
    // He knows the session's name and where they are, and is in the same network.
    let mut head = "network.local-discovery = false\n[listen]\nport = 0\n".to_owned();
    for (name, port) in NAMES.iter().zip(&ports) {
        head += &format!("[peers.{name}]\naddress = \"127.0.0.1:{port}\"\n");
    }
    let dave = network.party("dave");
    dave.configure(&head)?;
    dave.declare(&session(&FOUR).deadline(BOUND))?;
    let begun = Instant::now();
    let outcome = blames(&mut dave.run("demo")?, begun + BOUND, &NAMES, "missing")?;
    ensure!(outcome.who() == NAMES, "{}", outcome.text);
    let check = dave.command().args(["session", "check", "demo", "--json"]).output()?;
    let found: serde_json::Value = serde_json::from_slice(&check.stdout)?;
    for party in &found["parties"].as_array().context("parties")?[..] {
        let told = [&party["roster"], &party["versions"]];
        ensure!(told.iter().all(|told| told.is_null()), "{found}");
    }
    // To him they answer as they do to one who asks for what is not there at all.
    let root = Store::new(&dave.state()).load()?.root().fingerprint;
    let alice = Tag::pair(&root, &"demo".parse()?, &"alice".parse()?, &"dave".parse()?);
    let other = Tag::session(&root, &"nowhere".parse()?);
    ensure!(knock(&network, ports[0], alice)? == knock(&network, ports[0], other)?);
    // And the run of the others has not noticed him.
    for run in &there {
        ensure!(!run.said().contains("dave"), "{}", run.said());
    }
    drop(there);
    Ok(network.end()?)
}

#[test]
fn a_check_shows_both_rosters() -> Result<()> {
    let network = Network::on_loopback(&FOUR)?;
    network.declare(&session(&NAMES))?;
    let bob = network.party("bob").run("demo")?;
    bob.wait_for("waiting", LIMIT)?;
    network.party("alice").declare(&session(&FOUR))?;
    let check = network.party("alice").command().args(["session", "check", "demo"]).output()?;
    let text = String::from_utf8_lossy(&check.stdout).into_owned()
        + &String::from_utf8_lossy(&check.stderr);
    let rosters = "the roster is alice, bob, carol there, and alice, bob, carol, dave here";
    ensure!(text.contains(rosters), "{text}");
    ensure!(
        text.contains("dave: not waiting in a run of this session, or it does not name"),
        "{text}"
    );
    drop(bob);
    Ok(network.end()?)
}

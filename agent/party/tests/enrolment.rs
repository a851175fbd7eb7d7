//! Enrolment as a newcomer lives it: which tokens are refused, with which words; what a broken
//! connection or hub costs (nothing); and that nobody can pass for the authority.

mod common;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Output;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use anyhow::{Context, Result, ensure};
use common::{LIMIT, SUM, demo};
use mpyc_party::identity::Store;
use mpyc_party_core::token::Token;
use mpyc_party_lab::party::{Network, Party};
use mpyc_party_transport::{Expect, Incoming, Protocol};
use serde_json::Value;

/// What `party` is told when it enrols and is refused.
fn refused(party: &Party, token: &str) -> Result<String> {
    let output = party.enroll(token)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1), "{said}");
    ensure!(!party.state().join("identity/certificate.pem").exists(), "there is a certificate");
    Ok(said)
}

fn granted(output: &Output) -> Result<()> {
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The parties that the authority lists.
fn members(network: &Network) -> Result<Vec<Value>> {
    let list: Value = serde_json::from_str(&network.authority(&["ca", "list", "--json"])?)?;
    let all = list.as_array().context("a list")?.iter();
    let is_party = |member: &&Value| {
        let name = member["name"].as_str().unwrap_or_default();
        member["key"].is_string() && name != "authority" && !name.starts_with("hub-")
    };
    Ok(all.filter(is_party).cloned().collect())
}

#[test]
fn a_token_works_once() -> Result<()> {
    let network = Network::on_loopback(&[])?;
    let token = network.token(&["--name", "alice"])?;
    let (first, second) = (network.newcomer("alice")?, network.newcomer("other")?);
    granted(&first.enroll(&token)?)?;
    let said = refused(&second, &token)?;
    ensure!(said.contains("used before, with another key"), "{said}");
    let again = first.enroll(&token)?;
    ensure!(String::from_utf8_lossy(&again.stderr).contains("enrolled already as"));
    ensure!(members(&network)?.len() == 1);
    Ok(network.end()?)
}

#[test]
fn an_expired_token_is_refused() -> Result<()> {
    let network = Network::on_loopback(&[])?;
    let token = network.token(&["--name", "alice", "--valid-for", "1s"])?;
    // It is good until the second is over in which it ends.
    let made = mpyc_party_transport::now();
    while mpyc_party_transport::now() <= made + 1 {
        thread::yield_now();
    }
    let said = refused(&network.newcomer("alice")?, &token)?;
    ensure!(said.contains("this token has expired: ask for a new one"), "{said}");
    Ok(network.end()?)
}

#[test]
fn another_networks_token_is_refused() -> Result<()> {
    let (network, other) = (Network::on_loopback(&[])?, Network::on_loopback(&[])?);
    let mut token = Token::from_text(&other.token(&["--name", "alice"])?)?;
    token.hubs = vec![network.hub_address().to_string()];
    let said = refused(&network.newcomer("alice")?, &token.to_text()?)?;
    ensure!(said.contains("another network"), "{said}");
    // The right root, and a secret that this authority did not make.
    token.root = Token::from_text(&network.token(&["--name", "alice"])?)?.root;
    let said = refused(&network.newcomer("bob")?, &token.to_text()?)?;
    ensure!(said.contains("not known here"), "{said}");
    ensure!(members(&network)?.is_empty());
    other.end()?;
    Ok(network.end()?)
}

#[test]
fn a_damaged_token_is_explained() -> Result<()> {
    let network = Network::on_loopback(&[])?;
    let (token, alice) = (network.token(&["--name", "alice"])?, network.newcomer("alice")?);
    for (text, words) in [
        (&token[..token.len() - 5], "the end of the token is missing"),
        ("", "this is no enrolment token"),
        ("hello", "this is no enrolment token"),
        (&format!("{token}{token}"), "something follows the token's end"),
    ] {
        let said = refused(&alice, text)?;
        ensure!(said.contains(words), "{said}");
    }
    granted(&alice.enroll(&format!("  {token}\n"))?)?;
    Ok(network.end()?)
}

/// Forwards TLS between a newcomer and the hub, and stops at a record that the test names: before
/// that record is passed on, it tells the test and waits for it.
struct Proxy {
    address: SocketAddr,
    stopped: Receiver<()>,
    go_on: SyncSender<()>,
}

/// How many records were passed on: from the newcomer, from the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Newcomer(usize),
    Hub(usize),
}

impl Proxy {
    /// The first connection is cut where `stop` says, later ones pass.
    fn before(hub: SocketAddr, stop: Stop) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (tell, stopped) = sync_channel(1);
        let (go_on, wait) = sync_channel(1);
        thread::spawn(move || {
            let Ok((newcomer, _)) = listener.accept() else { return };
            if let Ok(hub) = TcpStream::connect(hub) {
                let pass = |stop, from: &TcpStream, to: &TcpStream| {
                    let (from, to, tell) = (from.try_clone(), to.try_clone(), tell.clone());
                    thread::spawn(move || forward(from?, to?, stop, &tell))
                };
                let (up, down) = match stop {
                    Stop::Newcomer(records) => (records, usize::MAX),
                    Stop::Hub(records) => (usize::MAX, records),
                };
                let _ = (pass(up, &newcomer, &hub), pass(down, &hub, &newcomer));
                // The test has done what it wanted, or gave up.
                let _ = wait.recv();
                let _ = newcomer.shutdown(Shutdown::Both);
                let _ = hub.shutdown(Shutdown::Both);
            }
            while let Ok((newcomer, _)) = listener.accept() {
                let Ok(hub) = TcpStream::connect(hub) else { continue };
                let both = [(newcomer.try_clone(), hub.try_clone()), (Ok(hub), Ok(newcomer))];
                for (from, to) in both {
                    let Ok((mut from, mut to)) = from.and_then(|from| Ok((from, to?))) else {
                        continue;
                    };
                    thread::spawn(move || {
                        let _ = io::copy(&mut from, &mut to);
                        to.shutdown(Shutdown::Write)
                    });
                }
            }
        });
        Ok(Self { address, stopped, go_on })
    }

    fn wait(&self) -> Result<()> {
        Ok(self.stopped.recv_timeout(LIMIT)?)
    }
}

/// Passes on `records` TLS records (RFC 8446, 5.1: type, version, length of two bytes); tells when
/// one more has come.
fn forward(
    mut from: TcpStream,
    mut to: TcpStream,
    records: usize,
    tell: &SyncSender<()>,
) -> io::Result<()> {
    for passed in 0.. {
        let mut record = vec![0; 5];
        from.read_exact(&mut record)?;
        let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
        record.resize(5 + length, 0);
        from.read_exact(&mut record[5..])?;
        if passed == records {
            let _ = tell.send(());
            return Ok(());
        }
        to.write_all(&record)?;
    }
    Ok(())
}

/// Records of the newcomer before its request: hello, change of cipher, Finished.
const REQUEST: usize = 3;

/// Records of the hub before the reply, found by counting those of an enrolment that went well.
fn records_before_the_reply(network: &Network) -> Result<usize> {
    for records in 3..12 {
        let proxy = Proxy::before(network.hub_address(), Stop::Hub(records))?;
        let name = format!("count-{records}");
        let token = network.token_by(proxy.address, &["--name", &name])?;
        let newcomer = network.newcomer(&name)?;
        let enrolling = thread::spawn(move || (newcomer.enroll(&token), newcomer));
        proxy.wait()?;
        let committed = members(network)?.iter().any(|member| member["name"] == name.as_str());
        proxy.go_on.send(())?;
        let (output, _) = enrolling.join().map_err(|_| anyhow::anyhow!("it panicked"))?;
        ensure!(!output?.status.success());
        if committed {
            return Ok(records);
        }
    }
    anyhow::bail!("the authority never commits")
}

#[test]
fn a_lost_reply_is_no_dead_end() -> Result<()> {
    let network = Network::on_loopback(&[])?;
    let reply = records_before_the_reply(&network)?;
    let proxy = Proxy::before(network.hub_address(), Stop::Hub(reply))?;
    let token = network.token_by(proxy.address, &["--name", "alice"])?;
    let alice = network.newcomer("alice")?;
    thread::scope(|scope| {
        let enrolling = scope.spawn(|| refused(&alice, &token));
        proxy.wait()?;
        proxy.go_on.send(())?;
        enrolling.join().map_err(|_| anyhow::anyhow!("it panicked"))?
    })?;
    let listed = |network: &Network| -> Result<Vec<Value>> {
        Ok(members(network)?.into_iter().filter(|member| member["name"] == "alice").collect())
    };
    let before = listed(&network)?;
    ensure!(before.len() == 1, "the authority did not commit: the test tests something else");
    granted(&alice.enroll(&token)?)?;
    ensure!(listed(&network)? == before, "it was enrolled a second time");
    let key = Store::new(&alice.state()).load()?.claims().key.to_string();
    ensure!(before[0]["key"] == key.as_str());
    Ok(network.end()?)
}

#[test]
fn a_hub_killed_at_any_step_of_enrolment_does_no_harm() -> Result<()> {
    let mut network = Network::on_loopback(&[])?;
    let reply = records_before_the_reply(&network)?;
    let stops = (0..=REQUEST).map(Stop::Newcomer).chain((0..=reply).map(Stop::Hub));
    for (number, stop) in stops.enumerate() {
        let proxy = Proxy::before(network.hub_address(), stop)?;
        let name = format!("party-{number}");
        let token = network.token_by(proxy.address, &["--name", &name])?;
        let newcomer = network.newcomer(&name)?;
        thread::scope(|scope| {
            let enrolling = scope.spawn(|| refused(&newcomer, &token));
            proxy.wait().with_context(|| format!("{stop:?}"))?;
            network.kill_hub();
            proxy.go_on.send(())?;
            let said = enrolling.join().map_err(|_| anyhow::anyhow!("it panicked"))??;
            ensure!(said.starts_with("error: "), "{stop:?}: {said}");
            Ok(())
        })?;
        // No hub at all.
        let said = refused(&newcomer, &network.token(&["--name", &format!("late-{number}")])?)?;
        ensure!(said.contains("cannot be reached"), "{said}");
        network.start_hub()?;
        granted(&newcomer.enroll(&token)?).with_context(|| format!("{stop:?}"))?;
    }
    Ok(network.end()?)
}

#[test]
fn a_party_does_not_pass_for_the_authority() -> Result<()> {
    let network = Network::on_loopback(&["dave"])?;
    let identity = Store::new(&network.party("dave").state()).load()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let token = network.token_by(listener.local_addr()?, &["--name", "alice"])?;
    let collector = runtime.spawn(async move {
        use tokio::io::AsyncReadExt;
        let incoming = Incoming::read(listener.accept().await?.0).await?;
        let mut got = Vec::new();
        if let Ok(mut enrolment) = incoming.accept_to_enrol(&identity).await {
            let _ = enrolment.stream.read_to_end(&mut got).await;
        }
        Ok::<_, anyhow::Error>(got)
    });
    let said = refused(&network.newcomer("alice")?, &token)?;
    ensure!(said.contains("party/dave") || said.contains("dave"), "{said}");
    ensure!(said.contains("authority"), "{said}");
    let got = runtime.block_on(collector)??;
    ensure!(got.is_empty(), "the false authority got {} bytes", got.len());
    Ok(network.end()?)
}

#[test]
fn a_party_does_not_pass_for_a_hub() -> Result<()> {
    let network = common::three()?;
    let identity = Store::new(&network.party("carol").state()).load()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let hub = listener.local_addr()?;
    let false_hub = runtime.spawn(async move {
        let incoming = Incoming::read(listener.accept().await?.0).await?;
        let accepted = incoming.accept(&identity, Protocol::Hub, &Expect::AnyParty).await;
        Ok::<_, anyhow::Error>(accepted.is_ok())
    });
    let alice = network.party("alice");
    alice.configure(&format!(
        "[listen]\nport = 0\n[network]\nlocal-discovery = false\nhubs = [\"{hub}\"]\n"
    ))?;
    // Why a hub cannot be used is known when the attempt over UDP has been given up as well.
    alice.declare(&demo(SUM).deadline(std::time::Duration::from_secs(8)))?;
    let mut run = alice.run("demo")?;
    let due = std::time::Instant::now() + LIMIT;
    let outcome = common::blames(&mut run, due, &["alice"], "local")?;
    ensure!(outcome.text.contains("; not there: bob, carol"), "{}", outcome.text);
    ensure!(!runtime.block_on(false_hub)??, "the runner talks to a false hub");
    ensure!(run.said().contains("a hub"), "{}", run.said());
    Ok(network.end()?)
}

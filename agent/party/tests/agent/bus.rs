//! The agent on a bus, with a stand-in for systemd's manager there.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use mpyc_party::agent::PartyProxy;
use mpyc_party_lab::party::{Network, Run};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::timeout;
use zbus::{Connection, MessageStream, OwnedObjectPath, connection, fdo, interface};

use crate::common::{LIMIT, SUM, completes, demo, three};
use crate::machine::{Machine, free_port, head};

/// A bus of its own; ends with the test.
pub(crate) struct Bus {
    daemon: Child,
    pub(crate) address: String,
    runtime: Runtime,
}

impl Bus {
    pub(crate) fn start() -> Result<Self> {
        let mut command = Command::new("dbus-daemon");
        command.args(["--session", "--nofork", "--nopidfile", "--print-address"]);
        let mut daemon = command.stdout(Stdio::piped()).spawn().context("dbus-daemon")?;
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().context("its output")?).read_line(&mut address)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        Ok(Self { daemon, address: address.trim().to_owned(), runtime })
    }

    async fn connect(&self) -> Result<Connection> {
        Ok(connection::Builder::address(self.address.as_str()).build().await?)
    }

    /// Bob's agent, on this bus.
    fn agent(&self, network: &Network) -> Result<Machine> {
        let bob = network.party("bob");
        bob.configure(&head(free_port()?, "bus = \"system\""))?;
        let machine = Machine::start_with(bob, |command| {
            command.args(["agent", "-vv"]).env("DBUS_SYSTEM_BUS_ADDRESS", &self.address);
        })?
        .ready()?;
        let (there, ready) = (machine.tells("answering on D-Bus")?, machine.tells("ready: ")?);
        ensure!(there < ready, "ready before it answers");
        Ok(machine)
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// The runs that the stand-in started, with the names of their units.
type Started = Arc<Mutex<Vec<(String, Run)>>>;

/// A stand-in for systemd's manager: it has the unit of sessions, and starts bob's runner for it.
struct Manager {
    network: Arc<Network>,
    started: Started,
}

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn get_unit_file_state(&self, file: &str) -> fdo::Result<String> {
        match file {
            "mpyc-session@.service" => Ok("static".to_owned()),
            _ => Err(fdo::Error::FileNotFound(file.to_owned())),
        }
    }

    fn start_unit(&self, name: &str, mode: &str) -> fdo::Result<OwnedObjectPath> {
        let failed = |text: String| fdo::Error::Failed(text);
        let session = name.strip_prefix("mpyc-session@").and_then(|n| n.strip_suffix(".service"));
        let session = session.ok_or_else(|| failed(format!("no such unit: {name} ({mode})")))?;
        let run = self.network.party("bob").run(session).map_err(|e| failed(e.to_string()))?;
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        started.push((name.to_owned(), run));
        Ok(path("job/1"))
    }

    fn load_unit(&self, _name: &str) -> OwnedObjectPath {
        path("unit/1")
    }
}

#[expect(clippy::unwrap_used, reason = "a mistake in the test, not an outcome of it")]
fn path(end: &str) -> OwnedObjectPath {
    OwnedObjectPath::try_from(format!("/org/freedesktop/systemd1/{end}")).unwrap()
}

/// The only unit of the stand-in.
struct Unit;

#[interface(name = "org.freedesktop.systemd1.Unit")]
impl Unit {
    #[zbus(property)]
    fn active_state(&self) -> &str {
        "active"
    }
}

#[test]
fn what_is_proposed_is_started_by_the_manager_of_units() -> Result<()> {
    let (bus, network, started) = (Bus::start()?, Arc::new(three()?), Started::default());
    network.declare(&demo(SUM).set("start", "\"on-proposal\""))?;
    let manager = Manager { network: Arc::clone(&network), started: Arc::clone(&started) };
    let _manager = bus.runtime.block_on(async {
        let builder = connection::Builder::address(bus.address.as_str());
        let builder = builder.serve_at("/org/freedesktop/systemd1", manager);
        let builder = builder.serve_at(path("unit/1"), Unit).name("org.freedesktop.systemd1");
        builder.build().await
    })?;
    let machine = bus.agent(&network)?;
    let mut signals = signals(&bus)?;
    let runs = [network.party("alice").run("demo")?, network.party("carol").run("demo")?];
    runs.into_iter().try_for_each(completes)?;
    machine.tells("session demo: completed")?;
    let started = std::mem::take(&mut *started.lock().unwrap_or_else(PoisonError::into_inner));
    for (unit, run) in started {
        ensure!(unit == "mpyc-session@demo.service", "{unit}");
        completes(run)?;
    }
    let mut heard = Vec::new();
    while heard.last().is_none_or(|last| last != "RunEnded") {
        let next = bus.runtime.block_on(async { timeout(LIMIT, signals.recv()).await })?;
        heard.push(next.context("no more signals")?);
    }
    ensure!(heard == ["ProposalReceived", "RunStarted", "RunEnded"], "{heard:?}");
    drop(machine);
    Ok(())
}

/// The names of the agent's signals, as they come.
fn signals(bus: &Bus) -> Result<mpsc::UnboundedReceiver<String>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let (ready, told) = std::sync::mpsc::channel();
    let connection = bus.runtime.block_on(bus.connect())?;
    bus.runtime.spawn(async move {
        let rule = "type='signal',interface='org.mpyc.Party1'";
        let Ok(mut stream) = MessageStream::for_match_rule(rule, &connection, None).await else {
            return;
        };
        let _ = ready.send(());
        while let Some(Ok(message)) = std::future::poll_fn(|context| {
            zbus::export::futures_core::Stream::poll_next(std::pin::Pin::new(&mut stream), context)
        })
        .await
        {
            let member = message.header().member().map(ToString::to_string);
            let _ = sender.send(member.unwrap_or_default());
        }
    });
    told.recv_timeout(LIMIT).context("no signals can be heard")?;
    Ok(receiver)
}

#[test]
fn the_bus_shows_this_party_and_takes_only_names_of_declared_sessions() -> Result<()> {
    let (bus, network) = (Bus::start()?, three()?);
    network.declare(&demo(SUM))?;
    let machine = bus.agent(&network)?;
    bus.runtime.block_on(async {
        let connection = bus.connect().await?;
        let party = PartyProxy::new(&connection).await?;
        ensure!(party.name().await? == "bob" && party.network().await? == "example");
        ensure!(party.certificate_expiry().await? > 0 && party.port().await? > 0);
        ensure!(party.hubs().await?.values().all(|state| state == "up"));
        let sessions = party.sessions().await?;
        let expected = ("demo".to_owned(), "manual".to_owned(), "idle".to_owned(), 0);
        ensure!(sessions == [expected], "{sessions:?}");
        for name in ["../sshd", "a b", "Demo", "sshd.service", ""] {
            let refused = party.start(name).await.err().context("started")?.to_string();
            ensure!(refused.contains("is not a name"), "{refused}");
        }
        let refused = party.start("sshd").await.err().context("started")?.to_string();
        ensure!(refused.contains("there is no session «sshd» here"), "{refused}");
        let refused = party.approve("demo").await.err().context("approved")?.to_string();
        ensure!(refused.contains("nobody proposes"), "{refused}");
        party.reload().await?;
        let introspectable = fdo::IntrospectableProxy::builder(&connection)
            .destination("org.mpyc.Party1")
            .path("/org/mpyc/Party1")
            .build()
            .await?;
        let text = introspectable.introspect().await?;
        for member in ["Approve", "Reject", "ProposalReceived", "CertificateExpiry", "RunEnded"] {
            ensure!(text.contains(&format!("name=\"{member}\"")), "no {member} in {text}");
        }
        Ok(())
    })?;
    drop(machine);
    Ok(network.end()?)
}

#[test]
fn the_status_tells_what_the_agent_of_this_party_says_and_no_other() -> Result<()> {
    let (bus, network) = (Bus::start()?, three()?);
    network.declare(&demo(SUM))?;
    let machine = bus.agent(&network)?;
    let status = |name: &str| {
        let mut command = network.party(name).command();
        command.args(["--json", "status"]).env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address);
        Ok::<serde_json::Value, anyhow::Error>(serde_json::from_slice(&command.output()?.stdout)?)
    };
    let told = status("bob")?;
    ensure!(told["agent"]["sessions"][0]["state"] == "idle", "{told}");
    ensure!(told["agent"]["hubs"][network.hub_address().to_string()] == "up", "{told}");
    let other = status("alice")?;
    ensure!(other["party"] == "alice" && other["agent"].is_null(), "{other}");
    drop(machine);
    Ok(network.end()?)
}

#[test]
fn a_person_approves_what_may_not_start_by_itself_and_stops_it() -> Result<()> {
    let (bus, network) = (Bus::start()?, three()?);
    network.declare(&demo(crate::common::ENDLESS))?;
    // Without a manager of units, runners are children.
    let machine = bus.agent(&network)?;
    let runs = [network.party("alice").run("demo")?, network.party("carol").run("demo")?];
    machine.tells("which waits for somebody to approve: a person starts it here")?;
    bus.runtime.block_on(async {
        let party = PartyProxy::new(&bus.connect().await?).await?;
        Ok::<_, anyhow::Error>(party.approve("demo").await?)
    })?;
    for run in &runs {
        run.wait_for_line("running", LIMIT)?;
    }
    bus.runtime.block_on(async {
        let party = PartyProxy::new(&bus.connect().await?).await?;
        Ok::<_, anyhow::Error>(party.stop("demo").await?)
    })?;
    for mut run in runs {
        let outcome = run.verdict(LIMIT)?;
        ensure!(outcome.who() == ["bob"] && outcome.reason() == "stopped", "{}", outcome.text);
        run.exit(LIMIT)?;
    }
    machine.tells("session demo: failed: bob: the session was stopped there")?;
    drop(machine);
    Ok(network.end()?)
}

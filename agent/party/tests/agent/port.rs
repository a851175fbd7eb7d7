//! One public port for all sessions: who gets through to which runner, and who does not.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mpyc_party::identity::Store;
use mpyc_party::runner::handover::{self, Registration};
use mpyc_party_core::claims::PublicKey;
use mpyc_party_core::control::{Control, MAX_CONTROL_BYTES, MAX_OPENING_BYTES, Purpose};
use mpyc_party_core::sni::Tag;
use mpyc_party_lab::party::{Network, Session};
use mpyc_party_transport::task::Supervisor;
use mpyc_party_transport::{Expect, Protocol, frame};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::io::AsyncReadExt;

use crate::common::{BOUND, LIMIT, NAMES, PATIENT, SUM, completes, demo, running, three};
use crate::machine::{Machine, at, free_port, head};

/// Three parties, of whom bob has an agent on this port.
fn with_agent() -> Result<(Network, Machine, u16)> {
    let (network, port) = (three()?, free_port()?);
    network.party("bob").configure(&head(port, ""))?;
    let machine = Machine::start(network.party("bob"))?.ready()?;
    Ok((network, machine, port))
}

/// By what alice and bob ask for each other in session demo of this network.
fn demo_tag(network: &Network) -> Result<Tag> {
    let root = Store::new(&network.party("alice").state()).load()?.root().fingerprint;
    Ok(Tag::pair(&root, &"demo".parse()?, &"alice".parse()?, &"bob".parse()?))
}

/// A connection went through the agent to the runner of this session.
fn handed(machine: &Machine, session: &str) -> Result<usize> {
    machine.tells(&format!("a connection goes to the runner of session {session}"))
}

#[test]
fn two_sessions_at_once_share_one_port() -> Result<()> {
    let (network, machine, port) = with_agent()?;
    let mut first = running(&network, &demo(PATIENT))?;
    network.declare(&Session::new("other", SUM).parties(&NAMES))?;
    let second = network.run("other")?;
    for run in [&first[1], &second[1]] {
        let waiting = run.wait_for("waiting", LIMIT)?;
        ensure!(waiting["port"] == port, "{waiting}");
    }
    second.into_iter().try_for_each(completes)?;
    first.iter_mut().try_for_each(|run| run.feed("1\n"))?;
    first.into_iter().try_for_each(completes)?;
    handed(&machine, "demo")?;
    handed(&machine, "other")?;
    drop(machine);
    Ok(network.end()?)
}

#[test]
fn nothing_follows_the_verdict_of_a_run_with_an_agent() -> Result<()> {
    let (network, machine, _) = with_agent()?;
    network.declare(&demo(SUM))?;
    for _ in 0..4 {
        let others = [network.party("alice").run("demo")?, network.party("carol").run("demo")?];
        let (mut reader, writer) = std::io::pipe()?;
        let mut command = network.party("bob").command();
        command.args(["session", "run", "demo"]).stdout(writer.try_clone()?).stderr(writer);
        let mut bob = command.spawn()?;
        drop(command);
        let mut said = String::new();
        reader.read_to_string(&mut said)?;
        ensure!(bob.wait()?.success() && said.ends_with("✓ completed\n"), "{said}");
        others.into_iter().try_for_each(completes)?;
    }
    drop(machine);
    Ok(network.end()?)
}

/// A socket at which runners register, in this directory.
pub(crate) fn registration_socket(directory: &Path) -> Result<OwnedFd> {
    fs::create_dir_all(directory)?;
    let flags = SocketFlags::CLOEXEC;
    let kind = SocketType::SEQPACKET;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(directory.join("agent.sock"))?)?;
    rustix::net::listen(&socket, 64)?;
    Ok(socket)
}

#[test]
fn the_port_of_an_agent_that_is_away_is_left_to_it() -> Result<()> {
    let (network, port) = (three()?, free_port()?);
    let bob = network.party("bob");
    bob.configure(&head(port, ""))?;
    network.declare(&demo(SUM))?;
    // It was there: its socket is left, and nobody listens.
    drop(registration_socket(&bob.state().join("run"))?);
    let run = bob.run("demo")?;
    let waiting = run.wait_for("waiting", LIMIT)?;
    ensure!(waiting["port"] != port, "{waiting}");
    let machine = Machine::start(bob)?.ready()?;
    drop((run, machine));
    Ok(network.end()?)
}

#[test]
fn an_agent_that_is_killed_disturbs_no_run() -> Result<()> {
    let (network, port) = (three()?, free_port()?);
    network.party("bob").configure(&head(port, ""))?;
    // These sockets outlive the agent, as systemd's do.
    let listener = TcpListener::bind(at(port))?;
    let registration = registration_socket(&network.party("bob").state().join("run"))?;
    let start = || Machine::start_on(network.party("bob"), &listener, &registration);
    let machine = start()?.ready()?;
    let mut runs = running(&network, &demo(PATIENT))?;
    machine.kill()?;
    runs.iter_mut().try_for_each(|run| run.feed("1\n"))?;
    runs.into_iter().try_for_each(completes)?;

    let machine = start()?.ready()?;
    network.declare(&demo(SUM))?;
    let bob = network.party("bob").run("demo")?;
    bob.wait_for("waiting", LIMIT)?;
    machine.kill()?;
    let (alice, carol) = (network.party("alice").run("demo")?, network.party("carol").run("demo")?);
    let machine = start()?;
    machine.tells("the runner of session demo is here")?;
    [alice, bob, carol].into_iter().try_for_each(completes)?;
    handed(&machine, "demo")?;
    let said = machine.said();
    ensure!(!said.contains("proposes"), "a run that goes on is taken for a proposal:\n{said}");
    drop(machine);
    Ok(network.end()?)
}

/// Waits until the other end hangs up; how long that took.
fn hangs_up(mut stream: TcpStream) -> Result<Duration> {
    let begun = Instant::now();
    stream.set_read_timeout(Some(LIMIT))?;
    let ended = stream.read_to_end(&mut Vec::new());
    ensure!(ended.is_ok_and(|_| true) || begun.elapsed() < LIMIT, "it holds on");
    Ok(begun.elapsed())
}

#[test]
fn who_says_nothing_that_counts_is_sent_away() -> Result<()> {
    let (network, machine, port) = with_agent()?;
    let mut garbage = TcpStream::connect(at(port))?;
    garbage.write_all(b"GET / HTTP/1.1\r\nHost: bob\r\n\r\n")?;
    ensure!(hangs_up(garbage)? < Duration::from_secs(1), "garbage is pondered");
    let mut slow: Vec<TcpStream> = Vec::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(at(port))?;
        stream.write_all(&[22, 3])?;
        slow.push(stream);
    }
    // Meanwhile the others get through.
    network.declare(&demo(SUM))?;
    network.run("demo")?.into_iter().try_for_each(completes)?;
    for stream in slow {
        ensure!(hangs_up(stream)? < Duration::from_secs(2) + BOUND);
    }
    handed(&machine, "demo")?;
    drop(machine);
    Ok(network.end()?)
}

/// What becomes of alice's connection to `port` under this tag.
fn dial(network: &Network, port: u16, tag: Tag, protocol: Protocol) -> Result<String> {
    let identity = Store::new(&network.party("alice").state()).load()?;
    let expect = Expect::Parties(vec![("bob".parse()?, None)]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let tcp = tokio::net::TcpStream::connect(at(port)).await?;
        let name = tag.server_name();
        let made = mpyc_party_transport::connect(tcp, &identity, protocol, &expect, &name).await;
        Ok(made.err().map(|error| error.to_string()).unwrap_or_default())
    })
}

#[test]
fn pings_that_last_leave_the_port_to_others() -> Result<()> {
    let (network, port) = (three()?, free_port()?);
    network.party("bob").configure(&head(port, ""))?;
    network.declare(&demo(SUM))?;
    let machine = Machine::start(network.party("bob"))?.ready()?;
    let identity = Store::new(&network.party("alice").state()).load()?;
    let tag = demo_tag(&network)?;
    let (name, expect) = (tag.server_name(), Expect::Parties(vec![("bob".parse()?, None)]));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let pings = runtime.block_on(async {
        let mut pings = Vec::new();
        for _ in 0..65 {
            let tcp = tokio::net::TcpStream::connect(at(port)).await?;
            let ping =
                mpyc_party_transport::connect(tcp, &identity, Protocol::Check, &expect, &name);
            let mut ping = ping.await?.stream;
            frame::write(&mut ping, &Purpose::Ping, MAX_OPENING_BYTES).await?;
            pings.push(ping);
        }
        // Nobody says more; the last one finds every place taken.
        let (last, others) = pings.split_last_mut().context("no pings")?;
        tokio::time::timeout(BOUND, last.read_u8()).await?.err().context("it is answered")?;
        let (first, number) = (&mut others[0], Control::Beat(7));
        frame::write(first, &number, MAX_CONTROL_BYTES).await?;
        let echo = frame::read::<Control>(first, MAX_CONTROL_BYTES).await?;
        ensure!(echo == Some(Control::Echo(7)), "the first one is forgotten: {echo:?}");
        Ok(pings)
    })?;
    network.run("demo")?.into_iter().try_for_each(completes)?;
    handed(&machine, "demo")?;
    drop((pings, machine));
    Ok(network.end()?)
}

#[test]
fn who_knocks_once_and_leaves_proposes_nothing_any_more() -> Result<()> {
    let (network, port) = (three()?, free_port()?);
    network.party("bob").configure(&head(port, ""))?;
    network.declare(&demo(SUM))?;
    let machine = Machine::start(network.party("bob"))?.ready()?;
    let tag = demo_tag(&network)?;
    ensure!(!dial(&network, port, tag, Protocol::Control)?.is_empty(), "nobody is here");
    let idle = "hubs reached: 1 of 1";
    let proposed = machine.tells(&format!("{idle}, sessions: demo proposed"))?;
    let lines = machine.tells_after(proposed + 1, idle)?;
    ensure!(machine.said().lines().nth(lines).is_some_and(|line| line.ends_with(idle)));
    drop(machine);
    Ok(network.end()?)
}

#[test]
fn who_does_not_know_a_session_is_shown_no_certificate() -> Result<()> {
    let (network, machine, port) = with_agent()?;
    let tag = demo_tag(&network)?;
    let unknown = dial(&network, port, tag, Protocol::Control)?;
    ensure!(unknown.contains("has no part in this session"), "{unknown}");
    // Declared, but without a runner: nobody is there yet, and who asks is not linked to an agent.
    network.declare(&demo(SUM))?;
    machine.signal(rustix::process::Signal::HUP)?;
    machine.tells("the configuration was read again")?;
    let early = dial(&network, port, tag, Protocol::Control)?;
    ensure!(early.contains("nothing is served there"), "{early}");
    machine.tells("alice proposes session demo, which waits for somebody to approve")?;
    let stream = dial(&network, port, tag, Protocol::Stream)?;
    ensure!(stream.contains("does not serve this protocol"), "{stream}");
    drop(machine);
    Ok(network.end()?)
}

/// Registers as a runner of session demo; why that is refused.
fn register(socket: &Path, key: PublicKey) -> Result<String> {
    let tag = Tag::hub(&mpyc_party_core::claims::Fingerprint([7; 32]));
    let own = Registration { key, session: "demo".parse()?, tags: vec![tag] };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let refused = runtime.block_on(async {
        let mut supervisor = Supervisor::default();
        handover::register(socket, own, &mut supervisor).await.err()
    });
    Ok(refused.map(|error| error.to_string()).unwrap_or_default())
}

/// Not a test of its own: the other user of [`only_runners_of_this_user_and_party_register`].
#[test]
#[ignore = "run by another test, as another user"]
fn impostor() -> Result<()> {
    let (socket, key) = (std::env::var("IMPOSTOR_SOCKET")?, std::env::var("IMPOSTOR_KEY")?);
    let refused = register(Path::new(&socket), key.parse()?)?;
    println!("refused: {refused}");
    Ok(())
}

#[test]
fn only_runners_of_this_user_and_party_register() -> Result<()> {
    let (network, machine, _) = with_agent()?;
    let bob = network.party("bob");
    let socket = bob.state().join("run/agent.sock");
    let mode = socket.metadata()?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "others may connect: {mode:o}");
    let key = |name: &str| {
        let identity = Store::new(&network.party(name).state()).load()?;
        Ok::<_, anyhow::Error>(identity.claims().key)
    };
    ensure!(register(&socket, key("bob")?)?.is_empty());
    let other = register(&socket, key("alice")?)?;
    ensure!(other.contains("it is of another party"), "{other}");
    if !rustix::process::geteuid().is_root() {
        eprintln!("NOT TESTED: another user, for lack of root");
        return Ok(());
    }
    // Even where the file system lets others in.
    let open = tempfile::tempdir()?;
    let door = open.path().join("agent.sock");
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o755))?;
    fs::hard_link(&socket, &door)?;
    fs::set_permissions(&door, fs::Permissions::from_mode(0o666))?;
    let program = open.path().join("test");
    fs::copy(std::env::current_exe()?, &program)?;
    let mut impostor = Command::new(program);
    impostor.args(["port::impostor", "--exact", "--ignored", "--nocapture"]);
    impostor.env("IMPOSTOR_SOCKET", &door).env("IMPOSTOR_KEY", key("bob")?.to_string());
    let said = impostor.uid(65534).gid(65534).current_dir("/").output()?;
    let said = String::from_utf8(said.stdout).context("text")?;
    ensure!(said.contains("user 65534 is not the user of this agent"), "{said}");
    drop(machine);
    Ok(network.end()?)
}

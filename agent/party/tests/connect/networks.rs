//! Through NATs and relays, with a real SSH server.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use mpyc_party_lab::party::{Network, Party};
use mpyc_party_lab::topology::{Kind, RouterPlace};
use mpyc_party_lab::{Firewall, Topology, Wan, hosts_for_tests, mpyc_party};
use sha2::{Digest, Sha256};

use crate::common::LIMIT;
use crate::machine::Machine;
use crate::service::{ask, expose, member};

/// What is copied, in bytes.
const MUCH: usize = 6 << 20;
/// The server, which is not in an ordinary user's path.
const SSHD: &str = "/usr/sbin/sshd";

/// Whether SSH can be tested; says so where it cannot.
#[expect(clippy::print_stderr, reason = "a test that tests nothing has to say so")]
fn ssh_is_there() -> bool {
    let there = Path::new(SSHD).exists();
    if !there {
        eprintln!(
            "SKIPPED, nothing is tested: there is no {SSHD} (on Debian: apt install openssh-server)"
        );
    }
    there
}

/// An SSH server on the host of a party, and the client's side.
struct Ssh {
    directory: PathBuf,
    user: String,
    server: Child,
}

impl Drop for Ssh {
    fn drop(&mut self) {
        // It may have ended, which is as good.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(String::from_utf8(output.stdout)?)
}

impl Ssh {
    /// Starts the server on port 22 of `party`'s host.
    fn start(party: &Party) -> Result<Self> {
        let (directory, host) = (party.directory().join("ssh"), party.host().context("a host")?);
        fs::create_dir_all(&directory)?;
        for key in ["host", "user"] {
            let file = directory.join(key);
            run(Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(file))?;
        }
        let user = run(Command::new("id").arg("-un"))?.trim().to_owned();
        if user == "root" {
            // Where the server gives up its rights; systemd makes it otherwise.
            fs::create_dir_all("/run/sshd")?;
        }
        let at = directory.display();
        let config = format!(
            "Port 22\nHostKey {at}/host\nAuthorizedKeysFile {at}/user.pub\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
        );
        fs::write(directory.join("sshd_config"), config)?;
        let mut server = host.command(SSHD);
        server.args(["-D", "-e", "-f"]).arg(directory.join("sshd_config"));
        let log = fs::File::create(directory.join("log"))?;
        let server = server.stdin(Stdio::null()).stderr(log).spawn()?;
        host.wait_for(22, LIMIT)?;
        Ok(Self { directory, user, server })
    }

    /// A client on `party`'s host, which gets to `target` by `connect` alone.
    fn client(&self, party: &Party, target: &str) -> Result<Command> {
        let (at, program) = (self.directory.display(), mpyc_party()?);
        let (config, state) = (party.config(), party.state());
        let proxy = format!(
            "ProxyCommand={} --config {} --state {} connect -v %h %p",
            program.display(),
            config.display(),
            state.display()
        );
        let mut ssh = party.host().context("a host")?.command("ssh");
        ssh.args(["-F", "none", "-o", &proxy, "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
        let key = fs::read_to_string(self.directory.join("host.pub"))?;
        fs::write(self.directory.join("known"), format!("{target} {key}"))?;
        ssh.args(["-o", "StrictHostKeyChecking=yes", "-o"]);
        ssh.arg(format!("UserKnownHostsFile={at}/known"))
            .arg("-i")
            .arg(self.directory.join("user"));
        ssh.arg(format!("{}@{target}", self.user));
        Ok(ssh)
    }
}

/// A network of a target and an operator of the group «admins», in networks of these kinds, with
/// the target's SSH server exposed to that group.
fn with_ssh(target: Kind, operator: Kind) -> Result<(Network, Ssh, Machine)> {
    let topology = target.place(Topology::default(), "target");
    let topology = operator.place(topology, "operator").public("hub");
    let mut network = Network::in_topology(&topology, &["target"])?;
    member(&mut network, "operator", "admins")?;
    let party = network.party("target");
    let quiet = "network.local-discovery = false\n[listen]\nport = 443\n";
    party.configure(&format!("{quiet}[expose.ssh]\nport = 22\ngroups = [\"admins\"]\n"))?;
    let ssh = Ssh::start(party)?;
    let machine = expose(party)?;
    Ok((network, ssh, machine))
}

#[test]
fn ssh_gets_through_symmetric_nats_and_copies_whole_files() -> Result<()> {
    if !hosts_for_tests()? || !ssh_is_there() {
        return Ok(());
    }
    let (network, ssh, machine) = with_ssh(Kind::Symmetric, Kind::Symmetric)?;
    let operator = network.party("operator");
    let said = ssh.client(operator, "target")?.arg("echo $((6 * 7)); exit 3").output()?;
    let path = String::from_utf8_lossy(&said.stderr).into_owned();
    let log = || fs::read_to_string(ssh.directory.join("log")).unwrap_or_default();
    ensure!(said.status.code() == Some(3) && said.stdout == b"42\n", "{path}\n{}", log());
    ensure!(path.contains("relayed by") || path.contains("direct, QUIC"), "{path}");

    let much: Vec<u8> = (0..253).cycle().take(MUCH).collect();
    let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(&much));
    let copy = ssh.directory.join("copy");
    let there = format!("cat > {0} && sha256sum < {0}", copy.display());
    let mut client = ssh.client(operator, "target")?;
    let mut client = client.arg(there).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    client.stdin.take().context("standard input")?.write_all(&much)?;
    let said = client.wait_with_output()?;
    let summed = String::from_utf8_lossy(&said.stdout).into_owned();
    ensure!(said.status.success() && summed.starts_with(&digest), "{summed}, not {digest}");
    let back = ssh.client(operator, "target")?.arg(format!("cat {}", copy.display())).output()?;
    ensure!(back.status.success() && back.stdout == much, "{} bytes came back", back.stdout.len());
    machine.tells("operator disconnected from ssh")?;
    drop((ssh, machine));
    Ok(network.end()?)
}

#[test]
fn a_target_behind_an_easy_nat_is_reached_directly() -> Result<()> {
    if !hosts_for_tests()? || !ssh_is_there() {
        return Ok(());
    }
    let (network, ssh, machine) = with_ssh(Kind::Easy, Kind::Easy)?;
    // A machine that is busy may be late once.
    let mut paths = String::new();
    while !paths.contains("port 22: direct, QUIC to") {
        ensure!(paths.lines().count() < 5, "{paths}");
        let said = ask(network.party("operator"), "target", 22, b"quit\n")?;
        ensure!(said.out.starts_with(b"SSH-2.0"), "{}", said.err);
        paths.push_str(&said.err);
    }
    drop((ssh, machine));
    Ok(network.end()?)
}

#[test]
fn without_udp_it_goes_through_the_hub_and_to_a_public_target_directly() -> Result<()> {
    if !hosts_for_tests()? || !ssh_is_there() {
        return Ok(());
    }
    for (target, path) in [(Kind::Tcp443, "relayed by"), (Kind::Public, "direct, TCP")] {
        let (network, ssh, machine) = with_ssh(target, Kind::UdpBlocked)?;
        let said = ask(network.party("operator"), "target", 22, b"quit\n")?;
        ensure!(said.out.starts_with(b"SSH-2.0") && said.err.contains(path), "{}", said.err);
        drop((ssh, machine));
        network.end()?;
    }
    Ok(())
}

/// A service on port 7 of `party`'s host that answers with what it is sent.
fn echo_at(party: &Party) -> Result<()> {
    let listener = party.host().context("a host")?.tcp_listener(7)?;
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // Whoever breaks off misses the rest.
            std::thread::spawn(move || drop(std::io::copy(&mut &stream, &mut &stream)));
        }
    });
    Ok(())
}

#[test]
fn much_gets_through_where_large_packets_vanish() -> Result<()> {
    if !hosts_for_tests()? {
        return Ok(());
    }
    // The operator's line is narrow, then that of the target, who lets nobody in but by the hub.
    for narrow in ["operator", "target"] {
        let router = |name: &str, firewall| RouterPlace {
            firewall,
            link: (name == narrow).then(|| Wan::narrow(1400)),
            ..RouterPlace::default()
        };
        let topology = Topology::default().public("hub");
        let topology = topology.behind("operator", router("operator", Firewall::UdpBlocked));
        let topology = topology.behind("target", router("target", Firewall::UdpBlocked));
        let mut network = Network::in_topology(&topology, &["target"])?;
        member(&mut network, "operator", "admins")?;
        let party = network.party("target");
        party.configure(
            "network.local-discovery = false\n[listen]\nport = 443\n[expose.echo]\nport = 7\ngroups = [\"admins\"]\n",
        )?;
        echo_at(party)?;
        let machine = expose(party)?;
        let much: Vec<u8> = (0..251).cycle().take(1 << 20).collect();
        let said = ask(network.party("operator"), "target", 7, &much)?;
        ensure!(said.err.contains("relayed by"), "{narrow}: {}", said.err);
        ensure!(said.out == much, "{narrow}: {} bytes came back: {}", said.out.len(), said.err);
        drop(machine);
        network.end()?;
    }
    Ok(())
}

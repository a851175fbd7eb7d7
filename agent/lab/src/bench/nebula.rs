//! Nebula as a tunnel, in the same topology: a lighthouse, and a host at each end.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use mpyc_party_lab::Host;

use super::alternatives::{Alternative, SETUP_TIMEOUT, Site, Tunnel};
use super::process::{Process, pinned};
use super::traffic::Address;

/// Nebula, with what it needs to punch through NATs.
pub(crate) const NEBULA: Alternative = Alternative {
    name: "Nebula",
    set_up: nebula,
    absent: "cannot be had: it is not installed (apt-get install nebula), or this is not root",
};

/// The lighthouse's UDP port.
const PORT: u16 = 4242;
/// The overlay's addresses of lighthouse, near and far host.
const OVERLAY: [Ipv4Addr; 3] =
    [Ipv4Addr::new(10, 99, 0, 1), Ipv4Addr::new(10, 99, 0, 2), Ipv4Addr::new(10, 99, 0, 3)];
/// What it logs when its interface is up.
const UP: &str = "Nebula interface is active";

fn nebula(site: &Site) -> Result<Option<Tunnel>> {
    let installed = Command::new("nebula").arg("-version").output().is_ok();
    // It makes an interface of its own on each host.
    if !installed || !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let home = site.fresh("nebula")?;
    certificate(&home, &["ca", "-name", "bench"])?;
    let (mut processes, mut begun) = (Vec::new(), Instant::now());
    for (number, host) in [&site.hub, &site.near, &site.far].into_iter().enumerate() {
        let (name, address) = (host.name(), OVERLAY[number]);
        certificate(&home, &["sign", "-name", name, "-ip", &format!("{address}/24")])?;
        let file = home.join(format!("{name}.yml"));
        fs::write(&file, configuration(&home, site, host))?;
        let mut command = pinned(host, number.saturating_sub(1), "nebula");
        command.arg("-config").arg(file);
        let process = Process::start(command, format!("Nebula on {name}"))?;
        if number == 0 {
            until_up(&process)?;
            begun = Instant::now();
        }
        processes.push(process);
    }
    processes[1..].iter().try_for_each(until_up)?;
    let port = site.far.free_port()?;
    let serve = Address::Tcp((Ipv4Addr::UNSPECIFIED, port).into());
    let dial = Address::Tcp((OVERLAY[2], port).into());
    Ok(Some(Tunnel { dial, serve, processes, begun }))
}

fn until_up(process: &Process) -> Result<()> {
    while !process.line(SETUP_TIMEOUT)?.contains(UP) {}
    Ok(())
}

fn certificate(home: &Path, arguments: &[&str]) -> Result<()> {
    let ended = Command::new("nebula-cert").args(arguments).current_dir(home).output();
    let ended = ended.context("cannot run nebula-cert")?;
    ensure!(ended.status.success(), "nebula-cert: {}", String::from_utf8_lossy(&ended.stderr));
    Ok(())
}

fn configuration(home: &Path, site: &Site, host: &Host) -> String {
    let (lighthouse, name) = (host.name() == site.hub.name(), host.name());
    let (port, hosts) = if lighthouse {
        (PORT, String::new())
    } else {
        (0, format!("{:?}", OVERLAY[0].to_string()))
    };
    format!(
        "pki:\n  ca: {home}/ca.crt\n  cert: {home}/{name}.crt\n  key: {home}/{name}.key\n\
         static_host_map:\n  \"{lighthouse_overlay}\": [\"{lighthouse_address}\"]\n\
         lighthouse:\n  am_lighthouse: {lighthouse}\n  interval: 10\n  hosts: [{hosts}]\n\
         listen:\n  host: 0.0.0.0\n  port: {port}\n\
         punchy:\n  punch: true\n  respond: true\n\
         tun:\n  dev: nebula\n  mtu: 1300\n\
         firewall:\n  outbound:\n    - {{port: any, proto: any, host: any}}\n  \
         inbound:\n    - {{port: any, proto: any, host: any}}\n",
        home = home.display(),
        lighthouse_overlay = OVERLAY[0],
        lighthouse_address = site.hub.socket(PORT),
    )
}

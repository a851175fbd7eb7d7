//! What carries a connection from one host to another: nothing but TCP, our link over each path,
//! stunnel, Nebula.
//!
//! A new alternative is a function here and a line in a list of [`Alternative`]s.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;
use mpyc_party_authority::Authority;
use mpyc_party_lab::topology::Built;
use mpyc_party_lab::{Host, TempState, Topology};
use mpyc_party_transport::now;

use super::certificates::{Signer, enrol};
use super::ends::Transport;
use super::meeting::{FAR, NEAR};
use super::process::{Process, pinned};
use super::traffic::Address;

/// How long a tunnel may take to come up.
pub(crate) const SETUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Debian's stunnel; on other systems the name has no number.
const STUNNEL: [&str; 2] = ["/usr/bin/stunnel4", "/usr/bin/stunnel"];

/// Two hosts, one for a hub where there is one, and a place for files.
pub(crate) struct Site {
    pub(crate) near: Host,
    pub(crate) far: Host,
    pub(crate) hub: Host,
    pub(crate) state: TempState,
    /// How many alternatives were set up.
    pub(crate) count: AtomicU32,
}

impl Site {
    /// On these hosts.
    pub(crate) fn new(near: Host, far: Host, hub: Host) -> Result<Self> {
        Ok(Self { near, far, hub, state: TempState::new()?, count: AtomicU32::new(0) })
    }

    /// On the hosts of a topology that are called so.
    pub(crate) fn of(topology: &Topology) -> Result<(Self, Built)> {
        let mut built = topology.build()?;
        let mut host = |name: &str| built.hosts.remove(name).context("the host is there");
        let site = Self::new(host(NEAR)?, host(FAR)?, host("hub")?)?;
        Ok((site, built))
    }

    /// An empty directory.
    pub(crate) fn fresh(&self, name: &str) -> Result<PathBuf> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        Ok(self.state.of(&format!("{name}-{number}"))?)
    }
}

/// A connection's way: the driver dials `dial` on the near host, and what `processes` there are
/// carry it to `serve` on the far one.
pub(crate) struct Tunnel {
    pub(crate) dial: Address,
    pub(crate) serve: Address,
    pub(crate) processes: Vec<Process>,
    /// When its two ends were started.
    pub(crate) begun: Instant,
}

/// A alternative: its name, and how it is set up; `None` if it cannot be had here, for the reason in
/// the list.
pub(crate) struct Alternative {
    pub(crate) name: &'static str,
    pub(crate) set_up: fn(&Site) -> Result<Option<Tunnel>>,
    pub(crate) absent: &'static str,
}

/// A alternative that can always be had.
pub(crate) const fn always(
    name: &'static str,
    set_up: fn(&Site) -> Result<Option<Tunnel>>,
) -> Alternative {
    Alternative { name, set_up, absent: "" }
}

/// Plain TCP.
pub(crate) const PLAIN: Alternative = always("plain TCP", plain);
/// TLS over TCP, and nothing that outlives it.
pub(crate) const BARE: Alternative = always("TLS alone", |site| ours(site, Transport::Tcp, true));
/// Our link over TCP.
pub(crate) const LINK: Alternative = always("our link", |site| ours(site, Transport::Tcp, false));
/// Our link over QUIC, after an introduction.
pub(crate) const QUIC: Alternative =
    always("our link, QUIC", |site| ours(site, Transport::Quic, false));
/// What is relayed, and nothing that outlives it.
pub(crate) const BARE_RELAY: Alternative =
    always("relayed TLS alone", |site| ours(site, Transport::Relay, true));
/// Our link through a hub.
pub(crate) const RELAY: Alternative =
    always("our link, relayed", |site| ours(site, Transport::Relay, false));
/// stunnel, as we are: mutual TLS 1.3.
pub(crate) const STUNNEL_TLS: Alternative = Alternative {
    name: "stunnel",
    set_up: stunnel,
    absent: "is not installed (apt-get install stunnel4)",
};

fn plain(site: &Site) -> Result<Option<Tunnel>> {
    let address = Address::Tcp(site.far.socket(site.far.free_port()?));
    let (dial, serve, begun) = (address.clone(), address, Instant::now());
    Ok(Some(Tunnel { dial, serve, processes: Vec::new(), begun }))
}

/// A network with the two as parties; with a hub where the path needs one.
fn ours(site: &Site, transport: Transport, bare: bool) -> Result<Option<Tunnel>> {
    let path = transport.to_possible_value().context("every path has a name")?;
    let home = site.fresh(path.get_name())?;
    let authority = Authority::init(&home.join("ca"), &"bench".parse()?, None, now())?;
    let mut processes = Vec::new();
    let at = if matches!(transport, Transport::Tcp) {
        site.far.socket(site.far.free_port()?)
    } else {
        let at = site.hub.socket(site.hub.free_port()?);
        let mut command = site.hub.command(this_program()?);
        command.arg("hub").arg(home.join("ca")).arg(at.to_string());
        let hub = Process::start(command, "the hub")?;
        hub.line(SETUP_TIMEOUT)?;
        processes.push(hub);
        at
    };
    let (mut inside, begun) = (Vec::new(), Instant::now());
    for (side, (host, end)) in [(&site.near, NEAR), (&site.far, FAR)].into_iter().enumerate() {
        let directory = home.join(end);
        fs::create_dir(&directory)?;
        enrol(&authority, end, &directory)?;
        let socket = directory.join("inside.sock");
        let mut command = pinned(host, side, &this_program()?);
        command.args(["link", end]).arg(&socket).arg(&directory).args(["--at", &at.to_string()]);
        command.args(["--transport", path.get_name()]);
        command.args(bare.then_some("--bare"));
        let process = Process::start(command, format!("the {end} end of our link"))?;
        process.line(SETUP_TIMEOUT)?;
        processes.push(process);
        inside.push(Address::Unix(socket));
    }
    let [dial, serve] = <[Address; 2]>::try_from(inside).ok().context("a link has two ends")?;
    Ok(Some(Tunnel { dial, serve, processes, begun }))
}

/// Mutual TLS 1.3 with the cipher that our link chooses on the same processor.
fn stunnel(site: &Site) -> Result<Option<Tunnel>> {
    let Some(program) = STUNNEL.into_iter().find(|path| fs::exists(path).unwrap_or(false)) else {
        return Ok(None);
    };
    let local =
        |host: &Host| anyhow::Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, host.free_port()?)));
    let (dial, serve) = (local(&site.near)?, local(&site.far)?);
    let middle = site.far.socket(site.far.free_port()?);
    let root = Signer::new()?;
    let begun = Instant::now();
    let processes = [("yes", &site.near, dial, middle), ("no", &site.far, middle, serve)];
    let processes = processes.into_iter().enumerate().map(|(side, (client, host, from, to))| {
        let configuration = stunnel_configuration(site, &root, host, client, from, to)?;
        let mut command = pinned(host, side, program);
        command.arg(configuration);
        let process = Process::start(command, "stunnel")?;
        host.wait_for(from.port(), SETUP_TIMEOUT)?;
        Ok(process)
    });
    let processes = processes.collect::<Result<_>>()?;
    Ok(Some(Tunnel { dial: Address::Tcp(dial), serve: Address::Tcp(serve), processes, begun }))
}

fn stunnel_configuration(
    site: &Site,
    root: &Signer,
    host: &Host,
    client: &str,
    from: SocketAddr,
    to: SocketAddr,
) -> Result<PathBuf> {
    let directory = site.state.of(host.name())?;
    let file = |name: &str| directory.join(name);
    root.write_pem(&file("root.pem"))?;
    root.named(host.name())?.write_pem(&file("certificate.pem"), &file("key.pem"))?;
    let text = format!(
        "foreground = yes\npid =\nsyslog = no\ndebug = err\nsocket = l:TCP_NODELAY=1\n\
         socket = r:TCP_NODELAY=1\n[link]\nclient = {client}\naccept = {from}\nconnect = {to}\n\
         cert = {certificate}\nkey = {key}\nCAfile = {root}\nverifyChain = yes\n\
         sslVersionMin = TLSv1.3\nciphersuites = TLS_AES_128_GCM_SHA256\n",
        certificate = file("certificate.pem").display(),
        key = file("key.pem").display(),
        root = file("root.pem").display(),
    );
    fs::write(file("stunnel.conf"), text)?;
    Ok(file("stunnel.conf"))
}

/// Where this program is, to start its other ends.
pub(crate) fn this_program() -> Result<String> {
    let path = std::env::current_exe()?;
    Ok(path.to_str().context("this program's path is not UTF-8")?.to_owned())
}

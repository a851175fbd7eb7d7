//! What carries a connection from one host to another: nothing but TCP, our link, stunnel.
//!
//! A new candidate is a function here and a line in [`CARRIERS`].

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use mpyc_party_hub::{Authority, now};
use mpyc_party_lab::{Host, TempState};

use super::certificates::{Signer, enrol};
use super::process::{Process, pinned};
use super::traffic::Address;

/// How long a carrier may take to come up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Debian's stunnel; on other systems the name has no number.
const STUNNEL: [&str; 2] = ["/usr/bin/stunnel4", "/usr/bin/stunnel"];

/// Two hosts and a place for files.
pub(crate) struct Site {
    pub(crate) near: Host,
    pub(crate) far: Host,
    pub(crate) state: TempState,
}

/// A connection's way: the driver dials `dial` on the near host, and what `processes` there are
/// carry it to `serve` on the far one.
pub(crate) struct Carrier {
    pub(crate) dial: Address,
    pub(crate) serve: Address,
    pub(crate) processes: Vec<Process>,
}

/// A candidate: its name, and how it is set up; `None` if it is not installed here.
pub(crate) type Candidate = (&'static str, fn(&Site) -> Result<Option<Carrier>>);

/// Plain TCP comes first: the others are compared with it.
pub(crate) const CARRIERS: [Candidate; 3] =
    [("plain TCP", plain), ("our link", link), ("stunnel", stunnel)];

fn plain(site: &Site) -> Result<Option<Carrier>> {
    let address = Address::Tcp(site.far.socket(site.far.free_port()?));
    Ok(Some(Carrier { dial: address.clone(), serve: address, processes: Vec::new() }))
}

fn link(site: &Site) -> Result<Option<Carrier>> {
    let directory = site.state.path().join("authority");
    let authority = Authority::init(&directory, &"bench".parse()?, None, now())?;
    let outside = site.far.socket(site.far.free_port()?).to_string();
    let mut inside = Vec::new();
    let mut processes = Vec::new();
    for (side, (host, end)) in [(&site.near, "near"), (&site.far, "far")].into_iter().enumerate() {
        let directory = site.state.of(host.name())?;
        enrol(&authority, host.name(), &directory)?;
        let socket = directory.join("inside.sock");
        let mut command = pinned(host, side, &this_program()?);
        command.args(["link", end]).arg(&socket).arg(&outside).arg(&directory);
        processes.push(Process::start(command, format!("the {end} end of our link"))?);
        inside.push(Address::Unix(socket));
    }
    for process in &processes {
        process.line(PATIENCE)?;
    }
    let [dial, serve] = <[Address; 2]>::try_from(inside).ok().context("a link has two ends")?;
    Ok(Some(Carrier { dial, serve, processes }))
}

/// Mutual TLS 1.3 with the cipher that our link chooses on the same processor.
fn stunnel(site: &Site) -> Result<Option<Carrier>> {
    let Some(program) = STUNNEL.into_iter().find(|path| fs::exists(path).unwrap_or(false)) else {
        return Ok(None);
    };
    let local =
        |host: &Host| anyhow::Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, host.free_port()?)));
    let (dial, serve) = (local(&site.near)?, local(&site.far)?);
    let middle = site.far.socket(site.far.free_port()?);
    let root = Signer::new()?;
    let processes = [("yes", &site.near, dial, middle), ("no", &site.far, middle, serve)];
    let processes = processes.into_iter().enumerate().map(|(side, (client, host, from, to))| {
        let configuration = stunnel_configuration(site, &root, host, client, from, to)?;
        let mut command = pinned(host, side, program);
        command.arg(configuration);
        let process = Process::start(command, "stunnel")?;
        host.wait_for(from.port(), PATIENCE)?;
        Ok(process)
    });
    let processes = processes.collect::<Result<_>>()?;
    Ok(Some(Carrier { dial: Address::Tcp(dial), serve: Address::Tcp(serve), processes }))
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

//! A topology by hand: built, shown, and held until the reader has had enough.

use std::fs;
use std::io::{self, BufRead, Write};

use anyhow::{Context, Result};
use clap::Args;
use mpyc_party_lab::Topology;
use mpyc_party_lab::topology::{Built, Kind};

/// What to build.
#[derive(Args)]
#[command(after_help = "\
Examples:
  mpyc-party-lab topology easy,symmetric
  mpyc-party-lab topology --describe carrier > mine.toml
  mpyc-party-lab topology mine.toml")]
pub(crate) struct World {
    /// A description in TOML, or kinds of network with a host in each, as in «easy,symmetric»:
    /// public, easy, symmetric, full-cone, carrier, udp-blocked, tcp-443, ipv6-only, or all.
    topology: String,
    /// Print the description and build nothing.
    #[arg(long)]
    describe: bool,
}

/// Builds, shows, waits for a line or the end of standard input.
pub(crate) fn run(wanted: &World) -> Result<()> {
    let topology = read(&wanted.topology)?;
    if wanted.describe {
        return Ok(io::stdout().write_all(topology.to_toml()?.as_bytes())?);
    }
    let built = topology.build()?;
    show(&built)?;
    io::stdin().lock().read_line(&mut String::new())?;
    Ok(())
}

fn read(what: &str) -> Result<Topology> {
    if fs::exists(what).unwrap_or(false) {
        let text = fs::read_to_string(what).with_context(|| format!("cannot read {what}"))?;
        return Ok(Topology::parse(&text)?);
    }
    let kinds = match what {
        "all" => Kind::ALL.to_vec(),
        _ => what.split(',').map(str::parse).collect::<Result<_, _>>()?,
    };
    let mut topology = Topology::default().public("hub");
    for (number, kind) in kinds.into_iter().enumerate() {
        topology = kind.place(topology, &format!("{kind}-{}", number + 1));
    }
    Ok(topology)
}

/// What there is, and how to get into it from another terminal.
fn show(built: &Built) -> Result<()> {
    let mut out = io::stdout().lock();
    for (name, host) in &built.hosts {
        let addresses: Vec<_> = host.addresses().iter().map(ToString::to_string).collect();
        writeln!(out, "{name:<24} {:<24} {}", addresses.join(" "), host.enter_with())?;
    }
    for (name, router) in &built.routers {
        let outside = router.ip().map(|ip| ip.to_string()).unwrap_or_default();
        writeln!(out, "{name:<24} {outside:<24} {}", router.enter_with())?;
    }
    writeln!(out, "It stays until Enter or the end of input.")?;
    Ok(out.flush()?)
}

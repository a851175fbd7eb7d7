//! Hosts to play with: a lab by hand, with a shell (or any program) in the first host.

use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use mpyc_party_lab::{Host, Lab};

/// What to make and what to run in it.
#[derive(Args)]
pub(crate) struct Hosts {
    /// Names of the hosts.
    #[arg(default_values = ["alice", "bob", "carol"])]
    names: Vec<String>,
    /// What to run in the first host; a shell by default.
    #[arg(last = true)]
    command: Vec<String>,
}

/// Makes the hosts, runs the command in the first and takes everything away when it ends.
pub(crate) fn run(wanted: &Hosts) -> Result<ExitCode> {
    let lab = Lab::new()?;
    let hosts: Vec<Host> =
        wanted.names.iter().map(|name| lab.host(name)).collect::<Result<_, _>>()?;
    introduce(&hosts)?;
    let shell = std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned());
    let default = [shell];
    let command = if wanted.command.is_empty() { &default[..] } else { &wanted.command[..] };
    let [program, arguments @ ..] = command else { return Ok(ExitCode::SUCCESS) };
    let status = hosts[0]
        .command(program)
        .args(arguments)
        .status()
        .with_context(|| format!("cannot run {program}"))?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(u8::try_from(code).unwrap_or(1).into())
}

/// Tells where the hosts are and how to get into them from another terminal.
fn introduce(hosts: &[Host]) -> Result<()> {
    let mut out = io::stdout().lock();
    for host in hosts {
        writeln!(
            out,
            "{:<12} {:<12} {:<10} {}",
            host.name(),
            host.ip(),
            host.ipv6(),
            host.enter_with()
        )?;
    }
    Ok(out.flush()?)
}

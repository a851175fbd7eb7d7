//! `mpyc-party agent`.

use std::ffi::OsString;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use listenfd::ListenFd;
use mpyc_party_transport::task::alongside;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::stop::{self, StopSignals};
use super::{Common, Outcome, journal, output, runtime, terminal};
use crate::agent::{self, ServiceRequest, Setup};
use crate::config::Directories;
use crate::identity::Store;

#[derive(Debug, Args)]
#[command(after_help = "\
At the first start the agent also looks for a token in the systemd credential «token», on a
Raspberry Pi's firmware partition, and in DigitalOcean's user data. It uses the token once, and
removes it where it can.

Examples:
  mpyc-party agent
  mpyc-party agent --token-file /var/lib/mpyc-party/token")]
pub(super) struct Agent {
    /// Wait for an enrolment token in this file, use it, and remove it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Move a token left for this machine into FILE, give it to the owner of FILE's directory, and
    /// exit; with --token-file, the token that is in that file, which is removed in any case
    #[arg(long, value_name = "FILE")]
    take_token: Option<PathBuf>,
}

impl Agent {
    /// Whether it only moves a token, to whoever owns the directory that the token is for.
    pub(super) fn takes_token(&self) -> bool {
        self.take_token.is_some()
    }

    pub(super) fn run(self, common: &Common) -> Outcome {
        if let Some(target) = self.take_token {
            return take_token(common, (self.token_file.as_deref(), &target));
        }
        // First of all, so that nobody who stops or reloads it comes too early.
        stop::watch(StopSignals::WithoutHangup)?;
        terminal::start();
        let runtime = runtime()?;
        let reloads = runtime.block_on(async { signal(SignalKind::hangup()) });
        let reloads = reloads.context("cannot watch for the signal to reload")?;
        let (dirs, config) = common.load()?;
        if let Ok(party) = Store::new(&dirs.state).party() {
            journal::about("MPYC_PARTY", party);
        }
        let (listener, registration) = held();
        super::no_dumps()?;
        let party = arguments(&dirs);
        let (token_file, stack) = (self.token_file, common.stack.clone());
        let setup = Setup { dirs, config, token_file, listener, registration, party, stack };
        let (sender, service_requests) = mpsc::channel(4);
        let worked = alongside(agent::run(setup, service_requests), pass_on(reloads, sender));
        let worked = runtime.block_on(stop::in_time(worked));
        // A thread may still wait for a disk; it ends with the process.
        runtime.shutdown_background();
        worked??;
        Ok(ExitCode::SUCCESS)
    }
}

fn take_token(common: &Common, places: (Option<&Path>, &Path)) -> Outcome {
    let (dirs, config) = common.load()?;
    match runtime()?.block_on(agent::take_token(&dirs, &config, places))? {
        Some(source) => {
            output::good(format!("moved a token from {source} to {}", places.1.display()));
        }
        None => output::step("there is no token to move"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Passes on what signals say, until the end.
async fn pass_on(mut reloads: Signal, service_requests: mpsc::Sender<ServiceRequest>) {
    let mut asked = std::pin::pin!(stop::heard());
    loop {
        let request = tokio::select! {
            () = &mut asked => ServiceRequest::Stop,
            Some(()) = reloads.recv() => ServiceRequest::Reload,
        };
        if service_requests.send(request).await.is_err() || request == ServiceRequest::Stop {
            return;
        }
    }
}

/// The sockets that the service manager holds: the public port, and where runners register.
fn held() -> (Option<TcpListener>, Option<OwnedFd>) {
    let mut held = ListenFd::from_env();
    let (mut port, mut registration) = (None, None);
    for at in 0..held.len() {
        let (family, kind) = (libc::AF_UNIX, libc::SOCK_SEQPACKET);
        // What is none of the two is nobody's, and stays.
        if let Ok(Some(listener)) = held.take_tcp_listener(at) {
            port.get_or_insert(listener);
        } else if let Ok(Some(socket)) = held.take_custom(at, family, kind, "packet socket") {
            registration.get_or_insert(socket);
        }
    }
    (port, registration)
}

/// The arguments with which runners find the same files.
fn arguments(dirs: &Directories) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["--state".into(), dirs.state.clone().into()];
    if let Some(config) = &dirs.config {
        arguments.extend(["--config".into(), config.clone().into()]);
    }
    arguments
}

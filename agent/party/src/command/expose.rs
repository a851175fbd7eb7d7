//! `mpyc-party expose`.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use mpyc_party_core::claims::PublicKey;
use mpyc_party_core::name::PartyName;
use mpyc_party_core::sni::Tag;
use mpyc_party_net::Stack;
use mpyc_party_net::accept::Entrance;
use mpyc_party_net::dial::{LocalEnd, public_port};
use mpyc_party_net::expose::{Allowed, serve};
use mpyc_party_net::publication::Publication;
use mpyc_party_transport::task::{Supervisor, blocking};
use mpyc_party_transport::{Identity, quic};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::stop::{self, StopSignals};
use super::{Common, Outcome, journal, runtime, terminal};
use crate::agent::notify;
use crate::config::runtime::find_agent;
use crate::config::{Config, ConfigError, Directories, rules};
use crate::identity::{Renewal, Store, keep_fresh};
use crate::runner::handover::{self, RegistrationHandle};

#[derive(Debug, Args)]
#[command(after_help = "\
The section [expose] of the configuration says which ports, and to whom; without it nothing is
exposed. SIGHUP reads it again. The other side uses mpyc-party connect. The log says who was
connected to what.

Example, in the configuration:
  [expose.ssh]
  port = 22
  groups = [\"admins\"]")]
pub(super) struct Expose {
    /// The agent's socket, or «none» to listen without it [default: $MPYC_PARTY_AGENT, else where the agent is]
    #[arg(long, value_name = "SOCKET")]
    agent: Option<PathBuf>,
}

impl Expose {
    pub(super) fn run(self, common: &Common) -> Outcome {
        stop::watch(StopSignals::WithoutHangup)?;
        terminal::start();
        let runtime = runtime()?;
        let reloads = runtime.block_on(async { signal(SignalKind::hangup()) });
        let reloads = reloads.context("cannot watch for the signal to reload")?;
        let (dirs, config) = common.load()?;
        if config.expose.is_empty() {
            return Err(ConfigError::NothingExposed.into());
        }
        let store = Store::new(&dirs.state);
        journal::about("MPYC_PARTY", store.party()?);
        super::no_dumps()?;
        let agent = find_agent(&dirs, self.agent.as_deref());
        let exposed = runtime.block_on(async {
            let stack = &common.stack;
            let exposed = expose(stack, (&dirs, &config), store, agent.as_deref(), reloads);
            stop::in_time(exposed).await
        });
        // A thread may still wait for a disk; it ends with the process.
        runtime.shutdown_background();
        exposed??;
        Ok(ExitCode::SUCCESS)
    }
}

/// Lets others in until this process is told to end.
async fn expose(
    stack: &Arc<Stack>,
    (dirs, config): (&Directories, &Config),
    store: Store,
    agent: Option<&Path>,
    reloads: Signal,
) -> anyhow::Result<()> {
    let mut stop = std::pin::pin!(stop::heard());
    let (identity, party, hubs) = tokio::select! {
        fresh = fresh(&store, config) => fresh?,
        () = &mut stop => {
            notify::stopping();
            return Ok(());
        }
    };
    let tag = Tag::exposed(&identity.root().fingerprint, &party);
    let key = identity.claims().key;
    let mut supervisor = Supervisor::new(notify::watchdog());
    let (identity, renewal) = keep_fresh(store, hubs.clone(), identity);
    supervisor.spawn(Renewal::TASK, |heartbeat| renewal.run(heartbeat));
    let (entrance, _registration) = enter(agent, config, (key, tag), &mut supervisor).await?;
    // The public UDP port is left to runners: behind a NAT, which is what this is for, any will do.
    let quic = quic::Endpoint::bind(0).context("cannot open a UDP socket")?;
    let allowed = watch::Sender::new(allowed(config));
    let audience = allowed.borrow().audience();
    let port = entrance.port()?;
    let local = LocalEnd { tcp: Some(port), udp: Some(quic.clone()) };
    let (publication, calls) =
        Publication::start(tag, audience, Arc::clone(stack), local.clone(), &hubs, &identity);
    let listeners = vec![public_port(entrance), Box::new(calls) as _];
    let (stack, changes) = (Arc::clone(stack), allowed.subscribe());
    let serving = serve((identity, tag), stack, local, changes, listeners, publication);
    tell(&allowed.borrow());
    tokio::select! {
        error = serving => return Err(error.into()),
        () = &mut stop => {}
        never = reload(reloads, dirs, &allowed) => match never {},
        failure = supervisor.failure() => return Err(failure.into()),
    }
    notify::stopping();
    quic.close("it is not exposed any more");
    quic.wait_idle().await;
    Ok(())
}

/// The identity, renewed where that is due, whose it is, and its hubs.
async fn fresh(
    store: &Store,
    config: &Config,
) -> anyhow::Result<(Identity, PartyName, Vec<String>)> {
    let (identity, party, hubs) = store.load_all().await?;
    let hubs = config.hubs(hubs);
    let (identity, failed) = store.freshest(&hubs, identity).await;
    if let Some(why) = failed {
        log::warn!("{why}");
    }
    Ok((identity, party, hubs))
}

/// Where others come in: by the agent's port where there is an agent, else by one of its own.
async fn enter(
    agent: Option<&Path>,
    config: &Config,
    (key, tag): (PublicKey, Tag),
    supervisor: &mut Supervisor,
) -> anyhow::Result<(Entrance, Option<RegistrationHandle>)> {
    if let Some(path) = agent {
        match handover::register_exposed(path, key, tag, supervisor).await {
            Ok((entrance, registration)) => return Ok((entrance, Some(registration))),
            Err(error) => log::info!("this process listens by itself: {error}"),
        }
    }
    Ok((Entrance::own(agent, config.listen.port).await?, None))
}

fn allowed(config: &Config) -> Allowed {
    let pin = |(name, peer): (&_, &crate::config::Peer)| Some((Clone::clone(name), peer.key?));
    Allowed { rules: rules(&config.expose), pins: config.peers.iter().filter_map(pin).collect() }
}

/// Reads the configuration again whenever that is asked for; a bad one changes nothing. Nobody who is
/// connected waits for the disk.
async fn reload(
    mut requests: Signal,
    dirs: &Directories,
    allowed: &watch::Sender<Allowed>,
) -> Infallible {
    while requests.recv().await.is_some() {
        notify::reloading();
        let dirs = dirs.clone();
        match blocking(move || dirs.reload()).await {
            Ok(config) => {
                allowed.send_replace(self::allowed(&config));
                log::info!("the configuration was read again");
            }
            Err(error) => log::error!("the old configuration stays: {error}"),
        }
        tell(&allowed.borrow());
    }
    std::future::pending().await
}

/// Says what is exposed, and that it is ready for them.
fn tell(allowed: &Allowed) {
    let each = allowed.rules.0.iter().map(|rule| format!("{} ({})", rule.name, rule.to));
    let text = match each.collect::<Vec<_>>().join(", ") {
        nothing if nothing.is_empty() => "nothing is exposed".to_owned(),
        exposed => format!("exposed: {exposed}"),
    };
    log::info!("{text}");
    notify::ready(&text);
}

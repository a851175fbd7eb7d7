//! `mpyc-party session run`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use mpyc_party_core::name::SessionName;
use mpyc_party_core::verdict::Verdict;
use mpyc_party_net::Stack;
use mpyc_party_net::accept::Entrance;
use mpyc_party_net::address_book::AddressBook;
use mpyc_party_net::peers::SessionPeers;
use mpyc_party_transport::task::{Supervisor, alongside};
use tokio::sync::mpsc;

use super::super::stop::{self, StopSignals};
use super::super::view::{Events, Journal, Lines};
use super::super::{Common, Outcome, completing, journal, logging, runtime, terminal};
use crate::config::Config;
use crate::config::runtime::find_agent;
use crate::identity::{Renewal, Store, check_validity, keep_fresh};
use crate::runner::handover::{self, Registration, RegistrationHandle};
use crate::runner::report::Telling;
use crate::runner::view::{Notice, View};
use crate::runner::{self, Launch, PrepareError};
use crate::session::{self, Definition};

#[derive(Debug, Args)]
#[command(after_help = "Example: mpyc-party session run demo")]
pub(in crate::command) struct Run {
    /// The session
    #[arg(add = completing::sessions())]
    name: SessionName,
    /// The agent's socket, or «none» to listen without it [default: $MPYC_PARTY_AGENT, else where the agent is]
    #[arg(long, value_name = "SOCKET")]
    agent: Option<PathBuf>,
}

impl Run {
    /// The session.
    pub(in crate::command) fn name(&self) -> &SessionName {
        &self.name
    }

    /// Runs the session to a verdict.
    pub(super) fn run(self, common: &Common) -> Outcome {
        let agent = find_agent(&common.dirs()?, self.agent.as_deref());
        run(common, &self.name, agent.as_deref())
    }
}

fn view(common: &Common, definition: &Definition) -> Box<dyn View> {
    match common.json {
        true => Box::new(Events),
        false if logging::in_journal() => {
            Box::new(Journal { output: definition.settings.journal_output })
        }
        false => Box::new(Lines::default()),
    }
}

fn run(common: &Common, name: &SessionName, agent: Option<&Path>) -> Outcome {
    stop::watch(StopSignals::WithHangup)?;
    terminal::detach();
    let (dirs, config) = common.load()?;
    let definition = session::find(&config, &dirs, name)?;
    let mut view = view(common, &definition);
    let store = Store::new(&dirs.state);
    let party = store.party()?;
    definition.index_of(&party)?;
    journal::about("MPYC_SESSION", name);
    journal::about("MPYC_PARTY", &party);
    // The order is a matter of safety: first the sandboxed process, which begins as a copy of this
    // one, then the key.
    let launch = match runner::prepare(definition, (&config, &dirs), &party, view.as_mut()) {
        Err(PrepareError::Ended(_)) => return Ok(ExitCode::FAILURE),
        prepared => prepared?,
    };
    terminal::start();
    crate::command::no_dumps()?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let mut supervisor = Supervisor::default();
        let appeared = async {
            let (session_peers, book) = appear(
                &launch.definition,
                (&common.stack, &config),
                store,
                view.as_mut(),
                &mut supervisor,
            )
            .await?;
            let (entrance, registration) =
                enter(agent, &config, &session_peers, name, &mut supervisor).await?;
            anyhow::Ok((session_peers, book, entrance, registration))
        };
        let appeared = tokio::select! {
            appeared = appeared => appeared.map(Some),
            () = stop::heard() => Ok(None),
        };
        match appeared {
            Ok(Some((session_peers, book, entrance, registration))) => {
                // The renewal ends when nobody listens to it, which is no failure at the end of a run.
                let listener = session_peers.clone();
                let meet =
                    meet(launch, (session_peers, book), entrance, registration, view.as_mut());
                let outcome = alongside(meet, complain(supervisor)).await;
                drop(listener);
                outcome
            }
            Ok(None) => {
                launch.abandon(&party, None, view.as_mut())?;
                Ok(ExitCode::FAILURE)
            }
            Err(error) => {
                launch.abandon(&party, Some(error.as_ref()), view.as_mut())?;
                Ok(ExitCode::FAILURE)
            }
        }
    });
    // A thread may still wait for standard input; it ends with the process.
    runtime.shutdown_background();
    outcome
}

/// Loads the identity, renewed where that is due, and says as whom to meet whom.
async fn appear(
    definition: &Definition,
    (stack, config): (&Arc<Stack>, &Config),
    store: Store,
    view: &mut dyn View,
    supervisor: &mut Supervisor,
) -> anyhow::Result<(SessionPeers, AddressBook)> {
    let (identity, party, hubs) = store.load_all().await?;
    let hubs = config.hubs(hubs);
    let (identity, failed) = store.freshest(&hubs, identity).await;
    if let Some(why) = failed {
        view.show(Notice::Warning(&why.to_string()));
    }
    check_validity(&identity)?;
    let me = definition.index_of(&party)?;
    let (identity, renewal) = keep_fresh(store, hubs.clone(), identity);
    supervisor.spawn(Renewal::TASK, |heartbeat| renewal.run(heartbeat));
    let roster = definition.settings.parties.clone();
    let pins = definition.pins(config);
    let session_peers = SessionPeers::new(identity, &definition.name, roster, me, pins);
    let book = AddressBook::new(Arc::clone(stack), config.sources(hubs), session_peers.clone());
    Ok((session_peers, book))
}

/// Where peers come in: by the agent's port where there is an agent, else by one of its own.
async fn enter(
    agent: Option<&Path>,
    config: &Config,
    session_peers: &SessionPeers,
    name: &SessionName,
    supervisor: &mut Supervisor,
) -> anyhow::Result<(Entrance, Option<RegistrationHandle>)> {
    if let Some(path) = agent {
        let key = session_peers.identity().claims().key;
        let own = Registration { key, session: name.clone(), tags: session_peers.tags().collect() };
        match handover::register(path, own, supervisor).await {
            Ok((entrance, registration)) => return Ok((entrance, Some(registration))),
            Err(error) => log::info!("this runner listens by itself: {error}"),
        }
    }
    Ok((Entrance::own(agent, config.listen.port).await?, None))
}

/// Says what has failed of the tasks beside a run. It is no reason to end the run: that goes on as long
/// as its links do.
async fn complain(mut supervisor: Supervisor) {
    loop {
        let failure = supervisor.failure().await;
        log::error!("{failure}; the run goes on without it");
    }
}

/// Meets the other parties and runs what was prepared.
async fn meet(
    launch: Launch,
    (session_peers, book): (SessionPeers, AddressBook),
    entrance: Entrance,
    mut registration: Option<RegistrationHandle>,
    view: &mut dyn View,
) -> Outcome {
    let (request, stop) = mpsc::channel(1);
    let mut told = registration.as_mut().and_then(RegistrationHandle::stop_requests);
    let stopped = async move {
        tokio::select! {
            () = stop::heard() => {}
            Some(()) = async { told.as_mut()?.recv().await } => {}
        }
        // The run may have ended.
        let _ = request.send(()).await;
    };
    let outcome = match registration {
        Some(registration) => {
            let mut view = Telling { view, progress: registration.progress() };
            let running =
                runner::run_to_verdict(launch, session_peers, entrance, book, stop, &mut view);
            let outcome = alongside(running, stopped).await;
            drop(view);
            registration.leave().await;
            outcome?
        }
        None => {
            let running = runner::run_to_verdict(launch, session_peers, entrance, book, stop, view);
            alongside(running, stopped).await?
        }
    };
    Ok(match outcome.verdict {
        Verdict::Completed => ExitCode::SUCCESS,
        Verdict::Unconfirmed(_) | Verdict::Failed(_) => ExitCode::FAILURE,
    })
}

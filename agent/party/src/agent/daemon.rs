//! The agent's own state, and the loop in which everything that happens is [taken in](events), one
//! after the other, and what is then to be done and shown is [reconciled](reconcile) with what is.

mod events;
mod reconcile;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mpyc_party_core::name::{PartyName, SessionName};
use mpyc_party_core::sni::Tag;
use mpyc_party_net::Stack;
use mpyc_party_transport::Identity;
use mpyc_party_transport::task::{Connections, Supervisor, blocking};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::acceptor::{Acceptor, Proposal, SessionsByTag};
use super::bus::BusSignal;
use super::commands::Command;
use super::declared::{self, Declared};
use super::hub_watcher::{HubEvent, HubWatcher};
use super::metrics::Metrics;
use super::notify;
use super::registry::{MAX_RUNNERS, RegistrationServer, RunnerRegistry};
use super::session_state::{Activity, SessionState};
use super::start::{NoRun, Starter};
use super::status::Status;
use super::{AgentError, ServiceRequest};
use crate::config::{Config, Directories};
use crate::identity::{Renewal, Store, keep_fresh};
use crate::runner::handover::Progress;
use crate::runner::seqpacket::PacketListener;
use crate::session::SessionError;
use crate::session::run_counter::RunCounter;

/// What is asked of the agent.
pub(super) struct Inputs {
    pub(super) service_requests: mpsc::Receiver<ServiceRequest>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) listener: TcpListener,
    /// Where runners register.
    pub(super) registration: PacketListener,
}

/// What the agent is made of.
pub(super) struct Parts {
    pub(super) dirs: Directories,
    pub(super) config: Config,
    pub(super) identity: Identity,
    pub(super) starter: Starter,
    pub(super) supervisor: Supervisor,
    pub(super) outputs: Outputs,
}

/// Where the agent shows what it does.
pub(super) struct Outputs {
    pub(super) status: watch::Sender<Status>,
    pub(super) metrics: Metrics,
    pub(super) signals: mpsc::Sender<BusSignal>,
    /// The kinds of path that this process knows.
    pub(super) stack: Arc<Stack>,
}

/// One session at this party.
#[derive(Default)]
struct Entry {
    declared: Option<Declared>,
    state: SessionState,
    watcher: Option<HubWatcher>,
    /// What the runner told last; none before it has told anything.
    progress: Option<Progress>,
    /// How many starts there were: an end belongs to its start.
    starts: u64,
    counter: RunCounter,
    /// Why its counter cannot be read, as told.
    unreadable: Option<String>,
}

impl Entry {
    /// Whether others are there to run it, and nothing of it goes on here.
    fn is_proposed(&self, now: Instant) -> bool {
        self.state.activity() == Activity::Idle && !self.state.here(now).is_empty()
    }
}

/// How a start of a session ended.
struct Ending {
    session: SessionName,
    /// Which of its starts it was.
    start: u64,
    /// Why no run came of it, where none did.
    why: NoRun,
}

/// The agent at work.
pub(super) struct Daemon {
    dirs: Directories,
    config: Config,
    party: PartyName,
    identity: watch::Receiver<Identity>,
    hubs: Vec<String>,
    sessions: BTreeMap<SessionName, Entry>,
    by_tag: watch::Sender<SessionsByTag>,
    registry: RunnerRegistry,
    starter: Starter,
    /// Starts that go on. One that panics is a start that failed, of its session alone: were it the end
    /// of the agent, a proposal that leads to it would be so again and again.
    starting: Connections,
    endings: (mpsc::UnboundedSender<Ending>, mpsc::UnboundedReceiver<Ending>),
    /// Requests on the bus that take a while.
    requests: Connections,
    supervisor: Supervisor,
    hub_events: (mpsc::Sender<HubEvent>, mpsc::Receiver<HubEvent>),
    _own_watcher: HubWatcher,
    outputs: Outputs,
    ready: bool,
    /// What the service manager was told last of how things stand.
    last_status: String,
}

impl Daemon {
    /// The agent of the party with `identity`.
    ///
    /// # Errors
    /// Where the identity or the sessions cannot be used.
    pub(super) async fn begin(parts: Parts) -> Result<Self, AgentError> {
        let Parts { dirs, config, identity, starter, mut supervisor, outputs } = parts;
        let store = Store::new(&dirs.state);
        let (_, party, hubs) = store.load_all().await?;
        let hubs = config.hubs(hubs);
        let (identity, renewal) = keep_fresh(store, hubs.clone(), identity);
        supervisor.spawn(Renewal::TASK, |heartbeat| renewal.run(heartbeat));
        let hub_events = mpsc::channel(64);
        let own_watcher =
            own_watcher(&party, (&hubs, &identity), hub_events.0.clone(), &mut supervisor);
        let (sessions, by_tag) = (BTreeMap::new(), watch::Sender::new(SessionsByTag::default()));
        let (registry, starting) =
            (RunnerRegistry::default(), Connections::new("a start of a session"));
        let mut daemon = Self {
            dirs,
            config,
            party,
            identity,
            hubs,
            sessions,
            by_tag,
            registry,
            starter,
            starting,
            endings: mpsc::unbounded_channel(),
            requests: Connections::new("a request"),
            supervisor,
            hub_events,
            _own_watcher: own_watcher,
            outputs,
            ready: false,
            last_status: String::new(),
        };
        daemon.declare().await?;
        Ok(daemon)
    }

    /// Takes in what is declared now.
    async fn declare(&mut self) -> Result<(), SessionError> {
        let (config, dirs) = (self.config.clone(), self.dirs.clone());
        let (party, identity) = (self.party.clone(), self.identity.clone());
        let all = blocking(move || declared::all(&config, &dirs, &party, &identity)).await?;
        let watched = declared::watched(&all);
        self.sessions.values_mut().for_each(|entry| entry.declared = None);
        let mut by_tag = BTreeMap::new();
        for (name, declared) in all {
            let entry = self.sessions.entry(name.clone()).or_default();
            if entry.watcher.as_ref().is_none_or(|watcher| !watcher.is_of(&declared)) {
                // Who was heard of is of another roster.
                entry.state.forget();
                entry.watcher = watched.contains(&name).then(|| {
                    let (hubs, hub_events) =
                        ((&*self.hubs, &self.identity), self.hub_events.0.clone());
                    HubWatcher::of(&name, &declared, hubs, hub_events, &mut self.supervisor)
                });
            }
            for tag in declared.peers.tags() {
                by_tag.insert(tag, (name.clone(), declared.peers.clone()));
            }
            entry.declared = Some(declared);
        }
        self.sessions.retain(|_, entry| {
            entry.declared.is_some() || entry.state.activity() != Activity::Idle
        });
        self.by_tag.send_replace(Arc::new(by_tag));
        Ok(())
    }

    /// Works until it is told to stop.
    pub(super) async fn work(mut self, inputs: Inputs) -> Result<(), AgentError> {
        let Inputs { mut service_requests, mut commands, listener, registration: socket } = inputs;
        let port = self.outputs.status.borrow().port;
        // Each runner keeps room to tell that it has gone.
        let (runner_sender, mut runner_events) = mpsc::channel(MAX_RUNNERS + 64);
        let (proposals, mut proposed) = mpsc::channel(16);
        let (registry, identity) = (self.registry.clone(), self.identity.clone());
        let server = RegistrationServer { registry, identity, port, events: runner_sender };
        self.supervisor.spawn("runner registry", |heartbeat| server.run(socket, heartbeat));
        let acceptor = Acceptor::new(self.registry.clone(), self.by_tag.subscribe(), proposals);
        self.supervisor.spawn("acceptor", |heartbeat| acceptor.run(listener, heartbeat));
        let mut identity = self.identity.clone();
        log::info!("this is {}, on port {port}", self.party);
        loop {
            let wake = self.reconcile().await;
            tokio::select! {
                request = service_requests.recv() => match request {
                    Some(ServiceRequest::Reload) => drop(self.reload().await),
                    Some(ServiceRequest::Stop) | None => break,
                },
                Some(command) = commands.recv() => self.command(command).await,
                Some(event) = runner_events.recv() => self.runner(event).await,
                Some(Proposal { session, party }) = proposed.recv() => {
                    self.entry(&session).state.dialled(party, Instant::now());
                }
                Some(event) = self.hub_events.1.recv() => self.hub_event(event),
                Some(ending) = self.endings.1.recv() => self.start_ended(ending),
                () = self.starting.next_ended() => {}
                () = self.requests.next_ended() => {}
                Ok(()) = identity.changed() => log::info!("the certificate was renewed"),
                () = until(wake) => {}
                failure = self.supervisor.failure() => return Err(failure.into()),
            }
        }
        notify::stopping();
        Ok(())
    }

    fn entry(&mut self, session: &SessionName) -> &mut Entry {
        self.sessions.entry(session.clone()).or_default()
    }
}

/// This party's place at the hubs, whatever its sessions: under a tag that nobody else has.
fn own_watcher(
    party: &PartyName,
    (hubs, identity): (&[String], &watch::Receiver<Identity>),
    hub_events: mpsc::Sender<HubEvent>,
    supervisor: &mut Supervisor,
) -> HubWatcher {
    let root = identity.borrow().root().fingerprint;
    let tag = Tag::agent(&root, party);
    HubWatcher::new(None, (tag, Vec::new()), (hubs, identity), hub_events, supervisor)
}

async fn until(wake: Option<Instant>) {
    match wake {
        // Not before, whatever the clock's grain.
        Some(wake) => tokio::time::sleep_until((wake + Duration::from_millis(1)).into()).await,
        None => std::future::pending().await,
    }
}

//! The agent's own state, and the loop in which everything that happens is taken in, one after the
//! other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mpyc_party_core::name::{PartyName, SessionName};
use mpyc_party_core::sni::Tag;
use mpyc_party_hub::lighthouse::Event;
use mpyc_party_hub::now;
use mpyc_party_transport::Identity;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::bus::{Ask, News, Wish};
use super::declared::{self, Declared, Ear, Hearsay};
use super::door::{Circles, Door, Knock};
use super::metrics::Metrics;
use super::proposal::{Activity, Decision, Seat};
use super::runners::{self, Desk, RunnerEvent, Runners};
use super::start::Starter;
use super::status::{SessionStatus, Status};
use super::{AgentError, Order, notify};
use crate::config::{Config, Place, Start};
use crate::identity::{Store, keep_fresh};
use crate::link::handover::Progress;
use crate::link::packets::PacketListener;
use crate::session::record;
use crate::session::tally::{self, Allowance, Tally};

/// How soon a runner that has not registered is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What is asked of the agent.
pub(super) struct Inputs {
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) wishes: mpsc::Receiver<Wish>,
    pub(super) listener: TcpListener,
    pub(super) desk: PacketListener,
}

/// Where the agent shows what it does.
pub(super) struct Outputs {
    pub(super) status: watch::Sender<Status>,
    pub(super) metrics: Metrics,
    pub(super) news: mpsc::Sender<News>,
}

/// One session at this party.
#[derive(Default)]
struct Entry {
    declared: Option<Declared>,
    seat: Seat,
    ear: Option<Ear>,
    /// What the runner told last; none before it has told anything.
    progress: Option<Progress>,
    /// How many starts there were: an end belongs to its start.
    starts: u64,
    tally: Tally,
}

/// How a start ended: which session, which of its starts, and in what words.
type Ending = (SessionName, u64, Result<String, String>);

/// The agent at work.
pub(super) struct Daemon {
    place: Place,
    config: Config,
    party: PartyName,
    identity: watch::Receiver<Identity>,
    hubs: Vec<String>,
    sessions: BTreeMap<SessionName, Entry>,
    circles: watch::Sender<Circles>,
    runners: Runners,
    starter: Starter,
    starting: JoinSet<Ending>,
    hearsay: (mpsc::Sender<Hearsay>, mpsc::Receiver<Hearsay>),
    _home: Ear,
    outputs: Outputs,
    ready: bool,
    /// What the service manager was told last of how things stand.
    told: String,
}

impl Daemon {
    /// The agent of the party with `identity`.
    ///
    /// # Errors
    /// Where the identity or the sessions cannot be used.
    pub(super) fn begin(
        place: Place,
        config: Config,
        identity: Identity,
        starter: Starter,
        outputs: Outputs,
    ) -> Result<Self, AgentError> {
        let store = Store::new(&place.state);
        let party = store.party()?;
        let hubs = config.hubs(store.hubs()?);
        let identity = keep_fresh(store, hubs.clone(), identity);
        let hearsay = mpsc::channel(64);
        let home = home(&party, &hubs, &identity, hearsay.0.clone());
        let (sessions, circles) = (BTreeMap::new(), watch::Sender::new(Circles::default()));
        let (runners, starting) = (Runners::default(), JoinSet::new());
        let mut daemon = Self {
            place,
            config,
            party,
            identity,
            hubs,
            sessions,
            circles,
            runners,
            starter,
            starting,
            hearsay,
            _home: home,
            outputs,
            ready: false,
            told: String::new(),
        };
        daemon.declare()?;
        Ok(daemon)
    }

    /// Takes in what is declared now.
    fn declare(&mut self) -> Result<(), AgentError> {
        let all = declared::all(&self.config, &self.place, &self.party, &self.identity)?;
        let watched = declared::watched(&all);
        self.sessions.values_mut().for_each(|entry| entry.declared = None);
        let mut circles = BTreeMap::new();
        for (name, declared) in all {
            let entry = self.sessions.entry(name.clone()).or_default();
            if entry.ear.as_ref().is_none_or(|ear| ear.tag != declared.circle.tag) {
                // Who was heard of under another tag is of another roster.
                entry.seat.forget();
                entry.ear = watched.contains(&name).then(|| {
                    let hearsay = self.hearsay.0.clone();
                    Ear::of(&name, &declared, &self.hubs, &self.identity, hearsay)
                });
            }
            circles.insert(declared.circle.tag, (name, declared.circle.clone()));
            entry.declared = Some(declared);
        }
        self.sessions
            .retain(|_, entry| entry.declared.is_some() || entry.seat.activity() != Activity::Idle);
        self.circles.send_replace(Arc::new(circles));
        Ok(())
    }

    /// Works until it is told to stop.
    pub(super) async fn work(mut self, inputs: Inputs) -> Result<(), AgentError> {
        let Inputs { mut orders, mut wishes, listener, desk: socket } = inputs;
        let port = self.outputs.status.borrow().port;
        let (runner_sender, mut runner_events) = mpsc::channel(64);
        let (knocks, mut knocking) = mpsc::channel(16);
        let (runners, identity) = (self.runners.clone(), self.identity.clone());
        let desk = Desk { runners: runners.clone(), identity, port, events: runner_sender };
        tokio::spawn(runners::serve(socket, desk));
        let door = Door { runners, circles: self.circles.subscribe(), knocks };
        tokio::spawn(door.serve(listener));
        let mut heartbeat = notify::heartbeat().map(tokio::time::interval);
        let mut identity = self.identity.clone();
        log::info!("this is {}, on port {port}", self.party);
        loop {
            let wake = self.settle();
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Reload) => drop(self.reload()),
                    Some(Order::Stop) | None => break,
                },
                Some(wish) = wishes.recv() => self.wish(wish),
                Some(event) = runner_events.recv() => self.runner(event),
                Some(Knock { session, party }) = knocking.recv() => {
                    self.entry(&session).seat.knock(party, Instant::now());
                }
                Some((session, event)) = self.hearsay.1.recv() => self.hear(session, event),
                Some(Ok(ending)) = self.starting.join_next() => self.started(ending),
                Ok(()) = identity.changed() => log::info!("the certificate was renewed"),
                () = beat(&mut heartbeat) => notify::alive(),
                () = until(wake) => {}
            }
        }
        notify::stopping();
        Ok(())
    }

    fn entry(&mut self, session: &SessionName) -> &mut Entry {
        self.sessions.entry(session.clone()).or_default()
    }

    /// Reads the configuration again; a bad one changes nothing.
    fn reload(&mut self) -> Result<(), String> {
        notify::reloading();
        let lacking = self.outputs.metrics.serve();
        self.outputs.status.send_modify(|status| status.metrics = lacking);
        let outcome = match self.place.load() {
            Ok(config) => {
                self.config.sessions = config.sessions;
                self.config.peers = config.peers;
                self.declare().map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        match &outcome {
            Ok(()) => {
                log::info!("the configuration was read again");
                notify::ready(&self.outputs.status.borrow().to_string());
            }
            Err(why) => {
                log::error!("the old configuration stays: {why}");
                notify::ready(&format!("the old configuration stays: {why}"));
            }
        }
        outcome
    }

    fn wish(&mut self, Wish { ask, answer }: Wish) {
        let now = Instant::now();
        let outcome = match ask {
            Ask::Reload => self.reload(),
            Ask::Start(session) => match self.sessions.get(&session) {
                Some(entry) if entry.declared.is_some() => match entry.seat.activity() {
                    Activity::Idle => return self.start(session, Some(answer)),
                    _ => Err(format!("session {session} runs already")),
                },
                _ => Err(format!("there is no session «{session}» here")),
            },
            Ask::Stop(session) => {
                if !self.runners.stop(&session) {
                    let starter = self.starter.clone();
                    tokio::spawn(async move { answer.send(starter.stop(&session).await) });
                    return;
                }
                Ok(())
            }
            Ask::Approve(session) => self.answer_proposal(&session, |seat| seat.approve(now)),
            Ask::Reject(session) => self.answer_proposal(&session, |seat| seat.reject(now)),
        };
        // Who does not wait for the answer misses nothing.
        let _ = answer.send(outcome);
    }

    fn answer_proposal(
        &mut self,
        session: &SessionName,
        answer: impl FnOnce(&mut Seat) -> bool,
    ) -> Result<(), String> {
        let answered = self.sessions.get_mut(session).is_some_and(|entry| answer(&mut entry.seat));
        if answered { Ok(()) } else { Err(format!("nobody proposes session «{session}» now")) }
    }

    /// Starts the runner of a declared session.
    fn start(&mut self, session: SessionName, answer: Option<oneshot::Sender<Result<(), String>>>) {
        let entry = self.entry(&session);
        entry.seat.starting();
        entry.starts += 1;
        let (number, starter) = (entry.starts, self.starter.clone());
        self.starting.spawn(async move {
            let started = starter.start(&session).await;
            if let Some(answer) = answer {
                // Who does not wait for the answer misses nothing.
                let _ = answer.send(started.as_ref().map(drop).map_err(Clone::clone));
            }
            let ending = match started {
                Ok(started) => Ok(starter.watch(&session, started).await),
                Err(why) => Err(why),
            };
            (session, number, ending)
        });
    }

    /// What was started has ended. A runner that registered has told by itself how.
    fn started(&mut self, (session, number, ending): Ending) {
        let entry = self.entry(&session);
        if entry.starts != number || entry.seat.activity() != Activity::Starting {
            return;
        }
        entry.seat.went(false, Instant::now());
        let why = ending.unwrap_or_else(|why| why);
        log::error!(MPYC_SESSION = session.as_str();
            "session {session} was not run: {why}");
    }

    fn runner(&mut self, event: RunnerEvent) {
        match event {
            RunnerEvent::Came(session) => {
                log::info!(MPYC_SESSION = session.as_str(); "the runner of session {session} is here");
                let entry = self.entry(&session);
                entry.seat.came();
                entry.progress = None;
            }
            RunnerEvent::Progress(session, progress) => self.progress(session, progress),
            RunnerEvent::Went(session) => self.went(session),
        }
    }

    fn progress(&mut self, session: SessionName, progress: Progress) {
        let before = self.entry(&session).progress.take();
        // What is told first may be from before this agent was started.
        if let (Some(before), Some(run)) = (before, &progress.run)
            && before.run.is_none()
        {
            self.tell(News::Started(session.clone(), run.clone()));
        }
        self.entry(&session).progress = Some(progress);
    }

    fn went(&mut self, session: SessionName) {
        let tally = self.tally(&session);
        let entry = self.entry(&session);
        let progress = entry.progress.take().unwrap_or_default();
        let counted = entry.tally.runs < tally.runs;
        entry.tally = tally;
        let by_itself = entry.declared.as_ref().map(|d| d.definition.settings.start);
        entry.seat.went(counted || by_itself != Some(Start::OnProposal), Instant::now());
        self.outputs.metrics.counts().ended(&self.place, &session, progress.verdict.as_ref());
        let verdict = progress.verdict.map(|verdict| verdict.to_string());
        let verdict = verdict.unwrap_or_else(|| "no verdict: its runner was ended".to_owned());
        let run = progress.run.unwrap_or_default();
        log::info!(MPYC_SESSION = session.as_str(), MPYC_RUN = run.as_str();
            "session {session}: {verdict}");
        self.tell(News::Ended(session, run, verdict));
    }

    /// The tally of `session` as it is on disk. One that cannot be read allows nothing.
    fn tally(&self, session: &SessionName) -> Tally {
        Tally::read(&tally::path(&self.place, session)).unwrap_or_else(|error| {
            log::error!(MPYC_SESSION = session.as_str();
                "how often session {session} has run is not known, so it does not start by itself: {error}");
            Tally { runs: u32::MAX, last: 0 }
        })
    }

    fn tell(&self, news: News) {
        // Without a bus nobody reads them.
        let _ = self.outputs.news.try_send(news);
    }

    fn hear(&mut self, session: Option<SessionName>, event: Event) {
        let now = Instant::now();
        match (session, event) {
            (None, Event::Connected { hub, .. }) => {
                self.outputs.status.send_modify(|status| {
                    status.hubs.insert(hub, Ok(()));
                });
            }
            (None, Event::Disconnected { hub, reason }) => {
                let known =
                    self.outputs.status.borrow().hubs.get(&hub) == Some(&Err(reason.clone()));
                if !known {
                    log::warn!("hub {hub}: {reason}");
                }
                self.outputs.status.send_modify(|status| {
                    status.hubs.insert(hub, Err(reason));
                });
            }
            // Agents tell nobody that they are there: whoever is seen is a runner.
            (Some(session), Event::Present { party, candidates, .. }) => {
                self.entry(&session).seat.present(party, declared::place(&candidates), now);
            }
            (Some(session), Event::Gone { party }) => self.entry(&session).seat.gone(&party),
            _ => {}
        }
    }

    /// Does what is to be done now, and shows how things stand; says when to look again.
    fn settle(&mut self) -> Option<Instant> {
        let names: Vec<SessionName> = self.sessions.keys().cloned().collect();
        let wake = names.iter().filter_map(|name| self.decide(name)).min();
        self.show();
        wake
    }

    fn decide(&mut self, session: &SessionName) -> Option<Instant> {
        let tally = self.tally(session);
        let instant = Instant::now();
        let entry = self.entry(session);
        let settings = &entry.declared.as_ref()?.definition.settings;
        let start = settings.start;
        let allowance = match start {
            Start::OnProposal => tally.allows(settings, now()),
            Start::Manual => Allowance::Never,
        };
        if entry.seat.activity() == Activity::Idle {
            entry.tally = tally;
        }
        let idle = entry.seat.activity() == Activity::Idle;
        if idle && !entry.seat.here(instant).is_empty() && self.runs_here(session) {
            // Its runner has not registered with this agent yet, or does not want to.
            return Some(instant + LOOK_AGAIN);
        }
        match self.entry(session).seat.decide(instant, start, allowance) {
            Decision::Nothing(again) => again,
            Decision::Start(party) => {
                log::info!(MPYC_SESSION = session.as_str(), MPYC_PEER = party.as_str();
                    "{party} proposes session {session}: it is started");
                self.tell(News::Proposal(session.clone(), party, false));
                self.start(session.clone(), None);
                None
            }
            Decision::Later(party, due) => {
                let left = due.saturating_duration_since(instant).as_secs();
                log::info!(MPYC_SESSION = session.as_str(), MPYC_PEER = party.as_str();
                    "{party} proposes session {session}, which does not start again before {left} s");
                Some(due)
            }
            Decision::Ask(party) => {
                let why = match start {
                    Start::Manual => "a person starts it here",
                    Start::OnProposal => "it has run as often as it may by itself",
                };
                log::info!(MPYC_SESSION = session.as_str(), MPYC_PEER = party.as_str();
                    "{party} proposes session {session}, which waits for somebody to approve: {why}");
                self.tell(News::Proposal(session.clone(), party, true));
                None
            }
        }
    }

    /// Whether a runner of `session` is at work, as its run directory shows.
    fn runs_here(&self, session: &SessionName) -> bool {
        let running = record::running(&self.place).unwrap_or_default();
        let of = |directory: &PathBuf| record::read(directory).ok().map(|record| record.session);
        running.iter().any(|directory| of(directory).as_ref() == Some(session))
    }

    /// Shows how things stand.
    fn show(&mut self) {
        let instant = Instant::now();
        let sessions = self.sessions.iter().filter_map(|(name, entry)| {
            let declared = entry.declared.as_ref()?;
            let session = SessionStatus {
                start: declared.definition.settings.start,
                activity: entry.seat.activity(),
                waits: entry.seat.waits(),
                runs: entry.tally.runs,
                here: entry.seat.here(instant),
            };
            Some((name.clone(), session))
        });
        let sessions = sessions.collect();
        let claims = self.identity.borrow().claims().clone();
        let status = Status {
            party: Some(self.party.clone()),
            network: claims.network.to_string(),
            address: Some(claims.address),
            expiry: claims.not_after,
            sessions,
            ..self.outputs.status.borrow().clone()
        };
        let up = self.hubs.is_empty() || status.hubs_up() > 0;
        let text = status.to_string();
        self.outputs.status.send_if_modified(|known| {
            let changed = *known != status;
            *known = status;
            changed
        });
        if up && !self.ready {
            self.ready = true;
            log::info!("ready: {text}");
            notify::ready(&text);
        } else if self.told != text {
            notify::status(&text);
        }
        self.told = text;
    }
}

/// This party's place at the hubs, whatever its sessions: under a tag that nobody else has.
fn home(
    party: &PartyName,
    hubs: &[String],
    identity: &watch::Receiver<Identity>,
    hearsay: mpsc::Sender<Hearsay>,
) -> Ear {
    let root = identity.borrow().root().fingerprint;
    let tag = Tag::agent(&root, party);
    Ear::new(None, (tag, Vec::new()), hubs, identity, hearsay)
}

async fn beat(interval: &mut Option<tokio::time::Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

async fn until(wake: Option<Instant>) {
    match wake {
        // Not before, whatever the clock's grain.
        Some(wake) => tokio::time::sleep_until((wake + Duration::from_millis(1)).into()).await,
        None => std::future::pending().await,
    }
}

//! What happens is taken in: commands, runners that come and go, what hubs say.

use std::sync::Arc;
use std::time::Instant;

use mpyc_party_core::name::SessionName;
use mpyc_party_net::client::lighthouse::Event;
use mpyc_party_transport::task::blocking;
use tokio::sync::mpsc;

use super::super::bus::BusSignal;
use super::super::commands::{Action, Command, CommandError, ReloadError, Reply};
use super::super::hub_watcher::{HubEvent, steady_address};
use super::super::registry::RunnerEvent;
use super::super::session_state::{Activity, SessionState};
use super::super::start::{NoRun, Starter};
use super::super::{metrics, notify};
use super::{Daemon, Ending};
use crate::config::{self, Config};
use crate::runner::engine;
use crate::runner::handover::Progress;
use crate::session::run_counter::{self, RunCounter};

/// A start of a session: however its task ends, also by a panic, that is told.
struct Start {
    session: SessionName,
    number: u64,
    why: Option<NoRun>,
    endings: mpsc::UnboundedSender<Ending>,
}

impl Drop for Start {
    fn drop(&mut self) {
        let why = self.why.take().unwrap_or(NoRun::Panicked);
        let ending = Ending { session: self.session.clone(), start: self.number, why };
        // Nobody listens any more only when the agent ends.
        let _ = self.endings.send(ending);
    }
}

impl Start {
    /// Starts the runner, tells `reply` whether that went well, and waits for its end.
    async fn run(mut self, starter: Starter, reply: Option<Reply>) {
        let started = starter.start(&self.session).await.map_err(Arc::new);
        if let Some(reply) = reply {
            let outcome = started.as_ref().map(drop);
            // Who does not wait for the answer misses nothing.
            let _ = reply.send(outcome.map_err(|error| Arc::clone(error).into()));
        }
        self.why = Some(match started {
            Ok(started) => starter.watch(&self.session, started).await,
            Err(error) => NoRun::Start(error),
        });
    }
}

impl Daemon {
    /// Reads the configuration again; a bad one changes nothing.
    pub(super) async fn reload(&mut self) -> Result<(), ReloadError> {
        if self.ready {
            notify::reloading();
        }
        let lacking = self.outputs.metrics.serve(&mut self.supervisor);
        self.outputs.status.send_modify(|status| status.metrics = lacking);
        let outcome = self.read_again().await;
        let text = match &outcome {
            Ok(()) => {
                log::info!("the configuration was read again");
                self.outputs.status.borrow().to_string()
            }
            Err(why) => {
                log::error!("the old configuration stays: {why}");
                format!("the old configuration stays: {why}")
            }
        };
        // What waits for a hub does so after a reload, too.
        if self.ready {
            notify::ready(&text)
        } else {
            notify::status(&text)
        }
        outcome
    }

    async fn read_again(&mut self) -> Result<(), ReloadError> {
        let dirs = self.dirs.clone();
        let read = blocking(move || dirs.reload()).await?;
        let old = self.config.clone();
        let Config { sessions, broken, peers, .. } = read;
        self.config = Config { sessions, broken, peers, ..old.clone() };
        self.declare().await.map_err(|error| {
            self.config = old;
            error.into()
        })
    }

    pub(super) async fn command(&mut self, Command { action, reply }: Command) {
        let now = Instant::now();
        let outcome = match action {
            Action::Reload => self.reload().await.map_err(CommandError::from),
            Action::Start(session) => match self.sessions.get(&session) {
                Some(entry) if entry.declared.is_some() => match entry.state.activity() {
                    Activity::Idle => return self.start(session, Some(reply)),
                    _ => Err(CommandError::Running(session)),
                },
                _ => Err(CommandError::Unknown(session)),
            },
            Action::Stop(session) => {
                if !self.registry.stop(&session) {
                    let starter = self.starter.clone();
                    self.requests.spawn(async move {
                        // Who does not wait for the answer misses nothing.
                        let _ = reply.send(starter.stop(&session).await.map_err(Into::into));
                    });
                    return;
                }
                Ok(())
            }
            Action::Approve(session) => self.answer_proposal(&session, |state| state.approve(now)),
            Action::Reject(session) => self.answer_proposal(&session, |state| state.reject(now)),
        };
        // Who does not wait for the answer misses nothing.
        let _ = reply.send(outcome);
    }

    fn answer_proposal(
        &mut self,
        session: &SessionName,
        answer: impl FnOnce(&mut SessionState) -> bool,
    ) -> Result<(), CommandError> {
        let answered = self.sessions.get_mut(session).is_some_and(|entry| answer(&mut entry.state));
        if answered { Ok(()) } else { Err(CommandError::NotProposed(session.clone())) }
    }

    /// Starts the runner of a declared session.
    pub(super) fn start(&mut self, session: SessionName, reply: Option<Reply>) {
        let entry = self.entry(&session);
        entry.state.starting();
        entry.starts += 1;
        let (number, endings) = (entry.starts, self.endings.0.clone());
        let start = Start { session, number, why: None, endings };
        self.starting.spawn(start.run(self.starter.clone(), reply));
    }

    /// What was started has ended. A runner that registered has told by itself how.
    pub(super) fn start_ended(&mut self, Ending { session, start: number, why }: Ending) {
        let entry = self.entry(&session);
        if entry.starts != number || entry.state.activity() != Activity::Starting {
            return;
        }
        entry.state.ended(false, Instant::now());
        log::error!(MPYC_SESSION = session.as_str();
            "session {session} was not run: {why}");
    }

    pub(super) async fn runner(&mut self, event: RunnerEvent) {
        match event {
            RunnerEvent::Registered(session) => {
                log::info!(MPYC_SESSION = session.as_str(); "the runner of session {session} is here");
                let entry = self.entry(&session);
                entry.state.registered();
                entry.progress = None;
            }
            RunnerEvent::Progress(session, progress) => self.progress(session, progress),
            RunnerEvent::Gone(session) => self.runner_gone(session).await,
        }
    }

    fn progress(&mut self, session: SessionName, progress: Progress) {
        let before = self.entry(&session).progress.take();
        // What is told first may be from before this agent was started.
        if let (Some(before), Some(run)) = (before, &progress.run)
            && before.run.is_none()
        {
            self.emit(BusSignal::Started { session: session.clone(), run: run.clone() });
        }
        self.entry(&session).progress = Some(progress);
    }

    async fn runner_gone(&mut self, session: SessionName) {
        let (dirs, name) = (self.dirs.clone(), session.clone());
        let read = move || {
            (
                RunCounter::read(&run_counter::path(&dirs, &name)),
                metrics::carried_last(&dirs, &name),
            )
        };
        let (counter, carried) = blocking(read).await;
        let counter = self.readable_counter(&session, counter);
        let entry = self.entry(&session);
        let progress = entry.progress.take().unwrap_or_default();
        let counted = entry.counter.runs < counter.runs;
        entry.counter = counter;
        let by_itself = entry.declared.as_ref().map(|d| d.definition.settings.start);
        entry.state.ended(counted || by_itself != Some(config::Start::OnProposal), Instant::now());
        self.outputs.metrics.counts().ended(progress.verdict.as_ref(), carried);
        let verdict = progress.verdict.map(|verdict| verdict.in_words(engine::words).to_string());
        let verdict = verdict.unwrap_or_else(|| "no verdict: its runner was ended".to_owned());
        let run = progress.run.unwrap_or_default();
        log::info!(MPYC_SESSION = session.as_str(), MPYC_RUN = run.as_str();
            "session {session}: {verdict}");
        self.emit(BusSignal::Ended { session, run, verdict });
    }

    pub(super) fn emit(&self, signal: BusSignal) {
        // Without a bus nobody hears them.
        let _ = self.outputs.signals.try_send(signal);
    }

    pub(super) fn hub_event(&mut self, HubEvent { session, event }: HubEvent) {
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
            (Some(session), Event::Present { party, addresses, .. }) => {
                let address = steady_address(&self.outputs.stack, &addresses);
                self.entry(&session).state.present(party, address, now);
            }
            (Some(session), Event::Gone { party }) => self.entry(&session).state.gone(&party),
            _ => {}
        }
    }
}

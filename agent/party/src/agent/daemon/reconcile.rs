//! Reconciling: what is to be done now, and how things stand, is decided and shown after everything that
//! happens.

use std::time::{Duration, Instant};

use mpyc_party_core::name::SessionName;

use super::super::bus::BusSignal;
use super::super::disk::OnDisk;
use super::super::notify;
use super::super::session_state::{Activity, Decision};
use super::super::status::{SessionStatus, Status};
use super::Daemon;
use crate::config::files::FileError;
use crate::config::{Session, Start};
use crate::session::run_counter::{Allowance, Moment, RunCounter};

/// How soon a runner that has not registered is looked for again.
const RECHECK_DELAY: Duration = Duration::from_secs(1);

impl Daemon {
    /// Does what is to be done now, and shows how things stand; says when to look again.
    pub(super) async fn reconcile(&mut self) -> Option<Instant> {
        let names: Vec<SessionName> = self.sessions.keys().cloned().collect();
        let instant = Instant::now();
        let proposed = self.sessions.values().any(|entry| entry.is_proposed(instant));
        let places = (&self.config, &self.dirs);
        let by_itself = self.proposed_by_itself(instant);
        let OnDisk { counters, running, exposed } =
            OnDisk::read(places, names, proposed, by_itself).await;
        let decide = |(name, counter)| {
            self.decide(&name, counter, running.contains(&name), exposed.get(&name))
        };
        let wake = counters.into_iter().filter_map(decide).min();
        self.show();
        wake
    }

    /// The sessions that are proposed and may start by themselves.
    fn proposed_by_itself(&self, instant: Instant) -> Vec<(SessionName, Session)> {
        let sessions = self.sessions.iter().filter(|(_, entry)| entry.is_proposed(instant));
        let settings = sessions.filter_map(|(name, entry)| {
            Some((name.clone(), entry.declared.as_ref()?.definition.settings.clone()))
        });
        settings.filter(|(_, settings)| settings.start == Start::OnProposal).collect()
    }

    /// Decides about a session with this `counter`, of which a runner is at work here or not, and whose
    /// files are `exposed` to others or not.
    fn decide(
        &mut self,
        session: &SessionName,
        counter: Result<RunCounter, FileError>,
        runs_here: bool,
        exposed: Option<&String>,
    ) -> Option<Instant> {
        let counter = self.readable_counter(session, counter);
        let instant = Instant::now();
        let entry = self.entry(session);
        let settings = &entry.declared.as_ref()?.definition.settings;
        let start = settings.start;
        let allowance = match start {
            Start::OnProposal if exposed.is_none() => counter.allows(settings, Moment::now()),
            Start::OnProposal | Start::Manual => Allowance::Never,
        };
        if entry.state.activity() == Activity::Idle {
            entry.counter = counter;
        }
        if runs_here && entry.is_proposed(instant) {
            // Its runner has not registered with this agent yet, or does not want to.
            return Some(instant + RECHECK_DELAY);
        }
        match self.entry(session).state.decide(instant, start, allowance) {
            Decision::Wait(again) => again,
            Decision::Start(party) => {
                log::info!(MPYC_SESSION = session.as_str(), MPYC_PEER = party.as_str();
                    "{party} proposes session {session}: it is started");
                self.emit(BusSignal::Proposal { session: session.clone(), party, waits: false });
                self.start(session.clone(), None);
                None
            }
            Decision::Defer(party, due) => {
                let left = due.saturating_duration_since(instant).as_secs();
                log::info!(MPYC_SESSION = session.as_str(), MPYC_PEER = party.as_str();
                    "{party} proposes session {session}, which does not start again before {left} s");
                Some(due)
            }
            Decision::Ask(party) => {
                let why = match (start, exposed) {
                    (Start::Manual, _) => "a person starts it here",
                    (Start::OnProposal, Some(why)) => why,
                    (Start::OnProposal, None) => "it has run as often as it may by itself",
                };
                log::info!(MPYC_SESSION = session.as_str(), MPYC_PEER = party.as_str();
                    "{party} proposes session {session}, which waits for somebody to approve: {why}. Whoever may do so runs mpyc-party session run {session} as this user, or calls Approve on D-Bus");
                self.emit(BusSignal::Proposal { session: session.clone(), party, waits: true });
                // Asked: what is left is to see when it is none any more.
                Some(instant)
            }
        }
    }

    /// The counter of `session` that was `read` from disk. One that cannot be read allows nothing, which is
    /// told once.
    pub(super) fn readable_counter(
        &mut self,
        session: &SessionName,
        read: Result<RunCounter, FileError>,
    ) -> RunCounter {
        let unreadable = read.as_ref().err().map(ToString::to_string);
        let known = &mut self.entry(session).unreadable;
        if let Some(why) = unreadable.as_ref().filter(|_| *known != unreadable) {
            log::error!(MPYC_SESSION = session.as_str();
                "how often session {session} has run is not known, so it does not start by itself: {why}");
        }
        *known = unreadable;
        read.unwrap_or(RunCounter { runs: u32::MAX, ..RunCounter::default() })
    }

    /// Shows how things stand.
    fn show(&mut self) {
        let instant = Instant::now();
        let sessions = self.sessions.iter().filter_map(|(name, entry)| {
            let declared = entry.declared.as_ref()?;
            let session = SessionStatus {
                start: declared.definition.settings.start,
                activity: entry.state.activity(),
                waits: entry.state.waits(),
                runs: entry.counter.runs,
                here: entry.state.here(instant),
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
        } else if self.last_status != text {
            notify::status(&text);
        }
        self.last_status = text;
    }
}

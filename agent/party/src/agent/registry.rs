//! The registry of runners: which processes of this party share the agent's port, and what they are
//! sent.

mod server;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mpyc_party_core::name::SessionName;
use mpyc_party_core::sni::Tag;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::runner::handover::Progress;

pub(super) use server::{RegistrationServer, listen};

/// How many runners there may be.
pub(super) const MAX_RUNNERS: usize = 256;
/// Commands that may wait for a runner to take them.
const MAX_QUEUED_COMMANDS: usize = 64;

/// What is heard of runners.
#[derive(Debug)]
pub(super) enum RunnerEvent {
    /// A runner of this session is there.
    Registered(SessionName),
    /// How its run goes.
    Progress(SessionName, Progress),
    /// It has gone.
    Gone(SessionName),
}

/// What a runner is sent.
#[derive(Debug)]
enum RunnerCommand {
    Connection(TcpStream),
    Stop,
}

#[derive(Debug)]
struct Runner {
    /// Tells this runner from its predecessor of the same session.
    number: u64,
    /// What those ask for who come to it.
    tags: HashSet<Tag>,
    commands: mpsc::Sender<RunnerCommand>,
}

/// What a registered process does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Purpose {
    /// It runs a session.
    Run(SessionName),
    /// It exposes ports.
    Expose,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(session) => write!(f, "the runner of session {session}"),
            Self::Expose => f.write_str("the process that exposes ports"),
        }
    }
}

/// The runners, by what they do.
#[derive(Debug, Default)]
struct Entries {
    last: u64,
    runners: HashMap<Purpose, Runner>,
}

/// Who is registered. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(super) struct RunnerRegistry(Arc<Mutex<Entries>>);

impl RunnerRegistry {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a connection to the runner of `tag`; gives it back where there is none. A runner that
    /// takes nothing any more loses it.
    pub(super) fn hand_over(&self, tag: Option<&Tag>, tcp: TcpStream) -> Option<TcpStream> {
        let entries = self.entries();
        let asked_for = |tag| entries.runners.iter().find(|(_, runner)| runner.tags.contains(tag));
        let Some((purpose, runner)) = tag.and_then(asked_for) else { return Some(tcp) };
        match runner.commands.try_send(RunnerCommand::Connection(tcp)) {
            Ok(()) => log::debug!("a connection goes to {purpose}"),
            Err(_) => log::warn!("{purpose} takes no connections"),
        }
        None
    }

    /// Asks the runner of `session` to end its run; false where there is none.
    #[must_use]
    pub(super) fn stop(&self, session: &SessionName) -> bool {
        let entries = self.entries();
        let runner = entries.runners.get(&Purpose::Run(session.clone()));
        runner.is_some_and(|runner| runner.commands.try_send(RunnerCommand::Stop).is_ok())
    }

    fn enter(&self, tags: HashSet<Tag>, purpose: Purpose) -> (u64, mpsc::Receiver<RunnerCommand>) {
        let (commands, queue) = mpsc::channel(MAX_QUEUED_COMMANDS);
        let mut entries = self.entries();
        entries.last += 1;
        let number = entries.last;
        // There is one at a time for each purpose: an older one is gone, or about to be.
        entries.runners.insert(purpose, Runner { number, tags, commands });
        (number, queue)
    }
}

/// A registration: however its task ends, also by a panic, the runner is taken out of the registry, and
/// that it has gone is told.
struct Registered<'a> {
    registry: &'a RunnerRegistry,
    purpose: Purpose,
    number: u64,
    /// Which session's runner it is, and room to tell that it has gone.
    gone: Option<(SessionName, mpsc::OwnedPermit<RunnerEvent>)>,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let mut entries = self.registry.entries();
        // Another for the same may have come meanwhile: then nobody has gone.
        let current = entries.runners.get(&self.purpose).is_some_and(|r| r.number == self.number);
        if current {
            entries.runners.remove(&self.purpose);
            if let Some((session, room)) = self.gone.take() {
                room.send(RunnerEvent::Gone(session));
            }
        }
    }
}

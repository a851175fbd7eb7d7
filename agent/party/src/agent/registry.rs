//! The registry of runners: which processes of this party share the agent's port, and what they are
//! sent.

mod server;

use std::collections::HashMap;
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
    purpose: Purpose,
    commands: mpsc::Sender<RunnerCommand>,
}

/// What a registered process does.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// The runners, by what stands for their sessions in public.
#[derive(Debug, Default)]
struct Entries {
    last: u64,
    runners: HashMap<Tag, Runner>,
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
        let Some(runner) = tag.and_then(|tag| entries.runners.get(tag)) else { return Some(tcp) };
        match runner.commands.try_send(RunnerCommand::Connection(tcp)) {
            Ok(()) => log::debug!("a connection goes to {}", runner.purpose),
            Err(_) => log::warn!("{} takes no connections", runner.purpose),
        }
        None
    }

    /// Asks the runner of `session` to end its run; false where there is none.
    #[must_use]
    pub(super) fn stop(&self, session: &SessionName) -> bool {
        let entries = self.entries();
        let purpose = Purpose::Run(session.clone());
        let runner = entries.runners.values().find(|runner| runner.purpose == purpose);
        runner.is_some_and(|runner| runner.commands.try_send(RunnerCommand::Stop).is_ok())
    }

    fn enter(&self, tag: Tag, purpose: Purpose) -> (u64, mpsc::Receiver<RunnerCommand>) {
        let (commands, queue) = mpsc::channel(MAX_QUEUED_COMMANDS);
        let mut entries = self.entries();
        entries.last += 1;
        let number = entries.last;
        // There is one at a time for each tag: an older one is gone, or about to be.
        entries.runners.insert(tag, Runner { number, purpose, commands });
        (number, queue)
    }
}

/// A registration: however its task ends, also by a panic, the runner is taken out of the registry, and
/// that it has gone is told.
struct Registered<'a> {
    registry: &'a RunnerRegistry,
    tag: Tag,
    number: u64,
    /// Which session's runner it is, and room to tell that it has gone.
    gone: Option<(SessionName, mpsc::OwnedPermit<RunnerEvent>)>,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let mut entries = self.registry.entries();
        // Another of the same tag may have come meanwhile: then nobody has gone.
        let current = entries.runners.get(&self.tag).is_some_and(|r| r.number == self.number);
        if current {
            entries.runners.remove(&self.tag);
            if let Some((session, room)) = self.gone.take() {
                room.send(RunnerEvent::Gone(session));
            }
        }
    }
}

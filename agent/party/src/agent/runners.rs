//! The runners of this party that share the agent's port.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mpyc_party_core::claims::PublicKey;
use mpyc_party_core::name::SessionName;
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::Identity;
use mpyc_party_transport::task::{Connections, Heartbeat};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};

use crate::config::files::{self, FileError, at};
use crate::runner::handover::{FromAgent, FromRunner, Progress};
use crate::runner::seqpacket::{PacketError, PacketListener, Packets};

/// How long a runner may take to say what it wants, and to take what it is sent.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after a failure to accept.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// How many runners there may be.
pub(super) const MAX_RUNNERS: usize = 256;
/// Orders that may wait for a runner to take them.
const MAX_QUEUED_COMMANDS: usize = 64;

/// What is heard of runners.
#[derive(Debug)]
pub(super) enum RunnerEvent {
    /// A runner of this session is there.
    Came(SessionName),
    /// How its run goes.
    Progress(SessionName, Progress),
    /// It has gone.
    Went(SessionName),
}

/// What a runner is sent.
#[derive(Debug)]
enum Errand {
    Connection(TcpStream),
    Stop,
}

#[derive(Debug)]
struct Runner {
    /// Tells this runner from its predecessor of the same session.
    number: u64,
    purpose: Purpose,
    errands: mpsc::Sender<Errand>,
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

#[derive(Debug, Default)]
struct Registry {
    last: u64,
    runners: HashMap<Tag, Runner>,
}

/// Who is registered. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(super) struct Runners(Arc<Mutex<Registry>>);

impl Runners {
    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a connection to the runner of `tag`; gives it back where there is none. A runner that
    /// takes nothing any more loses it.
    pub(super) fn hand_over(&self, tag: Option<&Tag>, tcp: TcpStream) -> Option<TcpStream> {
        let registry = self.registry();
        let Some(runner) = tag.and_then(|tag| registry.runners.get(tag)) else { return Some(tcp) };
        match runner.errands.try_send(Errand::Connection(tcp)) {
            Ok(()) => log::debug!("a connection goes to {}", runner.purpose),
            Err(_) => log::warn!("{} takes no connections", runner.purpose),
        }
        None
    }

    /// Asks the runner of `session` to end its run; false where there is none.
    #[must_use]
    pub(super) fn stop(&self, session: &SessionName) -> bool {
        let registry = self.registry();
        let purpose = Purpose::Run(session.clone());
        let runner = registry.runners.values().find(|runner| runner.purpose == purpose);
        runner.is_some_and(|runner| runner.errands.try_send(Errand::Stop).is_ok())
    }

    fn enter(&self, tag: Tag, purpose: Purpose) -> (u64, mpsc::Receiver<Errand>) {
        let (errands, queue) = mpsc::channel(MAX_QUEUED_COMMANDS);
        let mut registry = self.registry();
        registry.last += 1;
        let number = registry.last;
        // There is one at a time for each tag: an older one is gone, or about to be.
        registry.runners.insert(tag, Runner { number, purpose, errands });
        (number, queue)
    }
}

/// A registration: however its task ends, also by a panic, the runner is taken out of the registry, and
/// that it has gone is told.
struct Registered<'a> {
    runners: &'a Runners,
    tag: Tag,
    number: u64,
    /// Which session's runner it is, and room to tell that it has gone.
    went: Option<(SessionName, mpsc::OwnedPermit<RunnerEvent>)>,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let mut registry = self.runners.registry();
        // Another of the same tag may have come meanwhile: then nobody has gone.
        let current = registry.runners.get(&self.tag).is_some_and(|r| r.number == self.number);
        if current {
            registry.runners.remove(&self.tag);
            if let Some((session, room)) = self.went.take() {
                room.send(RunnerEvent::Went(session));
            }
        }
    }
}

/// Why the connection of a runner has ended.
#[derive(Debug, thiserror::Error)]
enum RegistrationError {
    /// It cannot be read or written.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// A descriptor cannot be handed over.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It takes too long.
    #[error("it takes too long")]
    Timeout(#[from] Elapsed),
    /// Whoever is there says something else first.
    #[error("it does not register")]
    Unregistered,
    /// Nobody is told any more who is there.
    #[error("the agent ends")]
    Ending,
}

/// Why a process may not register.
#[derive(Debug, thiserror::Error)]
enum Stranger {
    /// Nobody knows whose it is.
    #[error(transparent)]
    Peer(#[from] io::Error),
    /// Of another user.
    #[error("user {0} is not the user of this agent")]
    User(u32),
    /// Of another party.
    #[error("it is of another party than this agent")]
    Party,
}

/// What every registration is compared with, and answered by.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    /// Who is registered.
    pub(super) runners: Runners,
    /// This party.
    pub(super) identity: watch::Receiver<Identity>,
    /// The public port.
    pub(super) port: u16,
    /// Where it is told what happens.
    pub(super) events: mpsc::Sender<RunnerEvent>,
}

/// Takes the socket `held` by the service manager, else opens one at `path`, for this user alone (and
/// root, whom nothing stops). Where it is, comes with it.
///
/// # Errors
/// What the system says.
pub(super) fn listen(
    held: Option<OwnedFd>,
    path: &Path,
) -> Result<(PacketListener, PathBuf), FileError> {
    if let Some(held) = held {
        let listener = at(path, PacketListener::from_held(held))?;
        let bound = at(path, listener.path())?;
        return Ok((listener, bound.unwrap_or_else(|| path.to_owned())));
    }
    if let Some(directory) = path.parent() {
        files::private_dir(directory)?;
    }
    let listener = at(path, PacketListener::bind(path))?;
    at(path, std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)))?;
    Ok((listener, path.to_owned()))
}

/// Registers whoever may, for ever.
pub(super) async fn serve(listener: PacketListener, desk: Desk, mut heartbeat: Heartbeat) {
    let mut connections = Connections::new("a runner's connection");
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = connections.next_ended() => continue,
            () = heartbeat.tick() => continue,
        };
        match accepted {
            Ok(_) if connections.len() >= MAX_RUNNERS => {
                log::warn!("too many runners: one is turned away");
            }
            Ok(packets) => {
                let desk = desk.clone();
                connections.spawn(async move {
                    if let Err(error) = desk.attend(&packets).await {
                        log::debug!("a runner's connection ended: {error}");
                    }
                });
            }
            Err(error) => {
                log::warn!("a runner cannot be accepted: {error}");
                sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

impl Desk {
    async fn attend(&self, packets: &Packets) -> Result<(), RegistrationError> {
        let first = timeout(MESSAGE_TIMEOUT, packets.next::<FromRunner>()).await??;
        let (key, tag, purpose) = match first {
            Some((FromRunner::Register(own), _)) => (own.key, own.tag, Purpose::Run(own.session)),
            Some((FromRunner::Expose { key, tag }, _)) => (key, tag, Purpose::Expose),
            _ => return Err(RegistrationError::Unregistered),
        };
        if let Err(why) = self.check(packets, &key) {
            log::warn!("{purpose} is not registered: {why}");
            return Ok(packets.send(&FromAgent::Refused(why.to_string()), None).await?);
        }
        let (number, errands) = self.runners.enter(tag, purpose.clone());
        let mut registered = Registered { runners: &self.runners, tag, number, went: None };
        packets.send(&FromAgent::Registered(self.port), None).await?;
        let Purpose::Run(session) = purpose else {
            return self.converse(packets, None, errands).await;
        };
        let room = self.events.clone().reserve_owned().await;
        let room = room.map_err(|_| RegistrationError::Ending)?;
        registered.went = Some((session.clone(), room));
        self.tell(RunnerEvent::Came(session.clone())).await;
        self.converse(packets, Some(&session), errands).await
    }

    /// Whether the process at the other end is one of this party's own.
    fn check(&self, packets: &Packets, key: &PublicKey) -> Result<(), Stranger> {
        let uid = packets.peer()?.uid;
        if !uid.is_root() && uid != rustix::process::geteuid() {
            return Err(Stranger::User(uid.as_raw()));
        }
        if *key != self.identity.borrow().claims().key {
            return Err(Stranger::Party);
        }
        Ok(())
    }

    async fn tell(&self, event: RunnerEvent) {
        // Nobody listens any more only when the agent ends.
        let _ = self.events.send(event).await;
    }

    async fn converse(
        &self,
        packets: &Packets,
        session: Option<&SessionName>,
        mut errands: mpsc::Receiver<Errand>,
    ) -> Result<(), RegistrationError> {
        loop {
            tokio::select! {
                message = packets.next::<FromRunner>() => match message? {
                    Some((FromRunner::Progress(progress), _)) => {
                        if let Some(session) = session {
                            self.tell(RunnerEvent::Progress(session.clone(), progress)).await;
                        }
                    }
                    Some(_) => {}
                    None => return Ok(()),
                },
                errand = errands.recv() => match errand {
                    Some(errand) => timeout(MESSAGE_TIMEOUT, pass(packets, errand)).await??,
                    // Another of the same tag has come.
                    None => return Ok(()),
                },
            }
        }
    }
}

async fn pass(packets: &Packets, errand: Errand) -> Result<(), PacketError> {
    match errand {
        Errand::Stop => packets.send(&FromAgent::Stop, None).await,
        Errand::Connection(tcp) => {
            // Taken off this process's reactor first: the descriptor is shared from here on.
            let tcp = tcp.into_std()?;
            packets.send(&FromAgent::Connection, Some(tcp.as_fd())).await
        }
    }
}

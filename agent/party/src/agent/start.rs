//! Starting runners: as units of systemd where it is there and has them, else as children.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mpyc_party_core::name::SessionName;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use zbus::{Connection, OwnedObjectPath, proxy};

/// The units of sessions.
const UNIT_TEMPLATE: &str = "mpyc-session@.service";
/// How often a unit is looked at whose runner has not registered.
const UNIT_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// What belongs to the agent alone.
const AGENT_VARIABLES: [&str; 8] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "CREDENTIALS_DIRECTORY",
    "INVOCATION_ID",
];

#[proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    fn get_unit_file_state(&self, file: &str) -> zbus::Result<String>;
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
}

#[proxy(interface = "org.freedesktop.systemd1.Unit", default_service = "org.freedesktop.systemd1")]
pub(super) trait Unit {
    #[zbus(property(emits_changed_signal = "false"))]
    fn active_state(&self) -> zbus::Result<String>;
}

/// How this party's runners are started.
#[derive(Clone, Debug)]
pub(super) struct Starter {
    /// The bus on which systemd answers, while there is one.
    pub(super) bus: watch::Receiver<Option<Connection>>,
    /// The arguments that say which party this is.
    pub(super) party: Vec<OsString>,
    /// The agent's socket.
    pub(super) agent: PathBuf,
    /// The runners that are children.
    pub(super) children: Arc<Mutex<HashMap<SessionName, Pid>>>,
}

/// Why a runner cannot be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    /// As a unit.
    #[error("systemd does not start {name}: {source}")]
    Unit {
        /// The unit.
        name: String,
        /// What is said on the bus.
        source: zbus::Error,
    },
    /// This program is not found.
    #[error(transparent)]
    Program(io::Error),
    /// As a child.
    #[error("no runner: {0}")]
    Child(io::Error),
}

/// Why a runner cannot be stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum StopError {
    /// It takes no signal.
    #[error(transparent)]
    Signal(#[from] Errno),
    /// Its unit does not stop.
    #[error(transparent)]
    Unit(#[from] zbus::Error),
    /// There is none.
    #[error("session {0} does not run here")]
    NotRunning(SessionName),
}

/// Why no run came of a start.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoRun {
    /// Nothing was started.
    #[error(transparent)]
    Start(Arc<StartError>),
    /// The unit has ended.
    #[error("see systemctl status {name}")]
    Unit {
        /// The unit.
        name: String,
    },
    /// Nobody knows any more what the unit does.
    #[error("systemd does not answer: {0}")]
    Unanswered(zbus::Error),
    /// The child has ended.
    #[error("its process ended with {0}")]
    Exited(ExitStatus),
    /// Nobody knows how the child ended.
    #[error(transparent)]
    Lost(io::Error),
    /// By a mistake in this program.
    #[error("the task that started it panicked")]
    Panicked,
}

/// A runner that was started.
pub(super) enum Started {
    /// As a unit.
    Unit(UnitProxy<'static>),
    /// As a child.
    Child(Box<Child>),
}

/// The unit of a declared session: `session` has the alphabet of names, and no other.
fn unit(session: &SessionName) -> String {
    UNIT_TEMPLATE.replace('@', &format!("@{session}"))
}

impl Starter {
    async fn manager(&self) -> Option<(Connection, ManagerProxy<'static>)> {
        let connection = self.bus.borrow().clone()?;
        let manager = ManagerProxy::new(&connection).await.ok()?;
        manager.get_unit_file_state(UNIT_TEMPLATE).await.ok()?;
        Some((connection, manager))
    }

    /// Starts the runner of `session`.
    ///
    /// # Errors
    /// Why it cannot be started.
    pub(super) async fn start(&self, session: &SessionName) -> Result<Started, StartError> {
        let Some((connection, manager)) = self.manager().await else { return self.spawn(session) };
        let name = unit(session);
        let explain = |source| StartError::Unit { name: name.clone(), source };
        manager.start_unit(&name, "fail").await.map_err(explain)?;
        let path = manager.load_unit(&name).await.map_err(explain)?;
        UnitProxy::new(&connection, path).await.map(Started::Unit).map_err(explain)
    }

    /// A child that outlives the agent: a run is not disturbed by its restart.
    fn spawn(&self, session: &SessionName) -> Result<Started, StartError> {
        let program = std::env::current_exe().map_err(StartError::Program)?;
        let mut command = Command::new(program);
        command.args(&self.party).args(["session", "run", session.as_str(), "--agent"]);
        command.arg(&self.agent).stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
        for variable in AGENT_VARIABLES {
            command.env_remove(variable);
        }
        let child = command.spawn().map_err(StartError::Child)?;
        if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            self.children().insert(session.clone(), pid);
        }
        Ok(Started::Child(Box::new(child)))
    }

    fn children(&self) -> std::sync::MutexGuard<'_, HashMap<SessionName, Pid>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what was started has ended; says how.
    pub(super) async fn watch(&self, session: &SessionName, started: Started) -> NoRun {
        match started {
            Started::Unit(proxy) => loop {
                tokio::time::sleep(UNIT_POLL_INTERVAL).await;
                match proxy.active_state().await {
                    Ok(state) if matches!(state.as_str(), "inactive" | "failed") => {
                        return NoRun::Unit { name: unit(session) };
                    }
                    Ok(_) => {}
                    Err(error) => return NoRun::Unanswered(error),
                }
            },
            Started::Child(mut child) => {
                let ended = child.wait().await;
                self.children().remove(session);
                match ended {
                    Ok(status) => NoRun::Exited(status),
                    Err(error) => NoRun::Lost(error),
                }
            }
        }
    }

    /// Ends a runner that was started and has not registered yet.
    ///
    /// # Errors
    /// Why not.
    pub(super) async fn stop(&self, session: &SessionName) -> Result<(), StopError> {
        if let Some(pid) = self.children().get(session) {
            return Ok(kill_process(*pid, Signal::TERM)?);
        }
        let Some((_, manager)) = self.manager().await else {
            return Err(StopError::NotRunning(session.clone()));
        };
        manager.stop_unit(&unit(session), "replace").await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_named_after_a_session_and_nothing_else_is_a_session() {
        assert_eq!(unit(&"my-demo".parse().unwrap()), "mpyc-session@my-demo.service");
        for name in ["a.service", "../sshd", "a b", "a@b", "a/b", "A", "", "x\n"] {
            assert!(name.parse::<SessionName>().is_err(), "{name}");
        }
    }
}

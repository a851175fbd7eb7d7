//! `org.mpyc.Party1` on a message bus. Without a bus the agent works all the same.

mod client;
mod interface;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use mpyc_party_core::name::{PartyName, SessionName};
use mpyc_party_transport::task::Heartbeat;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use zbus::Connection;
use zbus::object_server::InterfaceRef;

use super::commands::Command;
use super::status::Status;
use crate::config::{Bus, Directories};
use interface::Party;

pub use client::{PartyProxy, connect};

/// The agent's object.
const OBJECT_PATH: &str = "/org/mpyc/Party1";
/// The agent's name on the bus.
const BUS_NAME: &str = "org.mpyc.Party1";
/// How long a bus may take to let the agent in.
const ENTER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take to be told something.
const EMIT_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before a bus that is not there, or not any more, is tried again.
const RECONNECT_DELAY: Duration = Duration::from_secs(10);

/// What everybody on the bus is told.
#[derive(Clone, Debug)]
pub(super) enum BusSignal {
    /// A party proposes a session.
    Proposal {
        /// The session.
        session: SessionName,
        /// Who.
        party: PartyName,
        /// Whether a person has to approve it.
        waits: bool,
    },
    /// All parties hold the same agreement.
    Started {
        /// The session.
        session: SessionName,
        /// The run's id.
        run: String,
    },
    /// A run ended.
    Ended {
        /// The session.
        session: SessionName,
        /// The run's id; empty where there was no agreement.
        run: String,
        /// Its verdict in words.
        verdict: String,
    },
}

/// The agent's side of the bus.
pub(super) struct BusService {
    pub(super) bus: Bus,
    /// Where the runs are.
    pub(super) dirs: Directories,
    pub(super) status: watch::Receiver<Status>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) signals: mpsc::Receiver<BusSignal>,
    /// The connection, while there is one.
    pub(super) connection: watch::Sender<Option<Connection>>,
    /// Told when the bus was entered, or could not be, for the first time.
    pub(super) tried: Option<oneshot::Sender<()>>,
}

impl BusService {
    /// Is on the bus for ever; comes back to one that comes back.
    pub(super) async fn run(mut self, mut heartbeat: Heartbeat) {
        let mut last = String::new();
        loop {
            let entered = match timeout(ENTER_TIMEOUT, self.enter()).await {
                Ok(entered) => entered,
                Err(_) => Err(zbus::Error::InputOutput(Arc::new(ErrorKind::TimedOut.into()))),
            };
            if let Ok((connection, _)) = &entered {
                log::info!("answering on D-Bus as {BUS_NAME}");
                self.connection.send_replace(Some(connection.clone()));
            }
            if let Some(tried) = self.tried.take() {
                // Who does not wait for it misses nothing.
                let _ = tried.send(());
            }
            match entered {
                Ok((connection, object)) => {
                    self.serve(&connection, &object, &mut heartbeat).await;
                    self.connection.send_replace(None);
                    log::warn!("the connection to D-Bus was lost");
                }
                Err(error) => {
                    let error = error.to_string();
                    if error != last {
                        log::info!("not on D-Bus: {error}");
                    }
                    last = error;
                }
            }
            let pause = tokio::time::sleep(RECONNECT_DELAY);
            tokio::pin!(pause);
            // Signals for nobody must not pile up meanwhile.
            while tokio::select! {
                () = &mut pause => false,
                Some(_) = self.signals.recv() => true,
                () = heartbeat.tick() => true,
            } {}
        }
    }

    async fn enter(&self) -> zbus::Result<(Connection, InterfaceRef<Party>)> {
        let builder = match self.bus {
            Bus::System => zbus::connection::Builder::system(),
            Bus::Session => zbus::connection::Builder::session(),
            Bus::None => std::future::pending().await,
        };
        let (dirs, status) = (self.dirs.clone(), self.status.clone());
        let party = Party { dirs, status, commands: self.commands.clone() };
        let connection = builder.name(BUS_NAME).serve_at(OBJECT_PATH, party).build().await?;
        let object = connection.object_server().interface(OBJECT_PATH).await?;
        Ok((connection, object))
    }

    async fn serve(
        &mut self,
        connection: &Connection,
        object: &InterfaceRef<Party>,
        heartbeat: &mut Heartbeat,
    ) {
        let mut before = self.status.borrow_and_update().clone();
        loop {
            let emitted = tokio::select! {
                () = connection.closed() => return,
                () = heartbeat.tick() => continue,
                changed = self.status.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = self.status.borrow_and_update().clone();
                    let emitted = interface::emit_changes(object, &before, &now);
                    let emitted = timeout(EMIT_TIMEOUT, emitted).await;
                    before = now;
                    emitted
                }
                Some(signal) = self.signals.recv() => {
                    timeout(EMIT_TIMEOUT, interface::emit(object, signal)).await
                }
            };
            match emitted {
                Ok(Ok(())) => {}
                Ok(Err(error)) => log::debug!("D-Bus: {error}"),
                // A bus that takes nothing is as good as none.
                Err(_) => return,
            }
        }
    }
}

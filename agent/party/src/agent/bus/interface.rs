//! The object that the bus sees. A name from outside only ever selects a declared session.

use std::collections::HashMap;

use mpyc_party_net::client::lighthouse::HubError;
use mpyc_party_net::links::report::PeerReport;
use tokio::sync::{mpsc, oneshot, watch};
use zbus::object_server::{InterfaceRef, SignalEmitter};
use zbus::{fdo, interface};

use super::BusSignal;
use crate::agent::commands::{Action, Command};
use crate::agent::running;
use crate::agent::status::Status;
use crate::config::Directories;
use crate::runner::inspect::Snapshot;

/// `/org/mpyc/Party1`.
pub(super) struct Party {
    pub(super) dirs: Directories,
    pub(super) status: watch::Receiver<Status>,
    pub(super) commands: mpsc::Sender<Command>,
}

impl Party {
    fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    async fn command(&self, action: Action) -> fdo::Result<()> {
        let ended = || fdo::Error::Failed("the agent is ending".to_owned());
        let (reply, told) = oneshot::channel();
        self.commands.send(Command { action, reply }).await.map_err(|_| ended())?;
        told.await.map_err(|_| ended())?.map_err(|why| fdo::Error::Failed(why.to_string()))
    }
}

fn named<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> fdo::Result<T> {
    text.parse().map_err(|error: T::Err| fdo::Error::InvalidArgs(error.to_string()))
}

/// Sessions as the bus shows them: name, who may start it, state, runs counted.
fn sessions(status: &Status) -> Vec<(String, String, String, u32)> {
    let sessions = status.sessions.iter();
    let shown = sessions.map(|(name, session)| {
        let (start, state) = (session.start.to_string(), session.state().to_owned());
        (name.to_string(), start, state, session.runs)
    });
    shown.collect()
}

/// Who is there: session and party.
fn peers(status: &Status) -> Vec<(String, String)> {
    let sessions = status.sessions.iter();
    let here = sessions.flat_map(|(name, session)| {
        session.here.iter().map(move |party| (name.to_string(), party.to_string()))
    });
    here.collect()
}

/// To whom the way changes bytes: session, party, connections that ended for it.
fn tampered(runs: &[Snapshot]) -> Vec<(String, String, u64)> {
    let each = runs.iter().flat_map(|run| run.peers.iter().map(move |peer| (run, peer)));
    let changed = each.filter(|(_, peer)| peer.tampered > 0);
    let row = |(run, peer): (&Snapshot, &PeerReport)| {
        (run.session.to_string(), peer.party.to_string(), peer.tampered)
    };
    changed.map(row).collect()
}

#[interface(name = "org.mpyc.Party1")]
impl Party {
    #[zbus(property)]
    fn name(&self) -> String {
        self.status().party.map(|party| party.to_string()).unwrap_or_default()
    }

    #[zbus(property)]
    fn network(&self) -> String {
        self.status().network
    }

    #[zbus(property)]
    fn address(&self) -> String {
        self.status().address.map(|address| address.to_string()).unwrap_or_default()
    }

    #[zbus(property)]
    fn certificate_expiry(&self) -> u64 {
        self.status().expiry
    }

    #[zbus(property)]
    fn port(&self) -> u16 {
        self.status().port
    }

    #[zbus(property)]
    fn hubs(&self) -> HashMap<String, String> {
        let shown = |state: Result<(), HubError>| match state {
            Ok(()) => "up".to_owned(),
            Err(why) => why.to_string(),
        };
        self.status().hubs.into_iter().map(|(hub, state)| (hub, shown(state))).collect()
    }

    #[zbus(property)]
    fn sessions(&self) -> Vec<(String, String, String, u32)> {
        sessions(&self.status())
    }

    #[zbus(property)]
    fn peers(&self) -> Vec<(String, String)> {
        peers(&self.status())
    }

    async fn start(&self, session: &str) -> fdo::Result<()> {
        self.command(Action::Start(named(session)?)).await
    }

    async fn stop(&self, session: &str) -> fdo::Result<()> {
        self.command(Action::Stop(named(session)?)).await
    }

    async fn approve(&self, session: &str) -> fdo::Result<()> {
        self.command(Action::Approve(named(session)?)).await
    }

    async fn reject(&self, session: &str) -> fdo::Result<()> {
        self.command(Action::Reject(named(session)?)).await
    }

    async fn reload(&self) -> fdo::Result<()> {
        self.command(Action::Reload).await
    }

    /// No property: the runners are asked, and one that does not answer holds up nothing else.
    async fn tampered(&self) -> Vec<(String, String, u64)> {
        tampered(&running::all(&self.dirs).await)
    }

    #[zbus(signal)]
    async fn proposal_received(
        emitter: &SignalEmitter<'_>,
        session: &str,
        party: &str,
        waits: bool,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn run_started(emitter: &SignalEmitter<'_>, session: &str, run: &str)
    -> zbus::Result<()>;

    #[zbus(signal)]
    async fn run_ended(
        emitter: &SignalEmitter<'_>,
        session: &str,
        run: &str,
        verdict: &str,
    ) -> zbus::Result<()>;
}

/// Sends a signal.
pub(super) async fn emit(object: &InterfaceRef<Party>, signal: BusSignal) -> zbus::Result<()> {
    let emitter = object.signal_emitter();
    match signal {
        BusSignal::Proposal { session, party, waits } => {
            Party::proposal_received(emitter, session.as_str(), party.as_str(), waits).await
        }
        BusSignal::Started { session, run } => {
            Party::run_started(emitter, session.as_str(), &run).await
        }
        BusSignal::Ended { session, run, verdict } => {
            Party::run_ended(emitter, session.as_str(), &run, &verdict).await
        }
    }
}

/// Announces which properties have changed (`PropertiesChanged`).
pub(super) async fn emit_changes(
    object: &InterfaceRef<Party>,
    before: &Status,
    now: &Status,
) -> zbus::Result<()> {
    let (emitter, party) = (object.signal_emitter(), object.get().await);
    if before.party != now.party {
        party.name_changed(emitter).await?;
        party.network_changed(emitter).await?;
        party.address_changed(emitter).await?;
    }
    if before.expiry != now.expiry {
        party.certificate_expiry_changed(emitter).await?;
    }
    if before.port != now.port {
        party.port_changed(emitter).await?;
    }
    if before.hubs != now.hubs {
        party.hubs_changed(emitter).await?;
    }
    if sessions(before) != sessions(now) {
        party.sessions_changed(emitter).await?;
    }
    if peers(before) != peers(now) {
        party.peers_changed(emitter).await?;
    }
    Ok(())
}

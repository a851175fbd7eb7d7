//! What the agent shows of itself, on D-Bus, in metrics and to `systemctl status`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use mpyc_party_core::name::{PartyName, SessionName};
use mpyc_party_net::client::lighthouse::HubError;

use super::session_state::Activity;
use crate::config::Start;

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SessionStatus {
    /// Who may start it.
    pub(super) start: Start,
    /// What it does.
    pub(super) activity: Activity,
    /// Whether a proposal waits for a person.
    pub(super) waits: bool,
    /// How many runs were counted.
    pub(super) runs: u32,
    /// Whose runners are there now.
    pub(super) here: Vec<PartyName>,
}

impl SessionStatus {
    /// Its state in a word.
    #[must_use]
    pub(super) fn state(&self) -> &'static str {
        match self.activity {
            Activity::Idle if self.waits => "proposed",
            Activity::Idle => "idle",
            Activity::Starting => "starting",
            Activity::Running => "running",
        }
    }
}

/// The agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    /// This party; none before it is enrolled.
    pub(super) party: Option<PartyName>,
    /// Its network.
    pub(super) network: String,
    /// Its overlay address.
    pub(super) address: Option<IpAddr>,
    /// When its certificate expires, in Unix time.
    pub(super) expiry: u64,
    /// The public port.
    pub(super) port: u16,
    /// The hubs, and why one is not reached.
    pub(super) hubs: BTreeMap<String, Result<(), HubError>>,
    /// Why metrics are not served, where they should be.
    pub(super) metrics: Option<String>,
    /// The declared sessions.
    pub(super) sessions: BTreeMap<SessionName, SessionStatus>,
}

impl Status {
    /// How many hubs are reached.
    #[must_use]
    pub(super) fn hubs_up(&self) -> usize {
        self.hubs.values().filter(|hub| hub.is_ok()).count()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.party {
            Some(party) => write!(f, "{party} in {}, port {}", self.network, self.port)?,
            None => f.write_str("not enrolled")?,
        }
        write!(f, ", hubs reached: {} of {}", self.hubs_up(), self.hubs.len())?;
        let busy = self.sessions.iter().filter(|(_, session)| session.state() != "idle");
        let busy: Vec<String> =
            busy.map(|(name, session)| format!("{name} {}", session.state())).collect();
        if !busy.is_empty() {
            write!(f, ", sessions: {}", busy.join(", "))?;
        }
        self.metrics.as_ref().map_or(Ok(()), |why| write!(f, ", no metrics: {why}"))
    }
}

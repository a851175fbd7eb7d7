//! What the agent of this machine tells of the party, to whoever may ask it on the bus.

use std::collections::BTreeMap;
use std::time::Duration;

use mpyc_party_transport::now;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::until;
use crate::agent::{PartyProxy, connect};
use crate::command::output;
use crate::config::Bus;
use crate::session::words::visible;

/// How long the agent may take to answer.
const AGENT_TIMEOUT: Duration = Duration::from_secs(2);

/// What the agent answered.
#[derive(Debug)]
pub(in crate::command) struct Agent {
    pub(super) party: String,
    pub(super) network: String,
    address: String,
    expiry: u64,
    port: u16,
    /// «up», or why it is not.
    hubs: BTreeMap<String, String>,
    /// Name, who may start it, what it does, runs counted.
    sessions: Vec<(String, String, String, u32)>,
    /// Session and party that is there.
    peers: Vec<(String, String)>,
    /// Session, party, and how many connections ended because the way changed bytes.
    tampered: Vec<(String, String, u64)>,
}

impl Agent {
    /// Asks the agent on `bus`; none where none answers.
    pub(in crate::command) async fn ask(bus: Bus) -> Option<Self> {
        let answer = async { Self::read(connect(bus).await?).await.ok() };
        timeout(AGENT_TIMEOUT, answer).await.ok().flatten()
    }

    async fn read(agent: PartyProxy<'_>) -> zbus::Result<Self> {
        Ok(Self {
            party: agent.name().await?,
            network: agent.network().await?,
            address: agent.address().await?,
            expiry: agent.certificate_expiry().await?,
            port: agent.port().await?,
            hubs: agent.hubs().await?.into_iter().collect(),
            sessions: agent.sessions().await?,
            peers: agent.peers().await?,
            // An older agent does not tell.
            tampered: agent.tampered().await.unwrap_or_default(),
        })
    }

    /// What a script is told of the agent's work.
    pub(super) fn json(&self) -> Value {
        let sessions = self.sessions.iter().map(|(name, start, state, runs)| {
            let here: Vec<_> = self.here(name).collect();
            json!({ "name": name, "start": start, "state": state, "runs": runs, "here": here })
        });
        json!({
            "port": self.port, "hubs": self.hubs, "sessions": sessions.collect::<Vec<_>>(),
        })
    }

    /// What a script is told of the party, where nothing but the agent can tell.
    pub(super) fn party_json(&self) -> Value {
        let valid = self.expiry > now();
        json!({
            "party": self.party, "network": self.network, "address": self.address,
            "certificate": { "not_after": self.expiry, "valid": valid },
            "hubs": self.hubs.keys().collect::<Vec<_>>(), "agent": self.json(),
        })
    }

    /// The party, where nothing but the agent can tell.
    pub(super) fn show_party(&self) {
        if self.party.is_empty() {
            output::line("not enrolled yet: the agent waits for a token");
            return;
        }
        output::line(format!("{}, a party of the network {}", self.party, self.network));
        output::field("address", &self.address);
        output::field("certificate", format!("{}; the agent renews it", until(self.expiry)));
    }

    /// Its work.
    pub(super) fn show(&self) {
        output::line(format!("\nAgent, on port {}", self.port));
        for (hub, state) in &self.hubs {
            output::entry(2, format!("hub {}: {}", visible(hub), visible(state)));
        }
        for (name, start, state, runs) in &self.sessions {
            let here: Vec<_> = self.here(name).collect();
            let here = if here.is_empty() {
                String::new()
            } else {
                format!("; {} there", here.join(", "))
            };
            let approve = match state.as_str() {
                "proposed" => format!("; to take part: mpyc-party session run {name}"),
                _ => String::new(),
            };
            output::line(format!(
                "  session {name}: {state} ({start}), runs counted: {runs}{here}{approve}"
            ));
        }
    }

    /// The sessions that run, and who else is there, as far as the agent knows.
    pub(in crate::command) fn running(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        let running = self.sessions.iter().filter(|(_, _, state, _)| state == "running");
        running.map(|(name, ..)| (name.as_str(), self.here(name).collect()))
    }

    /// How many connections to `party` ended because the way changed bytes.
    pub(in crate::command) fn tampered(&self, session: &str, party: &str) -> u64 {
        let of = |(at, with, _): &&(String, String, u64)| at == session && with == party;
        self.tampered.iter().find(of).map_or(0, |(_, _, count)| *count)
    }

    fn here(&self, session: &str) -> impl Iterator<Item = &str> {
        let of = self.peers.iter().filter(move |(at, _)| at == session);
        of.map(|(_, party)| party.as_str())
    }
}

//! What other commands ask a running agent.

use std::collections::HashMap;

use zbus::{Connection, proxy};

use crate::config::Bus;

/// The agent as others on the bus see it.
#[proxy(
    interface = "org.mpyc.Party1",
    default_service = "org.mpyc.Party1",
    default_path = "/org/mpyc/Party1"
)]
pub trait Party {
    /// This party's name; empty before it is enrolled.
    #[zbus(property)]
    fn name(&self) -> zbus::Result<String>;
    /// Its network.
    #[zbus(property)]
    fn network(&self) -> zbus::Result<String>;
    /// Its overlay address.
    #[zbus(property)]
    fn address(&self) -> zbus::Result<String>;
    /// When its certificate expires, in Unix time.
    #[zbus(property)]
    fn certificate_expiry(&self) -> zbus::Result<u64>;
    /// The public TCP port.
    #[zbus(property)]
    fn port(&self) -> zbus::Result<u16>;
    /// The hubs: «up», or why one is not reached.
    #[zbus(property)]
    fn hubs(&self) -> zbus::Result<HashMap<String, String>>;
    /// Sessions: name, who may start it, state, runs counted.
    #[zbus(property)]
    fn sessions(&self) -> zbus::Result<Vec<(String, String, String, u32)>>;
    /// Who is there now: session and party.
    #[zbus(property)]
    fn peers(&self) -> zbus::Result<Vec<(String, String)>>;
    /// Starts a declared session.
    fn start(&self, session: &str) -> zbus::Result<()>;
    /// Ends its run.
    fn stop(&self, session: &str) -> zbus::Result<()>;
    /// Says yes to its proposal.
    fn approve(&self, session: &str) -> zbus::Result<()>;
    /// Says no to its proposal.
    fn reject(&self, session: &str) -> zbus::Result<()>;
    /// To whom the way changes bytes: session, party, connections that ended for it.
    fn tampered(&self) -> zbus::Result<Vec<(String, String, u64)>>;
    /// Lets the agent read its configuration again.
    fn reload(&self) -> zbus::Result<()>;
}

/// The agent on `bus`; none where there is no bus or no agent on it.
pub async fn connect(bus: Bus) -> Option<PartyProxy<'static>> {
    let connection = match bus {
        Bus::System => Connection::system().await,
        Bus::Session => Connection::session().await,
        Bus::None => return None,
    };
    let party = PartyProxy::new(&connection.ok()?).await.ok()?;
    // Who answers shows that somebody is there.
    party.name().await.is_ok().then_some(party)
}

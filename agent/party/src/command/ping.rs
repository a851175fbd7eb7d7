//! `mpyc-party ping`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use mpyc_party_core::name::{PartyName, SessionName};
use mpyc_party_net::Stack;
use mpyc_party_net::address_book::AddressBook;
use mpyc_party_net::peers::SessionPeers;
use mpyc_party_net::ping::{self, MAX_ROUND_TRIPS};
use mpyc_party_transport::task::{Heartbeat, alongside};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::locate::{Miss, Present, locate};
use super::peers::milliseconds;
use super::{Common, Outcome, completing, no_dumps, output, runtime, times};
use crate::config::{Config, Directories};
use crate::identity::Store;
use crate::session::words::visible;
use crate::session::{self, Definition};

/// Pause before the next round trip.
const PING_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
#[command(after_help = "\
A party answers while it waits for or takes part in a run of a session that you share. It learns
nothing else, and its run goes on undisturbed. An answer means that the other end has shown the
certificate of that party.

Exit status: 0 when it answers, else 1.

Examples:
  mpyc-party ping bob
  mpyc-party ping bob --count 100 --json")]
pub(super) struct Ping {
    /// The party
    #[arg(add = completing::parties())]
    party: PartyName,
    /// Round trips
    #[arg(long, short, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_ROUND_TRIPS)))]
    count: u32,
    /// How long to look for it
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = times::wait)]
    wait: Duration,
}

impl Ping {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let (dirs, config, store, me) = common.other(&self.party)?;
        let shared = shared(&config, &dirs, &me, &self.party)?;
        no_dumps()?;
        runtime()?.block_on(self.ask(common, &config, store, shared))
    }

    async fn ask(
        &self,
        common: &Common,
        config: &Config,
        store: Store,
        shared: Vec<Definition>,
    ) -> Outcome {
        let (present, renewal) = Present::of(config, store).await?;
        let found = self.search(common, config, present, shared);
        alongside(found, renewal.run(Heartbeat::default())).await
    }

    /// Looks for the party in all the `shared` sessions at once.
    async fn search(
        &self,
        common: &Common,
        config: &Config,
        Present { me, identity, hubs }: Present,
        shared: Vec<Definition>,
    ) -> Outcome {
        let mut searches = JoinSet::new();
        for definition in shared {
            let (roster, pins) = (definition.settings.parties.clone(), definition.pins(config));
            let (me, peer) = (definition.index_of(&me)?, definition.index_of(&self.party)?);
            let name = definition.name;
            let peers = SessionPeers::new(identity.clone(), &name, roster, me, pins);
            let (stack, sources) = (common.stack.clone(), config.sources(hubs.clone()));
            let book = AddressBook::new(stack, sources, peers.clone());
            let wait = self.wait;
            searches.spawn(async move { (name, locate(&peers, book, &[peer], wait).await) });
        }
        let mut missed = Vec::new();
        while let Some(found) = searches.join_next().await {
            let (session, mut found) = found?;
            match found.pop() {
                Some(Ok(echo)) => return self.measure(common, &session, echo).await,
                Some(Err(Miss { why, .. })) => missed.push(Missed { session, why }),
                None => {}
            }
        }
        missed.sort_by(|a, b| a.session.cmp(&b.session));
        self.tell(common, &missed)
    }

    /// Measures round trips to the party that answers in `session`.
    async fn measure(
        &self,
        common: &Common,
        session: &SessionName,
        mut echo: ping::Ping,
    ) -> Outcome {
        let (party, key) = (&self.party, echo.key());
        let probe = echo.probe();
        let (kind, address) = (probe.kind(), visible(probe.address()));
        let (via, path) = (probe.via().map(str::to_owned), path(&common.stack, &echo));
        if !common.json {
            output::good(format!(
                "{party} answers in session {session} at {address}, {path} ({key})"
            ));
        }
        let mut times = Vec::new();
        for at in 0..self.count {
            if at > 0 {
                sleep(PING_INTERVAL).await;
            }
            let time = echo.round_trip().await.map_err(|error| {
                anyhow::anyhow!("{party} answered {at} times, and then not any more: {error}")
            })?;
            times.push(time.as_secs_f64());
            if !common.json {
                output::line(format!("{}: {}", at + 1, milliseconds(time.as_secs_f64())));
            }
        }
        if common.json {
            output::json(&json!({
                "party": party, "there": true, "session": session, "key": key,
                "path": kind, "via": via,
                "address": address, "round_trips_s": times,
            }))?;
        } else {
            let least = times.iter().copied().fold(f64::INFINITY, f64::min);
            let most = times.iter().copied().fold(0.0, f64::max);
            output::line(format!("{} to {}", milliseconds(least), milliseconds(most)));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Says where it was looked for.
    fn tell(&self, common: &Common, missed: &[Missed]) -> Outcome {
        let party = &self.party;
        if common.json {
            let missed =
                missed.iter().map(|miss| json!({"session": miss.session, "why": miss.why}));
            output::json(&json!({
                "party": party, "there": false, "sessions": missed.collect::<Vec<_>>(),
            }))?;
        } else {
            output::bad(format!("{party} does not answer"));
            for Missed { session, why } in missed {
                output::entry(2, format!("session {session}: {}", visible(why)));
            }
            output::line(
                "A party can be reached only while it runs a session: ask it to start the same one, and look again.",
            );
        }
        Ok(ExitCode::FAILURE)
    }
}

/// What an answer came over, for people.
pub(super) fn path(stack: &Stack, echo: &ping::Ping) -> String {
    let label = stack.label(echo.probe().kind());
    match echo.probe().via() {
        Some(hub) => format!("{label} by {} (a run may find a better way)", visible(hub)),
        None => label.to_owned(),
    }
}

/// The sessions that this party and `other` are both in.
fn shared(
    config: &Config,
    dirs: &Directories,
    me: &PartyName,
    other: &PartyName,
) -> anyhow::Result<Vec<Definition>> {
    let mut shared = Vec::new();
    for name in session::names(config, dirs)? {
        // One that is damaged is told of where it is to be run.
        let Ok(definition) = session::find(config, dirs, &name) else { continue };
        let parties = &definition.settings.parties;
        if [me, other].iter().all(|party| parties.index_of(party).is_some()) {
            shared.push(definition);
        }
    }
    if shared.is_empty() {
        bail!(
            "no session that is declared here has both this party, «{me}», and «{other}» in it: parties find each other by the sessions they share (mpyc-party session list)"
        );
    }
    Ok(shared)
}

/// A session in which the party was not found.
struct Missed {
    session: SessionName,
    why: String,
}

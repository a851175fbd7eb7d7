//! `mpyc-party status`.

pub(super) mod agent;

use std::process::ExitCode;

use clap::Args;
use mpyc_party_core::claims::{Claims, about};
use mpyc_party_transport::now;
use serde_json::{Value, json};
use time::OffsetDateTime;

use self::agent::Agent;
use super::running::{self, Running};
use super::session::runs;
use super::{Common, Outcome, output, runtime};
use crate::config::{Config, Directories};
use crate::identity::Store;
use crate::session;
use crate::session::bundle::minute;
use crate::session::words::{names_or_none, visible};

#[derive(Debug, Args)]
#[command(after_help = "\
This asks only the runners and the agent on this machine. The agent answers those who may ask it
even where the state directory is not readable. For more, use mpyc-party doctor.

Examples:
  mpyc-party status
  mpyc-party status --json | jq '.running[].now.stage'")]
pub(super) struct Status {}

impl Status {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let (dirs, config) = common.load()?;
        let store = Store::new(&dirs.state);
        let runtime = runtime()?;
        let agent = runtime.block_on(Agent::ask(config.agent.bus));
        if let (false, None, Some(agent)) = (store.is_there(), &common.state, &agent) {
            return tell_by_agent(agent, common.json);
        }
        let (claims, party) = (store.claims()?, store.party()?);
        // One of another party tells nothing of this one.
        let agent = agent.filter(|agent| {
            agent.party == party.as_str() && agent.network == claims.network.as_str()
        });
        let hubs = config.hubs(store.hubs()?);
        let running = runtime.block_on(running::all(&dirs, None))?;
        let last = last_runs(&config, &dirs)?;
        let sources = config.sources(hubs.clone());
        let found_by: Vec<_> = common.stack.used(&sources).map(|one| one.name()).collect();
        if common.json {
            output::json(&json!({
                "party": party, "network": claims.network, "address": claims.address,
                "certificate": {
                    "not_before": claims.not_before, "not_after": claims.not_after,
                    "valid": claims.check_validity(now()).is_ok(),
                },
                "hubs": hubs, "local_discovery": config.network.local_discovery,
                "discoveries": found_by,
                "agent": agent.as_ref().map(Agent::json),
                "running": running.iter().map(json).collect::<Vec<_>>(),
                "sessions": last.iter().map(Last::json).collect::<Vec<_>>(),
            }))?;
            return Ok(ExitCode::SUCCESS);
        }
        output::line(format!("{party}, a party of the network {}", claims.network));
        output::field("address", claims.address);
        output::field("certificate", validity(&claims));
        output::field("hubs", if hubs.is_empty() { "none".to_owned() } else { hubs.join(", ") });
        output::field("finds by", names_or_none(&found_by));
        if let Some(agent) = &agent {
            agent.show();
        }
        show_running(&running);
        show_last(&last);
        Ok(ExitCode::SUCCESS)
    }
}

/// What can be told without the state directory.
fn tell_by_agent(agent: &Agent, in_json: bool) -> Outcome {
    if in_json {
        output::json(&agent.party_json())?;
    } else {
        agent.show_party();
        agent.show();
    }
    Ok(ExitCode::SUCCESS)
}

/// A declared session with its last run.
struct Last {
    name: String,
    run: Option<runs::Run>,
    /// Why it cannot be used.
    error: Option<String>,
}

impl Last {
    fn json(&self) -> Value {
        let mut value = json!({"name": self.name, "last": self.run.as_ref().map(runs::Run::json)});
        if let Some(error) = &self.error {
            value["error"] = json!(error);
        }
        value
    }
}

fn last_runs(config: &Config, dirs: &Directories) -> anyhow::Result<Vec<Last>> {
    let last = |(name, found): (String, Result<_, session::SessionError>)| {
        let run = match name.parse() {
            Ok(name) => runs::of(dirs, &name)?.pop(),
            Err(_) => None,
        };
        Ok(Last { name, run, error: found.err().map(|error| error.to_string()) })
    };
    session::all(config, dirs)?.into_iter().map(last).collect()
}

/// What a script is told of a run that goes on.
fn json(run: &Running) -> Value {
    let Running { directory, record, now, silent } = run;
    json!({
        "session": record.session, "started": record.started, "directory": directory, "now": now,
        "silent_process": silent,
    })
}

/// How long a certificate is good, for people.
pub(super) fn validity(claims: &Claims) -> String {
    match claims.check_validity(now()) {
        Ok(()) => {
            format!("{}; the next run renews it when that is due", until(claims.not_after))
        }
        Err(problem) => format!("cannot be used: {problem}"),
    }
}

/// Until when a certificate is good, in Unix time.
fn until(expiry: u64) -> String {
    let end = i64::try_from(expiry).unwrap_or(i64::MAX);
    let end = OffsetDateTime::from_unix_timestamp(end).map(minute).unwrap_or_default();
    format!("valid until {end}, for {}", about(expiry.saturating_sub(now())))
}

fn show_running(running: &[Running]) {
    output::line("\nRunning");
    if running.is_empty() {
        output::line("  nothing");
    }
    for run in running {
        let id = run.now.as_ref().and_then(|now| now.run.as_deref());
        let id = id.map(|id| format!(", run {}", visible(id))).unwrap_or_default();
        output::entry(2, format!("{}{id}: {}", run.record.session, run.doing()));
    }
}

fn show_last(last: &[Last]) {
    output::line("\nSessions");
    if last.is_empty() {
        output::line("  none is declared here");
    }
    for Last { name, run, error } in last {
        let text = match (error, run) {
            (Some(error), _) => format!("cannot be used: {error}"),
            (None, Some(run)) => format!("{}  {}", run.started(), run.verdict()),
            (None, None) => "never run".to_owned(),
        };
        output::entry(2, format!("{name}: {text}"));
    }
}

//! `mpyc-party peers`.

use std::process::ExitCode;

use clap::Args;
use mpyc_party_core::claims::about;
use mpyc_party_core::name::SessionName;
use mpyc_party_net::Stack;
use mpyc_party_net::links::report::{PathReport, PeerReport};
use mpyc_party_transport::now;
use serde_json::{Value, json};

use super::running::{self, Running};
use super::status::agent::Agent;
use super::{Common, Outcome, completing, diagnose, output, runtime};
use crate::identity::Store;
use crate::runner::inspect::Snapshot;
use crate::session;
use crate::session::words::visible;

const NOTHING: &str = "nothing runs here now: mpyc-party session run NAME meets the others";

#[derive(Debug, Args)]
#[command(after_help = "\
This asks only the runners on this machine. SENT and RECEIVED count the bytes of MPyC in this run.
Where the state directory is not readable, the agent says who is there and whether bytes were
changed on the way, but nothing else.

Examples:
  mpyc-party peers
  mpyc-party peers demo --json | jq '.[].peers[] | {party, path}'")]
pub(super) struct Peers {
    /// Only this session
    #[arg(add = completing::sessions())]
    session: Option<SessionName>,
}

impl Peers {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let (dirs, config) = common.load()?;
        if let Some(name) = &self.session {
            session::find(&config, &dirs, name)?;
        }
        let runtime = runtime()?;
        if common.state.is_none()
            && !Store::new(&dirs.state).is_there()
            && let Some(agent) = runtime.block_on(Agent::ask(config.agent.bus))
        {
            return self.tell_by_agent(&agent, common.json);
        }
        let all = runtime.block_on(running::all(&dirs, self.session.as_ref()))?;
        if common.json {
            output::json(&all.iter().map(|run| json(&common.stack, run)).collect::<Vec<_>>())?;
        } else if all.is_empty() {
            output::step(NOTHING);
        } else {
            all.iter().for_each(|run| show(&common.stack, run));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What can be told without the state directory: who is there, and that bytes were changed on
    /// the way; not how they are reached.
    fn tell_by_agent(&self, agent: &Agent, in_json: bool) -> Outcome {
        let asked = |name: &str| self.session.as_ref().is_none_or(|one| one.as_str() == name);
        let all: Vec<_> = agent.running().filter(|(name, _)| asked(name)).collect();
        if in_json {
            let peer = |name: &str, party: &str| json!({ "party": party, "tampered": agent.tampered(name, party) });
            let runs = all.iter().map(|(name, peers)| {
                let peers: Vec<Value> = peers.iter().map(|party| peer(name, party)).collect();
                json!({ "session": name, "run": null, "stage": null, "peers": peers })
            });
            output::json(&runs.collect::<Vec<_>>())?;
        } else if all.is_empty() {
            output::step(NOTHING);
        }
        for (name, peers) in all.iter().filter(|_| !in_json) {
            let here = if peers.is_empty() { "nobody else".to_owned() } else { peers.join(", ") };
            output::entry(0, format!("{name}: runs; there: {}", visible(&here)));
            for party in peers {
                tampering(&visible(party), agent.tampered(name, party))
                    .into_iter()
                    .for_each(output::line);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What a script is told of a run: each peer's report, and why it is not reached directly.
fn json(stack: &Stack, run: &Running) -> Value {
    let peers = run.now.iter().flat_map(|now| now.peers.iter().map(move |peer| (peer, now)));
    let peer = |(peer, now): (&PeerReport, &Snapshot)| {
        json!({
            "party": peer.party, "path": peer.path, "away_s": peer.away_s, "sent": peer.sent, "received": peer.received,
            "tampered": peer.tampered, "attempts": peer.attempts, "found_by": peer.found_by,
            "waits": peer.waits,
            "why_not_direct": diagnose::not_direct(stack, peer, now),
        })
    };
    let now = run.now.as_ref();
    json!({
        "session": run.record.session, "run": now.and_then(|now| now.run.clone()),
        "stage": now.map(|now| now.stage), "peers": peers.map(peer).collect::<Vec<_>>(),
    })
}

fn show(stack: &Stack, run: &Running) {
    output::entry(0, format!("{}: {}", run.record.session, run.doing()));
    let Some(now) = &run.now else { return };
    let rows: Vec<_> = now.peers.iter().map(|peer| row(stack, peer)).collect();
    output::table(
        ["PARTY", "PATH", "ADDRESS", "FOUND BY", "ROUND TRIP", "SENT", "RECEIVED", "SINCE"],
        &rows,
    );
    for peer in &now.peers {
        tampering(peer.party.as_str(), peer.tampered).into_iter().for_each(output::line);
        if let Some(why) = diagnose::not_direct(stack, peer, now) {
            output::entry(0, format!("{}: {}", peer.party, visible(&why)));
        }
    }
    run.waits().for_each(output::line);
}

/// That something between here and `party` changes bytes, where so many connections ended for it.
fn tampering(party: &str, count: u64) -> Option<String> {
    let connections = match count {
        0 => return None,
        1 => "one connection has ended".to_owned(),
        many => format!("{many} connections have ended"),
    };
    Some(format!(
        "{party}: {connections} because bytes were changed on the way. They were dropped and sent \
         again, but something in the network or a relay is broken or hostile"
    ))
}

fn row(stack: &Stack, peer: &PeerReport) -> [String; 8] {
    let none = || "-".to_owned();
    let path = peer.working_path();
    let since = path.map(|path| about(now().saturating_sub(path.since)));
    let since = since.or_else(|| peer.away_s.map(|away| format!("{away:.0} s")));
    [
        peer.party.to_string(),
        path.map_or_else(|| "away".to_owned(), |path| kind(stack, path)),
        path.map_or_else(none, |path| visible(&path.address)),
        if peer.found_by.is_empty() { none() } else { peer.found_by.join(", ") },
        path.and_then(|path| path.round_trip).map_or_else(none, milliseconds),
        bytes(peer.sent),
        bytes(peer.received),
        since.map_or_else(none, |since| format!("{since} ago")),
    ]
}

/// What carries a path, for people.
pub(super) fn kind(stack: &Stack, path: &PathReport) -> String {
    let label = visible(stack.label(&path.kind));
    match &path.via {
        Some(hub) => format!("{label} by {}", visible(hub)),
        None => label,
    }
}

/// A time of so many seconds, in milliseconds.
pub(super) fn milliseconds(seconds: f64) -> String {
    format!("{:.2} ms", seconds * 1000.0)
}

/// A number of bytes in the unit that suits it.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let Some(power) = (1..=UNITS.len()).rev().find(|power| count >> (10 * power) > 0) else {
        return format!("{count} B");
    };
    let tenths = (u128::from(count) * 10) >> (10 * power);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[power - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_bytes_are_told_and_nothing_where_there_were_none() {
        assert_eq!(tampering("bob", 0), None);
        let text = tampering("bob", 3).unwrap_or_default();
        assert!(text.starts_with("bob: 3 connections have ended because bytes were changed"));
    }

    #[test]
    fn bytes_are_told_in_the_unit_that_suits_them() {
        let cases = [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_900_000, "1.8 MiB")];
        for (count, text) in cases {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(bytes(u64::MAX), "16777215.9 TiB");
    }
}

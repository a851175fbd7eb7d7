//! What the one who waits for a run is shown: lines for people, or events for scripts.

use std::time::Duration;

use mpyc_party_core::name::PartyName;
use mpyc_party_core::verdict::Verdict;
use serde_json::{Value, json};

use super::output;
use crate::link::report::PathReport;
use crate::runner::view::{Channel, Notice, View};

/// Lines for people: steps on standard error, the program's output on standard output.
#[derive(Debug, Default)]
pub(super) struct Lines;

fn names(parties: &[PartyName]) -> String {
    parties.iter().map(PartyName::as_str).collect::<Vec<_>>().join(", ")
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// The way a link takes, for people.
fn way(path: &PathReport) -> String {
    match &path.via {
        Some(hub) => format!("{} by {hub}", path.kind),
        None => path.kind.to_string(),
    }
}

impl View for Lines {
    fn show(&mut self, notice: Notice<'_>) {
        match notice {
            Notice::Preparing(text) => output::step(text),
            Notice::Warning(text) => output::warn(text),
            Notice::Waiting(port, missing) => {
                output::step(format!("listening on port {port}, looking for {}", names(missing)));
            }
            Notice::Linked(peer, path, []) => {
                output::step(format!("linked to {peer} ({}): all are here", way(path)));
            }
            Notice::Linked(peer, path, missing) => {
                let missing = names(missing);
                output::step(format!("linked to {peer} ({}), still missing: {missing}", way(path)));
            }
            Notice::Unlinked(peer) => output::warn(format!("{peer} has gone again")),
            Notice::Link(peer, path, _) => {
                output::step(format!("the link to {peer} is {} now", way(path)));
            }
            Notice::Away(peer) => output::warn(format!("link to {peer} lost, reconnecting…")),
            Notice::Back(peer, time, path) => {
                let over = path.map(|path| format!(", {}", way(path))).unwrap_or_default();
                output::step(format!("{peer} is back after {}{over}", seconds(time)));
            }
            Notice::Agreed(run) => output::step(format!("agreed on run {run}")),
            Notice::Running(after) => output::step(format!("running after {}", seconds(after))),
            Notice::Connected(after) => {
                output::step(format!("MPyC connected after {}", seconds(after)));
            }
            Notice::Line(Channel::Output, line) => output::line(line),
            Notice::Line(Channel::Log, line) => output::dim(line),
            Notice::Ended(Verdict::Completed) => output::good("completed"),
            Notice::Ended(verdict) => output::bad(verdict),
        }
    }
}

/// Events for scripts: one JSON value a line on standard output.
#[derive(Debug, Default)]
pub(super) struct Events;

impl View for Events {
    fn show(&mut self, notice: Notice<'_>) {
        output::json_line(&event(&notice));
    }
}

fn event(notice: &Notice<'_>) -> Value {
    match notice {
        Notice::Preparing(text) => json!({"event": "preparing", "text": text}),
        Notice::Warning(text) => json!({"event": "warning", "text": text}),
        Notice::Waiting(port, missing) => {
            json!({"event": "waiting", "port": port, "missing": missing})
        }
        Notice::Linked(peer, _, missing) => {
            json!({"event": "linked", "peer": peer, "missing": missing})
        }
        Notice::Unlinked(peer) => json!({"event": "unlinked", "peer": peer}),
        Notice::Link(party, PathReport { kind, epoch, .. }, at) => json!({
            "event": "link", "party": party, "path": kind, "epoch": epoch, "seconds": at.as_secs_f64()
        }),
        Notice::Away(party) => json!({"event": "away", "party": party}),
        Notice::Back(party, time, _) => {
            json!({"event": "back", "party": party, "seconds": time.as_secs_f64()})
        }
        Notice::Agreed(run) => json!({"event": "agreed", "run": run.to_string()}),
        Notice::Running(after) => json!({"event": "running", "after_s": after.as_secs_f64()}),
        Notice::Connected(after) => json!({"event": "connected", "after_s": after.as_secs_f64()}),
        Notice::Line(Channel::Output, line) => json!({"event": "output", "line": line}),
        Notice::Line(Channel::Log, line) => json!({"event": "log", "line": line}),
        Notice::Ended(verdict) => {
            json!({"event": "ended", "verdict": verdict, "text": verdict.to_string()})
        }
    }
}

//! What the one who waits for a run is shown: lines for people, events for scripts, or entries in
//! the journal.

use std::time::Duration;

use log::Level;
use mpyc_party_core::name::PartyName;
use mpyc_party_core::verdict::{Stage, Verdict};
use mpyc_party_core::waits::Waits;
use mpyc_party_net::links::report::PathReport;
use serde_json::{Value, json};

use super::output::Mark;
use super::style::{self, Marked};
use super::terminal::{self, Entry, Render, Stream};
use super::{journal, output};
use crate::runner::engine;
use crate::runner::view::{Channel, Countdown, Excerpt, Notice, View};
use crate::session::words::{visible, visible_json};

/// Lines for people: steps on standard error, the program's output on standard output. Beside the former
/// the latter carries a mark; alone, as in a pipe, it is what the program wrote.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Whether a line on the terminal shows who is waited for.
    counting: bool,
}

fn names(parties: &[PartyName]) -> String {
    parties.iter().map(PartyName::as_str).collect::<Vec<_>>().join(", ")
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// The way a link takes, for people.
fn way(path: &PathReport) -> String {
    match &path.via {
        Some(hub) => format!("{} by {hub}", path.label),
        None => path.label.clone(),
    }
}

/// A notice in words, with nothing in it hidden.
fn words(notice: &Notice<'_>) -> String {
    let words = match notice {
        Notice::Preparing(text) | Notice::Warning(text) => (*text).to_owned(),
        Notice::Waiting(port, missing) => {
            format!("listening on port {port}, looking for {}", names(missing))
        }
        Notice::Linked(peer, path, []) => format!("linked to {peer} ({}): all are here", way(path)),
        Notice::Linked(peer, path, missing) => {
            format!("linked to {peer} ({}), still missing: {}", way(path), names(missing))
        }
        Notice::Unlinked(peer) => format!("{peer} has gone again"),
        Notice::Link(peer, path, ..) => format!("the link to {peer} is {} now", way(path)),
        Notice::Away(peer) => format!("link to {peer} lost, reconnecting…"),
        Notice::Back(peer, time, path) => {
            let over = path.map(|path| format!(", {}", way(path))).unwrap_or_default();
            format!("{peer} is back after {}{over}", seconds(*time))
        }
        Notice::Waits(party, Waits::Answer, Waits::Nothing) => {
            format!("{party}'s program has its answer")
        }
        Notice::Waits(party, _, now) => now.of(party).to_string(),
        Notice::Agreed(run) => format!("agreed on run {run}"),
        Notice::Running(after) => format!("running after {}", seconds(*after)),
        Notice::Connected(after) => format!("MPyC connected after {}", seconds(*after)),
        Notice::Ended(verdict) => verdict.in_words(engine::words).to_string(),
    };
    visible(&words)
}

/// Whether it is worth a line that a party waited for the first and waits for the second. That nobody
/// is waited for any more is not: something else follows, and is told.
fn is_news(before: &Waits, now: &Waits) -> bool {
    *before == Waits::Answer || *now != Waits::Nothing
}

/// Who is waited for and how much longer, on one line.
fn waiting(Countdown { left, missing, preparing, waits }: &Countdown<'_>) -> String {
    let missing = (!missing.is_empty()).then(|| format!("missing: {}", names(missing)));
    let waits = waits.iter().filter(|(_, waits)| *waits != Waits::Nothing);
    let waits = waits.map(|(party, waits)| waits.of(party).to_string());
    let (minutes, seconds) = (left.as_secs() / 60, left.as_secs() % 60);
    let left = format!("· waiting, {minutes}:{seconds:02} left");
    let own = preparing.then(|| "preparing".to_owned());
    [left].into_iter().chain(missing).chain(own).chain(waits).collect::<Vec<_>>().join("; ")
}

/// Shows the lines of an excerpt on `stream`, as `render` makes of each.
fn lines(excerpt: Excerpt, stream: Stream, render: fn(&str) -> String) {
    terminal::post(stream, Entry::Program(excerpt, Render::Text(stream, render)));
}

/// The same behind a mark.
fn marked(excerpt: Excerpt, stream: Stream, mark: fn(&str) -> Marked) {
    terminal::post(stream, Entry::Program(excerpt, Render::Marked(stream, mark)));
}

impl View for Lines {
    fn show(&mut self, notice: Notice<'_>) {
        let words = words(&notice);
        match notice {
            Notice::Waits(_, before, now) if self.counting || !is_news(before, now) => {}
            Notice::Link(.., true) => {}
            Notice::Warning(_) | Notice::Unlinked(_) | Notice::Away(_) => output::warn(words),
            Notice::Ended(Verdict::Completed) => output::end(Mark::Good, words),
            Notice::Ended(_) => output::end(Mark::Bad, words),
            _ => output::step(words),
        }
    }

    fn count_down(&mut self, countdown: Option<Countdown<'_>>) {
        if countdown.is_some() || self.counting {
            self.counting = terminal::show_live(countdown.as_ref().map(waiting));
        }
    }

    fn wrote(&mut self, excerpt: Excerpt) {
        match excerpt.channel {
            Channel::Output if terminal::output_is_mixed() => {
                marked(excerpt, Stream::Output, style::of_program);
            }
            Channel::Output => lines(excerpt, Stream::Output, |line| format!("{line}\n")),
            Channel::Log => marked(excerpt, Stream::Errors, style::of_program_log),
        }
    }
}

/// Entries in the journal, whose fields tell session, run, peer and stage.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Whether the program's output is among them.
    pub(super) output: bool,
}

/// The stage in which a notice is given.
fn stage(notice: &Notice<'_>) -> Option<Stage> {
    Some(match notice {
        Notice::Preparing(_) => Stage::Prepare,
        Notice::Waiting(..) | Notice::Linked(..) | Notice::Unlinked(_) => Stage::Find,
        Notice::Agreed(_) => Stage::Agree,
        Notice::Running(_) | Notice::Connected(_) => Stage::Run,
        Notice::Ended(Verdict::Failed(failure)) => failure.stage,
        Notice::Ended(_) => Stage::End,
        // These come at any stage.
        Notice::Link(..) | Notice::Away(_) | Notice::Back(..) | Notice::Waits(..) => return None,
        Notice::Warning(_) => return None,
    })
}

/// The peers whom a notice is about.
fn peers(notice: &Notice<'_>) -> String {
    match notice {
        Notice::Linked(peer, ..) | Notice::Link(peer, ..) | Notice::Back(peer, ..) => {
            peer.to_string()
        }
        Notice::Unlinked(peer) | Notice::Away(peer) | Notice::Waits(peer, ..) => peer.to_string(),
        Notice::Ended(Verdict::Failed(failure)) => names(&failure.who),
        Notice::Ended(Verdict::Unconfirmed(who)) => names(who),
        _ => String::new(),
    }
}

impl View for Journal {
    fn show(&mut self, notice: Notice<'_>) {
        match &notice {
            Notice::Waits(_, before, now) if !is_news(before, now) => return,
            Notice::Link(.., true) => return,
            _ => {}
        }
        if let Some(stage) = stage(&notice) {
            journal::about("MPYC_STAGE", stage);
        }
        let level = match &notice {
            Notice::Agreed(run) => {
                journal::about("MPYC_RUN", run);
                Level::Info
            }
            Notice::Ended(Verdict::Completed) => Level::Info,
            Notice::Ended(_) => Level::Error,
            Notice::Warning(_) | Notice::Unlinked(_) | Notice::Away(_) => Level::Warn,
            _ => Level::Info,
        };
        let (words, peers) = (words(&notice), peers(&notice));
        if peers.is_empty() {
            log::log!(level, "{words}");
        } else {
            log::log!(level, MPYC_PEER = peers.as_str(); "{words}");
        }
    }

    fn wrote(&mut self, excerpt: Excerpt) {
        if self.output {
            terminal::post(Stream::Errors, Entry::Program(excerpt, Render::Journal));
        }
    }
}

/// Events for scripts: one JSON value a line on standard output.
#[derive(Debug, Default)]
pub(super) struct Events;

impl View for Events {
    fn show(&mut self, notice: Notice<'_>) {
        let event = event(&notice);
        match notice {
            Notice::Ended(_) => terminal::print_last(Stream::Output, json_line(&event)),
            _ => output::json_line(&event),
        }
    }

    fn wrote(&mut self, excerpt: Excerpt) {
        let render: fn(&str) -> String = match excerpt.channel {
            Channel::Output => |line| json_line(&json!({"event": "output", "line": line})),
            Channel::Log => |line| json_line(&json!({"event": "log", "line": line})),
        };
        lines(excerpt, Stream::Output, render);
    }
}

/// An event as it is written.
fn json_line(event: &Value) -> String {
    format!("{}\n", visible_json(&event.to_string()))
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
        Notice::Link(party, PathReport { kind, epoch, .. }, at, _) => json!({
            "event": "link", "party": party, "path": kind, "epoch": epoch, "seconds": at.as_secs_f64()
        }),
        Notice::Away(party) => json!({"event": "away", "party": party}),
        Notice::Back(party, time, _) => {
            json!({"event": "back", "party": party, "seconds": time.as_secs_f64()})
        }
        Notice::Waits(party, _, waits) => {
            json!({"event": "waits", "party": party, "waits": waits, "text": words(notice)})
        }
        Notice::Agreed(run) => json!({"event": "agreed", "run": run.to_string()}),
        Notice::Running(after) => json!({"event": "running", "after_s": after.as_secs_f64()}),
        Notice::Connected(after) => json!({"event": "connected", "after_s": after.as_secs_f64()}),
        Notice::Ended(verdict) => {
            json!({"event": "ended", "verdict": verdict, "text": words(notice)})
        }
    }
}

//! What the doctor finds: told at once to people, at the end to scripts.

use std::fmt::Display;

use serde::Serialize;

use super::super::output::{self, Mark};
use crate::session::words::visible;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    state: Mark,
    text: String,
    /// What to do.
    remedy: Option<String>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Findings {
    quiet: bool,
    all: Vec<Finding>,
}

impl Findings {
    /// Where `quiet`, nothing is told before the end.
    pub(super) fn new(quiet: bool) -> Self {
        Self { quiet, all: Vec::new() }
    }

    /// As it should be.
    pub(super) fn good(&mut self, check: &'static str, text: impl Display) {
        self.add(check, Mark::Good, text.to_string(), None);
    }

    /// Sessions can run, but not as well as they might.
    pub(super) fn doubtful(&mut self, check: &'static str, text: impl Display, remedy: &str) {
        self.add(check, Mark::Doubtful, text.to_string(), Some(remedy.to_owned()));
    }

    /// Sessions cannot run.
    pub(super) fn bad(&mut self, check: &'static str, text: impl Display, remedy: &str) {
        self.add(check, Mark::Bad, text.to_string(), Some(remedy.to_owned()));
    }

    /// Broken, with an error that says what to do.
    pub(super) fn broken(&mut self, check: &'static str, error: impl Display) {
        self.add(check, Mark::Bad, error.to_string(), None);
    }

    fn add(&mut self, check: &'static str, state: Mark, text: String, remedy: Option<String>) {
        let lines = text.lines().map(visible);
        let text = lines.collect::<Vec<_>>().join("\n");
        if !self.quiet {
            output::marked(state, format!("{check}: {text}"));
            if let Some(remedy) = &remedy {
                output::line(format!("    → {remedy}"));
            }
        }
        self.all.push(Finding { check, state, text, remedy });
    }

    /// How many are broken, and how many could be better.
    pub(super) fn count(&self) -> (usize, usize) {
        let of = |state| self.all.iter().filter(|finding| finding.state == state).count();
        (of(Mark::Bad), of(Mark::Doubtful))
    }

    /// The whole answer for scripts.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::json!({"healthy": self.count().0 == 0, "findings": self.all})
    }
}

//! What the doctor finds: told at once to people, at the end to scripts.

use std::fmt::Display;

use mpyc_party_net::packets::Packets;
use serde::Serialize;

use super::super::output::{self, Mark};
use crate::session::words::{visible, with_limit};

/// The MTU of Ethernet in bytes, which nearly every interface has.
const ETHERNET_MTU_BYTES: u32 = 1500;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    state: Mark,
    text: String,
    /// What to do.
    remedy: Option<String>,
}

/// Which packets get through to somebody.
#[derive(Debug, Serialize)]
pub(super) struct PathMtu {
    /// The hub, or the party and the session.
    pub(super) to: String,
    /// The largest packet that gets through, in bytes with its headers, where that is known.
    pub(super) bytes: Option<u32>,
    /// A larger one that does not.
    pub(super) lost: Option<u32>,
}

impl PathMtu {
    /// What `packets` of TCP show, and what was `measured` beside that.
    pub(super) fn of(to: String, packets: Packets, measured: Option<u32>) -> Self {
        match packets {
            Packets { full, through: true, reduced: false } => {
                Self { to, bytes: measured.max(Some(full)), lost: None }
            }
            Packets { full, through: true, reduced: true } => {
                Self { to, bytes: measured.max(Some(full)), lost: Some(ETHERNET_MTU_BYTES) }
            }
            Packets { full, through: false, .. } => Self { to, bytes: measured, lost: Some(full) },
        }
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Findings {
    quiet: bool,
    all: Vec<Finding>,
    path_mtus: Vec<PathMtu>,
}

impl Findings {
    /// Where `quiet`, nothing is told before the end.
    pub(super) fn new(quiet: bool) -> Self {
        Self { quiet, all: Vec::new(), path_mtus: Vec::new() }
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
        self.add(check, Mark::Bad, with_limit(error.to_string()), None);
    }

    /// Tells which packets get through, and what to do where larger ones vanish.
    pub(super) fn path_mtu(&mut self, found: PathMtu) {
        const CHECK: &str = "path MTU";
        let PathMtu { to, bytes, lost } = &found;
        let passes = match bytes {
            Some(bytes) => format!("packets of up to {bytes} bytes get through"),
            None => "only small packets get through".to_owned(),
        };
        match (lost, bytes) {
            (None, _) => self.good(CHECK, format!("{to}: {passes}")),
            (Some(lost), _) => {
                let text = format!(
                    "{to}: {passes}, and those of {lost} vanish without a word: something on the way has a \
                     smaller MTU and filters ICMP"
                );
                let mtu = bytes.map_or("1280".to_owned(), |bytes| bytes.to_string());
                let remedy = format!(
                    "runs work, with smaller packets, and begin some seconds later; let ICMP through \
                     («fragmentation needed», «packet too big») at that router, firewall or VPN, or give this \
                     machine's interface an MTU of {mtu} (ip link set dev INTERFACE mtu {mtu})"
                );
                self.doubtful(CHECK, text, &remedy);
            }
        }
        self.path_mtus.push(found);
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
        serde_json::json!({"healthy": self.count().0 == 0, "findings": self.all, "path_mtus": self.path_mtus})
    }
}

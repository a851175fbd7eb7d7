//! MPyC, unmodified, in the Python that is found or made for it.
//!
//! ```text
//! python        an interpreter that can import MPyC, and the files that takes
//! launcher      runs the program in the sandbox; our Python files
//! conversation  what runner and launcher say to each other
//! versions      what is part of the agreement, and what people read of it
//! ```
//!
//! What the runner has to know of MPyC: of a pair, the party with the lower index opens the
//! connection, and first says its index in two bytes (little-endian); the other says nothing then.
//! A program may start and shut down MPyC more than once: each time every pair connects once more,
//! and an MPyC that sees a connection closed that it has not accepted yet takes its peer for gone.

mod conversation;
pub mod python;
mod versions;

use std::ffi::OsString;

use mpyc_party_core::component::Part;
use mpyc_party_core::label::Label;
use mpyc_party_core::roster::PeerIndex;
use mpyc_party_core::verdict::Reason;
use mpyc_party_sandbox::Mount;

use super::{Claim, Contents, Conversation, Engine, EngineError, LAUNCHER};
use crate::config::{Config, Directories, Session};
use crate::runner::view::{Notice, View};
use crate::session::{Copied, Definition};
pub use conversation::Packet;
use python::{Progress, Python};
pub use versions::Versions;

/// The launcher's files.
const FILES: [(&str, &str); 11] = [
    ("agreed.py", include_str!("mpyc/launcher/agreed.py")),
    ("awaited.py", include_str!("mpyc/launcher/awaited.py")),
    ("control.py", include_str!("mpyc/launcher/control.py")),
    ("exchange.py", include_str!("mpyc/launcher/exchange.py")),
    ("launcher.py", include_str!("mpyc/launcher/launcher.py")),
    ("network.py", include_str!("mpyc/launcher/network.py")),
    ("one_process.py", include_str!("mpyc/launcher/one_process.py")),
    ("releases.py", include_str!("mpyc/launcher/releases.py")),
    ("scan.py", include_str!("mpyc/launcher/scan.py")),
    ("standard_input.py", include_str!("mpyc/launcher/standard_input.py")),
    ("values.py", include_str!("mpyc/launcher/values.py")),
];

/// The engine.
#[derive(Clone, Copy, Debug)]
pub struct Mpyc;

impl Engine for Mpyc {
    fn name(&self) -> &'static str {
        "MPyC"
    }

    fn words(&self, label: &Label) -> Option<&'static str> {
        versions::words(label)
    }

    fn parts(&self, settings: &Session) -> Vec<Part> {
        vec![(Label::ENGINE_OPTIONS, versions::texts(&settings.options))]
    }

    fn launcher(&self) -> &'static [(&'static str, &'static str)] {
        &FILES
    }

    fn contents(
        &self,
        (config, dirs): (&Config, &Directories),
        view: &mut dyn View,
    ) -> Result<Contents, EngineError> {
        let mut tell = |progress: Progress| match progress {
            Progress::LeftOut(_) => view.show(Notice::Warning(&progress.to_string())),
            _ => view.show(Notice::Preparing(&progress.to_string())),
        };
        let python = Python::new(config.python.interpreter.clone(), &dirs.cache);
        let python = python.prepare(&mut tell).map_err(|error| EngineError(error.to_string()))?;
        let launcher = format!("{LAUNCHER}/launcher.py");
        Ok(Contents {
            interpreter: python.interpreter,
            arguments: ["-I", "-B", &launcher].map(OsString::from).into(),
            mounts: python.mounts.into_iter().map(|mount| Mount::same(mount.path)).collect(),
        })
    }

    fn opens(&self, from: PeerIndex, to: PeerIndex) -> bool {
        from < to
    }

    fn claim(&self, of: PeerIndex) -> Claim {
        // A roster is far shorter than two bytes count.
        let [low, high, ..] = of.get().to_le_bytes();
        [low, high]
    }

    fn false_claim(&self, heard: Claim) -> Reason {
        Reason::ClaimedIndex(u16::from_le_bytes(heard))
    }

    fn converse(
        &self,
        definition: &Definition,
        copied: &Copied,
        me: PeerIndex,
    ) -> Box<dyn Conversation> {
        Box::new(conversation::MpycConversation::new(&definition.settings, copied, me))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_claim_is_the_index_in_two_bytes() {
        for (index, claim) in [(0, [0, 0]), (2, [2, 0]), (0x0102, [2, 1])] {
            assert_eq!(Mpyc.claim(PeerIndex::new(index)), claim);
        }
        assert_eq!(Mpyc.false_claim([2, 1]), Reason::ClaimedIndex(0x0102));
    }

    #[test]
    fn of_each_pair_one_opens() {
        let (alice, bob) = (PeerIndex::new(0), PeerIndex::new(1));
        assert!(Mpyc.opens(alice, bob) && !Mpyc.opens(bob, alice) && !Mpyc.opens(bob, bob));
    }
}

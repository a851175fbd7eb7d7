//! What computes. The runner brings parties together, compares, carries streams and ends runs; all
//! that it has to know of the program that computes stands behind [`Engine`], and there is one:
//! [`mpyc`].
//!
//! An engine's process runs in the sandbox and has no network. On its control socket it speaks a
//! language of its own, which a [`Conversation`] translates: it asks for connections and accepts
//! some, and is handed a descriptor for each. A connection is known by its peer and its *cycle*:
//! its number among those of that pair.
//!
//! Another engine is a folder beside `mpyc` and a line in `ENGINES`. The folder has:
//!
//! 1. What goes into the sandbox ([`Engine::contents`]) and the files of its launcher
//!    ([`Engine::launcher`]): a small program that asks the runner for what would be a `connect` or
//!    an `accept`, and says when all is imported and ready.
//! 2. The language that this launcher speaks ([`Conversation`]).
//! 3. What all parties must have the same, by label, with words for people ([`Engine::parts`],
//!    [`Profile`], [`Engine::words`]). The labels are those of the core, whatever the engine.
//! 4. Who of a pair opens, and what it says first ([`Engine::opens`], [`Engine::claim`]): with that
//!    claim the runner sees that a connection is the peer's whose certificate it carries.
//!
//! With the second, a session gets a setting that names its engine, for [`of`] to look at, and a
//! run's record the name for [`words`].

mod launcher;
pub mod mpyc;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

use mpyc_party_core::component::{Components, Part};
use mpyc_party_core::label::Label;
use mpyc_party_core::roster::PeerIndex;
use mpyc_party_core::verdict::Reason;
use mpyc_party_sandbox::Mount;

use super::view::View;
use crate::config::{Config, Directories, Session};
use crate::session::record::RuntimeStatistics;
use crate::session::{Copied, Definition};
pub(super) use launcher::Launcher;

/// Every engine there is.
const ENGINES: [&dyn Engine; 1] = [&mpyc::Mpyc];

/// Where the sandboxed process finds the files of its launcher.
pub(super) const LAUNCHER: &str = "/launcher";
/// Where it finds the program and its files.
pub(super) const PROGRAM: &str = "/session";
/// Where it finds the private input, whatever that is called here.
pub(super) const INPUT: &str = "/input/input";

/// What one engine is like. It has no state: that of a run is in its [`Conversation`].
pub trait Engine: fmt::Debug + Sync {
    /// Its name, for people and in the agreement.
    fn name(&self) -> &'static str;

    /// What a label of its stands for, as a noun with its article: «the MPyC version». Where it has
    /// nothing to say, the label's own words hold.
    fn words(&self, label: &Label) -> Option<&'static str>;

    /// What all parties must have the same of a session's settings of this engine.
    fn parts(&self, settings: &Session) -> Vec<Part>;

    /// The files of its launcher, by name: they are in `/launcher` in the sandbox.
    fn launcher(&self) -> &'static [(&'static str, &'static str)];

    /// What its process needs in the sandbox beside that. Making it may take minutes, and is told to
    /// `view`; it is synchronous, for no thread may be there yet.
    ///
    /// # Errors
    /// What is missing and cannot be made, and what to do.
    fn contents(
        &self,
        from: (&Config, &Directories),
        view: &mut dyn View,
    ) -> Result<Contents, EngineError>;

    /// Whether, of this pair, the process at `from` opens all connections and that at `to` accepts.
    fn opens(&self, from: PeerIndex, to: PeerIndex) -> bool;

    /// What the process at `of` says first on each connection that it opens.
    fn claim(&self, of: PeerIndex) -> Claim;

    /// What it means that it said something else.
    fn false_claim(&self, heard: Claim) -> Reason;

    /// A conversation with a process that runs `copied` of `definition` as the party `me`.
    fn converse(
        &self,
        definition: &Definition,
        copied: &Copied,
        me: PeerIndex,
    ) -> Box<dyn Conversation>;
}

/// The first bytes of a connection, by which an engine's process says whose it is.
pub type Claim = [u8; 2];

/// The language of an engine's process: translates what it says and is told, packet by packet.
pub trait Conversation: fmt::Debug + Send {
    /// The packet that gives this order.
    ///
    /// # Errors
    /// Where it cannot be written.
    fn order(&self, order: Order) -> io::Result<Vec<u8>>;

    /// What a packet says; none where that is of no interest. The process is sandboxed together with
    /// the program, so nothing of it is believed.
    ///
    /// # Errors
    /// Where it is no packet of this language.
    fn report(&mut self, packet: &[u8]) -> io::Result<Option<Report>>;
}

/// What an engine's process is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Load everything, then report what you are.
    Prepare,
    /// Run the program.
    Go,
    /// The descriptor that comes with this is the next connection with this peer.
    Connection(PeerIndex),
}

/// What an engine's process says.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// All is loaded.
    Ready(Profile),
    /// It cannot go on; why, for people.
    Failed(String),
    /// It opens a connection to a peer that accepts those of this party.
    Connect {
        /// The peer.
        peer: PeerIndex,
        /// Its number among the connections of this pair.
        cycle: u32,
    },
    /// It accepts the connections of this cycle and of no other; at present none at all where there
    /// is none.
    Accept {
        /// The cycle.
        cycle: Option<u32>,
    },
    /// A peer sent what must not reach the program.
    Refused {
        /// Who, where that is known.
        peer: Option<PeerIndex>,
        /// What it would have been.
        what: String,
    },
    /// A peer sent what is nothing that a process of this engine sends, or too much.
    Violated {
        /// Who.
        peer: PeerIndex,
        /// What is wrong with it.
        what: String,
    },
    /// It waits until it is connected to the processes of all parties.
    Connecting,
    /// It awaits something on a connection that this peer has ended.
    Awaits(PeerIndex),
    /// It no longer awaits anything on a connection that this peer has ended.
    AwaitsNoMore(PeerIndex),
    /// It reads its standard input, and nothing is there.
    Asks,
    /// It has read something, or the end.
    Answered,
    /// The processes of all parties are connected.
    Connected,
    /// One computation of perhaps several is over.
    Computed(RuntimeStatistics),
}

/// What an engine's process is, once it has loaded everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// What must be the same at all parties.
    pub parts: Vec<Part>,
    /// What the session demands and this party has not. Where only some lack it, the agreement says
    /// who; this is for when all do.
    pub unmet: Option<String>,
    /// Its versions, for people.
    pub versions: String,
}

/// What an engine needs in the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// What is executed.
    pub interpreter: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// What must be in view for that, read-only; parents first.
    pub mounts: Vec<Mount>,
}

/// Why an engine cannot be had: what is wrong and what to do, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EngineError(pub String);

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.versions)
    }
}

/// The engine of a session; of which there is one so far.
#[must_use]
pub fn of(_definition: &Definition) -> &'static dyn Engine {
    ENGINES[0]
}

/// What an engine says that a label stands for.
#[must_use]
pub fn words(label: &Label) -> Option<&'static str> {
    ENGINES.iter().find_map(|engine| engine.words(label))
}

/// Everything that must be the same at every party; without a `profile` what is known before the
/// process was asked.
#[must_use]
pub fn components(
    definition: &Definition,
    copied: &Copied,
    profile: Option<&Profile>,
) -> Components {
    let engine = of(definition);
    let name = (Label::ENGINE, vec![engine.name().into()]);
    let settings = engine.parts(&definition.settings);
    let asked = profile.into_iter().flat_map(|profile| profile.parts.clone());
    let all = definition.parts(copied).into_iter().chain([name]).chain(settings).chain(asked);
    Components::new(all)
}

//! One declared session in the configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mpyc_party_core::claims::PublicKey;
use mpyc_party_core::name::PartyName;
use mpyc_party_core::roster::Roster;
use mpyc_party_sandbox::Policy;
use serde::{Deserialize, Serialize};

use super::options::{DEFAULT_SECURITY_BITS, Masking, OptionError};

/// The shortest grace time: a new link needs about this long.
const MIN_GRACE: Duration = Duration::from_secs(1);
/// The longest deadline and grace time: who waits for longer can start the session again.
const MAX_WAIT: Duration = Duration::from_secs(30 * 24 * 3600);
/// The longest interval between runs: ten years.
const MAX_INTERVAL: Duration = Duration::from_secs(3650 * 24 * 3600);
/// The largest output of a run in MiB: it is kept on this machine's disk.
const MAX_OUTPUT_MIB: u64 = 16 << 10;
/// The largest memory limit in MiB, more than any machine has.
const MAX_MEMORY_MIB: u64 = 16 << 20;

/// Why the settings of a session cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// MPyC needs an honest majority.
    #[error(
        "threshold {threshold} is too large for {parties} parties: MPyC needs an honest majority, so at most {max}"
    )]
    Threshold {
        /// What was given.
        threshold: usize,
        /// How many parties there are.
        parties: usize,
        /// The largest threshold for so many.
        max: usize,
    },
    /// Threshold 0, and nothing says that this is meant.
    #[error(
        "with threshold 0 every party can learn every input{}. If that is meant, set allow-no-privacy = true",
        if *parties == 2 { ", and 2 parties allow no other threshold" } else { "" }
    )]
    NoPrivacy {
        /// How many parties there are.
        parties: usize,
    },
    /// An option of MPyC that is none, or none for a session.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// Options by which MPyC hides too little, and nothing says that this is meant.
    #[error(
        "with -K {} and -L {} MPyC masks secrets so weakly that other parties can learn inputs: give -K at least {DEFAULT_SECURITY_BITS}, and as much more as -L is below its default. If that is meant, set allow-no-privacy = true",
        .0.security_bits, .0.bit_length
    )]
    Masking(Masking),
    /// Times that are too short.
    #[error("deadline must be positive, and grace at least 1s")]
    Times,
    /// Sizes that are none.
    #[error("output and memory are sizes in MiB, at least 1")]
    Sizes,
    /// A time that nobody can wait for.
    #[error("{key} is longer than {}, the most that it may be: give a shorter time, as in {key} = \"10m\"", humantime::format_duration(*.most))]
    TooLong {
        /// Which time.
        key: &'static str,
        /// The longest that it may be.
        most: Duration,
    },
    /// A size that no machine has.
    #[error(
        "{key} is more than {most} MiB, the most that it may be: give a smaller size, as in {key} = 1024"
    )]
    TooLarge {
        /// Which size.
        key: &'static str,
        /// The largest that it may be, in MiB.
        most: u64,
    },
    /// A character that ends a text for the system.
    #[error(
        "argument number {number} in arguments has a NUL character in it, which no program can be given: leave it out"
    )]
    Nul {
        /// The position of the argument, from 1.
        number: usize,
    },
    /// A file without a name in text.
    #[error("«{}» is not a file with a readable name", path.display())]
    FileName {
        /// The file.
        path: PathBuf,
    },
    /// Two files with one name.
    #[error("two files are called «{name}»: rename one")]
    SameName {
        /// The name.
        name: String,
    },
    /// One key for two parties: whoever has it could speak as both.
    #[error(
        "{first} and {second} have the same key, in keys or in [peers]: each party has its own"
    )]
    SameKey {
        /// One of them.
        first: PartyName,
        /// The other.
        second: PartyName,
    },
    /// A key of somebody else.
    #[error("keys names «{party}», who is not in parties")]
    Key {
        /// Whose key it is.
        party: PartyName,
    },
}

/// A declared computation.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table of settings")]
pub struct Session {
    /// The MPyC program.
    pub program: PathBuf,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// The parties in order; the position is the MPyC party index.
    pub parties: Roster,
    /// How many parties may pool what they saw and still learn nothing; MPyC's default where none
    /// is given: the largest with an honest majority.
    pub threshold: Option<usize>,
    /// This party's private input; the program finds its path in `$MPYC_PARTY_INPUT`.
    pub input: Option<PathBuf>,
    /// What else the program reads, beside it.
    #[serde(default)]
    pub files: Vec<PathBuf>,
    /// [Options](super::options) of MPyC itself, such as `--no-prss`.
    #[serde(default)]
    pub options: Vec<String>,
    /// Who may start it.
    #[serde(default)]
    pub start: Start,
    /// How many times it may start without a person.
    #[serde(default = "one")]
    pub max_runs: u32,
    /// The shortest time between two starts without a person.
    #[serde(default = "hour", with = "humantime_serde")]
    pub interval: Duration,
    /// How long to wait for all parties.
    #[serde(default = "deadline", with = "humantime_serde")]
    pub deadline: Duration,
    /// How long an outage may last.
    #[serde(default = "grace", with = "humantime_serde")]
    pub grace: Duration,
    /// Threshold 0 hides nothing from the other parties, and weak options too little; this says that it
    /// is meant.
    #[serde(default)]
    pub allow_no_privacy: bool,
    /// Whether MPyC may be another than a release that is known here; all parties must then have the
    /// same files of it.
    #[serde(default)]
    pub allow_unknown_mpyc: bool,
    /// Whether the run may go on where the sandbox cannot be made in full.
    #[serde(default)]
    pub sandbox: Policy,
    /// The Python version that all parties must have, as in `3.12`.
    pub python: Option<Demand>,
    /// Keys that these parties must have, from the bundle that this session came in.
    #[serde(default)]
    pub keys: BTreeMap<PartyName, PublicKey>,
    /// The memory limit of the program's process, in MiB.
    pub memory: Option<u64>,
    /// The limit of the program's output, in MiB.
    #[serde(default = "output")]
    pub output: u64,
    /// Whether the program's output also goes to the journal, where others may read it.
    #[serde(default)]
    pub journal_output: bool,
}

/// Who may start a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// A person, or a unit that a person started.
    #[default]
    Manual,
    /// Another party of the roster as well.
    OnProposal,
}

impl std::fmt::Display for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Manual => "manual",
            Self::OnProposal => "on-proposal",
        })
    }
}

/// A demanded Python version: major and minor.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Demand(String);

impl Demand {
    /// Whether `version` (as in `3.12.4`) is what is demanded.
    #[must_use]
    pub fn met_by(&self, version: &str) -> bool {
        version.strip_prefix(&self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// Not a Python version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("«{0}» is not a Python version: write it as \"3.12\"")]
pub struct PythonVersionError(String);

impl TryFrom<String> for Demand {
    type Error = PythonVersionError;
    fn try_from(text: String) -> Result<Self, PythonVersionError> {
        let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        match text.split('.').collect::<Vec<_>>()[..] {
            [major, minor] if number(major) && number(minor) => Ok(Self(text)),
            _ => Err(PythonVersionError(text)),
        }
    }
}

impl From<Demand> for String {
    fn from(demand: Demand) -> Self {
        demand.0
    }
}

fn one() -> u32 {
    1
}
fn hour() -> Duration {
    Duration::from_secs(3600)
}
fn deadline() -> Duration {
    Duration::from_secs(600)
}
fn grace() -> Duration {
    Duration::from_secs(30)
}
fn output() -> u64 {
    64
}

impl Session {
    /// A session with every default, to be widened by the caller.
    #[must_use]
    pub fn new(program: PathBuf, parties: Roster) -> Self {
        Self {
            program,
            arguments: Vec::new(),
            parties,
            threshold: None,
            input: None,
            files: Vec::new(),
            options: Vec::new(),
            start: Start::Manual,
            max_runs: one(),
            interval: hour(),
            deadline: deadline(),
            grace: grace(),
            allow_no_privacy: false,
            allow_unknown_mpyc: false,
            sandbox: Policy::Required,
            python: None,
            keys: BTreeMap::new(),
            memory: None,
            output: output(),
            journal_output: false,
        }
    }

    /// MPyC's threshold for this session.
    #[must_use]
    pub fn threshold(&self) -> usize {
        self.threshold.unwrap_or_else(|| self.parties.default_threshold())
    }

    /// Whether MPyC hides secrets as well as it does by default: nothing in `options` weakens that.
    #[must_use]
    pub fn hides(&self) -> bool {
        Masking::of(&self.options).is_ok_and(Masking::hides)
    }

    /// Makes relative paths relative to `base`.
    pub fn resolve(&mut self, base: &Path) {
        let files = self.files.iter_mut();
        for path in [&mut self.program].into_iter().chain(&mut self.input).chain(files) {
            *path = base.join(&path);
        }
    }

    /// Checks that the values go together.
    ///
    /// # Errors
    /// Says what does not, and what to do.
    pub fn check(&self) -> Result<(), SettingsError> {
        let (threshold, parties) = (self.threshold(), self.parties.len());
        if 2 * threshold >= parties {
            let max = self.parties.default_threshold();
            return Err(SettingsError::Threshold { threshold, parties, max });
        }
        if threshold == 0 && !self.allow_no_privacy {
            return Err(SettingsError::NoPrivacy { parties });
        }
        let masking = Masking::of(&self.options)?;
        if !masking.hides() && !self.allow_no_privacy {
            return Err(SettingsError::Masking(masking));
        }
        if self.deadline.is_zero() || self.grace < MIN_GRACE {
            return Err(SettingsError::Times);
        }
        if self.output == 0 || self.memory == Some(0) {
            return Err(SettingsError::Sizes);
        }
        self.check_bounds()?;
        self.check_names()
    }

    /// Nothing is so large that to count with it, or to wait for it, fails later.
    fn check_bounds(&self) -> Result<(), SettingsError> {
        let times = [
            ("deadline", self.deadline, MAX_WAIT),
            ("grace", self.grace, MAX_WAIT),
            ("interval", self.interval, MAX_INTERVAL),
        ];
        if let Some((key, _, most)) = times.into_iter().find(|(_, time, most)| time > most) {
            return Err(SettingsError::TooLong { key, most });
        }
        let sizes = [
            ("output", self.output, MAX_OUTPUT_MIB),
            ("memory", self.memory.unwrap_or_default(), MAX_MEMORY_MIB),
        ];
        if let Some((key, _, most)) = sizes.into_iter().find(|(_, size, most)| size > most) {
            return Err(SettingsError::TooLarge { key, most });
        }
        match self.arguments.iter().position(|argument| argument.contains('\0')) {
            Some(index) => Err(SettingsError::Nul { number: index + 1 }),
            None => Ok(()),
        }
    }

    /// The name under which the program finds `path`, one of its files or itself: the way from the
    /// program's directory where it lies below that, else its file name.
    ///
    /// # Errors
    /// Where it has no name that can be written down.
    pub fn name_of(&self, path: &Path) -> Result<String, SettingsError> {
        let below = |base| path.strip_prefix(base).ok().filter(|name| is_plain(name));
        let name = self.program.parent().and_then(below).or(path.file_name().map(Path::new));
        let unreadable = || SettingsError::FileName { path: path.to_owned() };
        name.and_then(Path::to_str).map(str::to_owned).ok_or_else(unreadable)
    }

    /// Names must differ: all files lie in one place in the sandbox.
    fn check_names(&self) -> Result<(), SettingsError> {
        let mut names = std::collections::BTreeSet::new();
        for path in [&self.program].into_iter().chain(&self.files) {
            let name = self.name_of(path)?;
            if names.contains(&name) {
                return Err(SettingsError::SameName { name });
            }
            names.insert(name);
        }
        if let Some(name) = self.keys.keys().find(|name| self.parties.index_of(name).is_none()) {
            return Err(SettingsError::Key { party: name.clone() });
        }
        self.check_keys(|_| None)
    }

    /// Checks that no two parties have the same key, of which `known` come before those of the session.
    ///
    /// # Errors
    /// Two that have.
    pub fn check_keys(
        &self,
        known: impl Fn(&PartyName) -> Option<PublicKey>,
    ) -> Result<(), SettingsError> {
        let key = |party| known(party).or_else(|| self.keys.get(party).copied());
        let keys = self.parties.iter().filter_map(|party| Some((party, key(party)?)));
        match same_key(keys) {
            Some((first, second)) => Err(SettingsError::SameKey { first, second }),
            None => Ok(()),
        }
    }
}

/// Two parties that have one key.
#[must_use]
pub fn same_key<'a>(
    keys: impl IntoIterator<Item = (&'a PartyName, PublicKey)>,
) -> Option<(PartyName, PartyName)> {
    let mut owners = BTreeMap::new();
    for (party, PublicKey(key)) in keys {
        if let Some(other) = owners.insert(key, party) {
            return Some((other.clone(), party.clone()));
        }
    }
    None
}

/// Whether a path only goes down.
fn is_plain(path: &Path) -> bool {
    path.components().all(|part| matches!(part, std::path::Component::Normal(_)))
}

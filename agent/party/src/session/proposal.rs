//! What of a session travels from one party to the others: what all must have alike, and nothing of
//! the machine it comes from.
//!
//! Private input, paths, the sandbox's policy and who may start a run stay each party's own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::BASE64;
use mpyc_party_core::claims::PublicKey;
use mpyc_party_core::name::PartyName;
use mpyc_party_core::roster::Roster;
use serde::{Deserialize, Serialize};

use super::code::CodeError;
use super::words::visible;
use crate::config::{Demand, Session, SettingsError};

/// The most files, the program among them.
const MAX_FILES: usize = 128;
/// The most directories on the way to a file, itself included.
const MAX_DEPTH: usize = 8;
/// The longest file name in bytes: what file systems take.
const MAX_NAME_BYTES: usize = 255;
/// The most bytes of all arguments and options: what fits the launcher's first packet.
const MAX_ARGUMENT_BYTES: usize = 32 * 1024;

/// The definition of a session as its parties share it; values as in the configuration.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Proposal {
    /// The name of the file to run.
    pub program: String,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// The parties in order.
    pub parties: Roster,
    /// MPyC's threshold.
    pub threshold: usize,
    /// Threshold 0 hides nothing from the other parties; this says that it is meant.
    #[serde(default)]
    pub allow_no_privacy: bool,
    /// Whether MPyC may be another than a known release. Not written where it may not: earlier
    /// versions do not know it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_unknown_mpyc: bool,
    /// Options of MPyC itself.
    #[serde(default)]
    pub options: Vec<String>,
    /// The Python version that all must have.
    pub python: Option<Demand>,
    /// How long to wait for all parties.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// How long an outage may last.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
    /// The memory limit of the program's process, in MiB.
    pub memory: Option<u64>,
    /// The limit of the program's output, in MiB.
    pub output: u64,
    /// The key of each party whose key is known.
    #[serde(default)]
    pub keys: BTreeMap<PartyName, PublicKey>,
}

/// A file that travels along: its text as it is, or any bytes in base64.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Enclosed {
    name: String,
    text: Option<String>,
    base64: Option<String>,
}

/// Why a proposal is not acceptable.
#[derive(Debug, thiserror::Error)]
pub enum ProposalError {
    /// A file cannot be called like that.
    #[error(
        "«{name}» cannot be the name of a file: plain names are wanted, without hidden characters, and no way upwards"
    )]
    FileName {
        /// What it would be called, as far as that can be shown.
        name: String,
    },
    /// Neither text nor base64, or both.
    #[error("the content of «{name}» is unreadable")]
    Content {
        /// The file.
        name: String,
    },
    /// More than [`MAX_FILES`].
    #[error("{0} files are too many: at most {MAX_FILES}")]
    TooManyFiles(usize),
    /// Two files have one name.
    #[error("two files have the same name")]
    SameName,
    /// One file lies below another.
    #[error("«{name}» is a file and a directory")]
    FileAndDirectory {
        /// The one that is both.
        name: String,
    },
    /// Other files lie below the program's directory.
    #[error("the program lies in a directory: others lie below it")]
    ProgramBelow,
    /// Nothing can be run.
    #[error("the program is not among the files")]
    NoProgram,
    /// More than [`MAX_ARGUMENT_BYTES`].
    #[error("arguments and options are longer than {MAX_ARGUMENT_BYTES} bytes")]
    TooLong,
    /// The values do not go together.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A file would not run as it reads.
    #[error(transparent)]
    Code(#[from] CodeError),
}

impl Enclosed {
    /// The file `name` with these bytes.
    #[must_use]
    pub fn new(name: &str, content: &[u8]) -> Self {
        // Carriage returns do not survive in a text that people may open and save.
        let text = std::str::from_utf8(content).ok().filter(|text| !text.contains(['\r', '\0']));
        let base64 = text.is_none().then(|| wrapped(&BASE64.encode(content)));
        Self { name: name.to_owned(), text: text.map(str::to_owned), base64 }
    }

    /// Its name and bytes.
    ///
    /// # Errors
    /// Where the name is not a plain one, or the bytes are not given exactly once.
    pub fn open(&self) -> Result<(&str, Vec<u8>), ProposalError> {
        check_name(&self.name)?;
        let content = match (&self.text, &self.base64) {
            (Some(text), None) => Some(text.clone().into_bytes()),
            (None, Some(base64)) => BASE64.decode(base64.replace('\n', "").as_bytes()).ok(),
            _ => None,
        };
        let damaged = || ProposalError::Content { name: self.name.clone() };
        Ok((&self.name, content.ok_or_else(damaged)?))
    }
}

/// Base64 in lines of a width that every editor and mail program leaves alone.
fn wrapped(base64: &str) -> String {
    let lines = base64.as_bytes().chunks(76).map(String::from_utf8_lossy);
    lines.fold(String::new(), |text, line| text + &line + "\n")
}

/// A name from elsewhere becomes the place of a file here: plain names, from directory to directory
/// downwards, and nothing else.
fn check_name(name: &str) -> Result<(), ProposalError> {
    let parts: Vec<&str> = name.split('/').collect();
    if parts.len() <= MAX_DEPTH && parts.into_iter().all(is_plain) {
        return Ok(());
    }
    let name = visible(name).chars().take(MAX_NAME_BYTES).collect();
    Err(ProposalError::FileName { name })
}

fn is_plain(part: &str) -> bool {
    let shown = visible(part) == part && !part.contains(['\\', '\t']);
    shown && !part.is_empty() && part.len() <= MAX_NAME_BYTES && part != "." && part != ".."
}

impl Proposal {
    /// What of `session` travels, with the keys in `keys`.
    #[must_use]
    pub fn of(session: &Session, keys: BTreeMap<PartyName, PublicKey>) -> Self {
        Self {
            program: session.name_of(&session.program).unwrap_or_default(),
            arguments: session.arguments.clone(),
            parties: session.parties.clone(),
            threshold: session.threshold(),
            allow_no_privacy: session.allow_no_privacy,
            allow_unknown_mpyc: session.allow_unknown_mpyc,
            options: session.options.clone(),
            python: session.python.clone(),
            deadline: session.deadline,
            grace: session.grace,
            memory: session.memory,
            output: session.output,
            keys,
        }
    }

    /// The session to declare here, whose files lie in `directory`, with this party's own `input`.
    /// Everything that does not travel has its default: a person starts it, in the full sandbox.
    #[must_use]
    pub fn session(&self, directory: &Path, files: &[&str], input: Option<PathBuf>) -> Session {
        let others = files.iter().filter(|name| **name != self.program);
        Session {
            arguments: self.arguments.clone(),
            threshold: Some(self.threshold),
            input,
            files: others.map(|name| directory.join(name)).collect(),
            options: self.options.clone(),
            deadline: self.deadline,
            grace: self.grace,
            allow_no_privacy: self.allow_no_privacy,
            allow_unknown_mpyc: self.allow_unknown_mpyc,
            python: self.python.clone(),
            keys: self.keys.clone(),
            memory: self.memory,
            output: self.output,
            ..Session::new(directory.join(&self.program), self.parties.clone())
        }
    }

    /// Checks that the values go together, and that the files called `files` are what it needs.
    ///
    /// # Errors
    /// Says what does not.
    pub fn check(&self, files: &[&str]) -> Result<(), ProposalError> {
        if files.len() > MAX_FILES {
            return Err(ProposalError::TooManyFiles(files.len()));
        }
        let distinct: BTreeSet<&str> = files.iter().copied().collect();
        if distinct.len() != files.len() {
            return Err(ProposalError::SameName);
        }
        let is_above = |name: &&&str| files.iter().any(|f| f.starts_with(&format!("{name}/")));
        if let Some(name) = files.iter().find(is_above) {
            return Err(ProposalError::FileAndDirectory { name: (*name).to_owned() });
        }
        if self.program.contains('/') {
            return Err(ProposalError::ProgramBelow);
        }
        if !files.contains(&self.program.as_str()) {
            return Err(ProposalError::NoProgram);
        }
        let texts = self.arguments.iter().chain(&self.options);
        if texts.map(|text| text.len() + 4).sum::<usize>() > MAX_ARGUMENT_BYTES {
            return Err(ProposalError::TooLong);
        }
        Ok(self.session(Path::new(""), files, None).check()?)
    }

    /// In what `other` differs, each as a person would say it.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        [
            (self.program != other.program, "the program's name"),
            (self.arguments != other.arguments, "the arguments"),
            (self.parties != other.parties, "the roster"),
            (self.threshold != other.threshold, "the threshold"),
            (self.allow_no_privacy != other.allow_no_privacy, "allow-no-privacy"),
            (self.allow_unknown_mpyc != other.allow_unknown_mpyc, "allow-unknown-mpyc"),
            (self.options != other.options, "MPyC's options"),
            (self.python != other.python, "the demanded Python"),
            (self.deadline != other.deadline, "the deadline"),
            (self.grace != other.grace, "the grace time"),
            (self.memory != other.memory, "the memory limit"),
            (self.output != other.output, "the output limit"),
            (self.keys != other.keys, "the keys"),
        ]
        .into_iter()
        .filter_map(|(differs, what)| differs.then_some(what))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ways_downwards_become_files() {
        for good in
            ["a.py", "séance.py", ".hidden", "session.toml", "-x", "data/a.csv", &"x".repeat(255)]
        {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "/etc/passwd",
            "../x",
            "a/../x",
            "a//x",
            "a/",
            "1/2/3/4/5/6/7/8/9",
            "a\\b",
            "a\nb",
            "a\tb",
            "a\0",
            "\u{1b}[2J",
            "a\u{202e}yp.b",
            "a\u{200b}",
            &"x".repeat(256),
        ] {
            let error = check_name(bad).unwrap_err().to_string();
            assert!(!error.contains(['\u{1b}', '\n', '\0', '\u{202e}']), "{error:?}");
        }
    }

    #[test]
    fn any_bytes_travel() {
        for content in ["", "a\n", "a\r\n", "'''\n\"\"\"\\", "\u{1b}\u{202e}é"] {
            let enclosed = Enclosed::new("a", content.as_bytes());
            assert_eq!(enclosed.open().unwrap(), ("a", content.as_bytes().to_vec()));
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(Enclosed::new("a", &all).open().unwrap().1, all);
    }

    #[test]
    fn content_comes_exactly_once() {
        let text = Some("x".to_owned());
        let both = Enclosed { name: "a".into(), text: text.clone(), base64: text };
        let none = Enclosed { name: "a".into(), text: None, base64: None };
        assert!(both.open().is_err() && none.open().is_err());
    }
}

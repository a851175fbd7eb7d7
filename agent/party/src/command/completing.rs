//! What a shell may offer for a word: its completion script asks this program each time, which knows its
//! commands and options, the sessions that are declared, and the parties in them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::Shells;
use clap_complete::{CompleteEnv, Shell};

use super::{Command, Common, NAME};
use crate::config::{Config, Directories};
use crate::identity::Store;
use crate::session::{self, imported};

/// The variable by which a script says which shell asks.
const VARIABLE: &str = "MPYC_PARTY_COMPLETE";
/// The script for Bash. `clap_complete`'s leaves it to Bash to take the candidates apart, which expands
/// patterns in the names of files, and puts these names into the command line without quotes.
const BASH: &str = include_str!("completions.bash");

/// The command line as it is offered, without options that are hidden.
fn offered() -> clap::Command {
    let root = clap::Command::new(NAME).version(env!("CARGO_PKG_VERSION"));
    Command::augment_subcommands(Common::augment_args(root))
}

/// Answers a completion script; none where none asks.
pub(super) fn answer() -> Option<ExitCode> {
    let asked = CompleteEnv::with_factory(offered).var(VARIABLE);
    let directory = std::env::current_dir().ok();
    match asked.try_complete(std::env::args_os(), directory.as_deref()) {
        Ok(false) => None,
        Ok(true) => Some(ExitCode::SUCCESS),
        // A shell in the middle of a line has no place for an error.
        Err(_) => Some(ExitCode::FAILURE),
    }
}

/// The completion script for `shell`.
///
/// # Errors
/// Where the shell is not known.
pub(super) fn script(shell: Shell) -> io::Result<Vec<u8>> {
    if shell == Shell::Bash {
        return Ok(BASH.into());
    }
    let name = shell.to_string();
    let completer = Shells::builtins();
    let completer = completer.completer(&name).ok_or(io::ErrorKind::Unsupported)?;
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, NAME, NAME, NAME, &mut script)?;
    Ok(script)
}

/// The sessions that are declared here.
pub(super) fn sessions() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let names = places().and_then(|(config, dirs)| session::names(&config, &dirs).ok());
        candidates(names.unwrap_or_default())
    })
}

/// The sessions that were imported.
pub(super) fn imported() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let names = places().and_then(|(_, dirs)| imported::names(&dirs).ok());
        candidates(names.unwrap_or_default())
    })
}

/// The other parties that are known here: those of the sessions, and those that are configured.
pub(super) fn parties() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let Some((config, dirs)) = places() else { return Vec::new() };
        let mut names: BTreeSet<_> = config.peers.keys().cloned().collect();
        let declared = session::all(&config, &dirs).unwrap_or_default();
        for definition in declared.into_values().flatten() {
            names.extend(definition.settings.parties.iter().cloned());
        }
        if let Ok(own) = Store::new(&dirs.state).party() {
            names.remove(&own);
        }
        candidates(names)
    })
}

fn candidates(names: impl IntoIterator<Item: ToString>) -> Vec<CompletionCandidate> {
    names.into_iter().map(|name| CompletionCandidate::new(name.to_string())).collect()
}

/// The configuration and the directories that the words of the unfinished command line name.
fn places() -> Option<(Config, Directories)> {
    let words: Vec<OsString> = std::env::args_os().collect();
    let dirs = Directories::find(option(&words, "--config"), option(&words, "--state")).ok()?;
    // What is in a pipe is for the command itself.
    Some((dirs.reload().ok()?, dirs))
}

/// The value of the option `name` in `words`.
fn option(words: &[OsString], name: &str) -> Option<PathBuf> {
    // Bash makes a word of its own of «=».
    let mut words = words.iter().filter(|word| *word != "=");
    while let Some(word) = words.next() {
        if word == name {
            return words.next().map(|word| unabbreviated(Path::new(word)));
        }
        let joined = word.to_str().and_then(|word| word.strip_prefix(name)?.strip_prefix('='));
        if let Some(value) = joined {
            return Some(value.into());
        }
    }
    None
}

/// `path` with the home directory in place of a tilde, which a shell leaves in an unfinished line.
fn unabbreviated(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => path.to_owned(),
    }
}

//! One party of a network, enrolled or about to be.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

use super::{Run, Session, command};
use crate::{Host, LabError};

/// A party: its state, its configuration, and its host where it has one.
pub struct Party {
    name: String,
    directory: PathBuf,
    mark: String,
    head: Mutex<String>,
    sessions: Mutex<BTreeMap<String, String>>,
    host: Option<Host>,
}

impl Party {
    pub(super) fn new(
        name: &str,
        directory: PathBuf,
        mark: String,
        host: Option<Host>,
        port: u16,
    ) -> Result<Self, LabError> {
        let (head, sessions) = (Mutex::new(usual_head(port)), Mutex::default());
        let party = Self { name: name.into(), directory, mark, head, sessions, host };
        party.write_config()?;
        Ok(party)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its host, where it has one.
    #[must_use]
    pub fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    /// Its directory, which holds everything that follows.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.directory.join("config.toml")
    }

    /// Where its runs are kept, in the order in which they began.
    #[must_use]
    pub fn runs(&self) -> Vec<PathBuf> {
        let runs = fs::read_dir(self.state().join("runs")).into_iter().flatten().flatten();
        let mut runs: Vec<PathBuf> = runs.map(|entry| entry.path()).collect();
        runs.sort_by_cached_key(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let sequence = name.rsplit('-').nth(1).and_then(|part| part.strip_prefix('n'));
            (sequence.and_then(|digits| digits.parse::<u64>().ok()).unwrap_or_default(), name)
        });
        runs
    }

    /// The record of its newest run; null if there is none.
    #[must_use]
    pub fn record(&self) -> serde_json::Value {
        let read = |run: PathBuf| fs::read(run.join("record.json")).ok();
        let newest = self.runs().pop().and_then(read).unwrap_or_default();
        serde_json::from_slice(&newest).unwrap_or_default()
    }

    /// `mpyc-party` with this party's configuration and state, on its host.
    #[must_use]
    pub fn command(&self) -> Command {
        command(self.host.as_ref(), &self.mark, &self.state(), &self.config())
    }

    /// Enrols with the token in `text`.
    ///
    /// # Errors
    /// If the program cannot be run; a refusal is in the output.
    pub fn enroll(&self, text: &str) -> Result<Output, LabError> {
        let mut child = self.command();
        child.arg("enroll").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().map_err(LabError::io("cannot run mpyc-party"))?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that ends early says why.
            let _ = stdin.write_all(text.as_bytes());
        }
        child.wait_with_output().map_err(LabError::io("cannot wait for mpyc-party"))
    }

    /// Replaces what the configuration says apart from sessions.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn configure(&self, head: &str) -> Result<(), LabError> {
        head.clone_into(&mut self.head.lock().unwrap_or_else(PoisonError::into_inner));
        self.write_config()
    }

    /// Uses this interpreter.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn use_python(&self, interpreter: &Path) -> Result<(), LabError> {
        let python = format!("[python]\ninterpreter = {interpreter:?}\n");
        self.configure(&format!("{QUIET}[listen]\nport = 0\n{python}"))
    }

    /// Looks for the others on the local network of its host.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn look_nearby(&self) -> Result<(), LabError> {
        let head = usual_head(0);
        self.configure(head.strip_prefix(QUIET).unwrap_or(&head))
    }

    /// Declares `session`, or declares it anew.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn declare(&self, session: &Session) -> Result<(), LabError> {
        let text = session.write(&self.directory.join("programs"))?;
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.insert(session.name.clone(), text);
        drop(sessions);
        self.write_config()
    }

    fn write_config(&self) -> Result<(), LabError> {
        let mut text = self.head.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        text.extend(sessions.values().map(String::as_str));
        fs::write(self.config(), text).map_err(LabError::io("cannot write the configuration"))
    }

    /// Starts the session `name`.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn run(&self, name: &str) -> Result<Run, LabError> {
        let mut command = self.command();
        command.args(["session", "run", name, "--json", "-vv"]);
        self.run_by(command)
    }

    /// Starts `command`, which comes to run a session with events in JSON.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn run_by(&self, command: Command) -> Result<Run, LabError> {
        Run::start(&self.name, command)
    }
}

/// No looking around on this machine's real network.
const QUIET: &str = "network.local-discovery = false\n";

/// This port, no looking around on this machine's real network, and the tests' interpreter where
/// one is set, else the private environment.
fn usual_head(port: u16) -> String {
    let python = std::env::var_os("MPYC_PARTY_TEST_PYTHON");
    let python = python.map(|python| format!("[python]\ninterpreter = {python:?}\n"));
    format!("{QUIET}[listen]\nport = {port}\n{}", python.unwrap_or_default())
}

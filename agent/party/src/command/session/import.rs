//! `mpyc-party session import`.

use std::io::{self, BufRead, BufReader, ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use mpyc_party_core::name::PartyName;
use mpyc_party_transport::now;
use serde::Serialize;
use serde_json::json;

use super::super::pager::{self, Screen};
use super::super::{Common, Outcome, output};
use super::changes::Changes;
use super::look;
use crate::config::{Config, Directories, files};
use crate::identity::Store;
use crate::runner::engine::mpyc::python::Python;
use crate::session::bundle::{self, BundleError, Opened};
use crate::session::consent::{Consent, text};
use crate::session::imported;

#[derive(Debug, Args)]
#[command(after_help = "\
Shows what the session would run, with whom, and who could learn what; adds it only if you agree.
Of everything that Python could import or run, each line is shown, page by page. Other files are
data: --view shows one of them, and adds nothing.
With --json nothing is asked: all of that is shown as a value, and the session is added only with
--yes. Where a session of that name is here already, what changes is shown first («changes» in JSON).

Examples:
  mpyc-party session import demo.bundle
  mpyc-party session import vote.bundle --input my-vote.txt
  mpyc-party session import demo.bundle --view cases.csv
  mpyc-party session import demo.bundle --json")]
pub(in crate::command) struct Import {
    /// The bundle, or - for standard input
    file: PathBuf,
    /// This party's private input for the program; it stays on this machine
    #[arg(long, value_name = "PATH")]
    input: Option<PathBuf>,
    /// Agree without being asked
    #[arg(long, conflicts_with = "view")]
    yes: bool,
    /// Show this file of the bundle, and add nothing
    #[arg(long, value_name = "NAME")]
    view: Option<String>,
    /// Replace a different session of the same name
    #[arg(long)]
    replace: bool,
}

/// Why nobody can be asked.
const NO_TERMINAL: &str =
    "nothing was added: there is no terminal to ask on. Look at it, then repeat with --yes";

/// What became of the session of a bundle.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// It was shown, and nothing was added.
    Proposed,
    /// It was added.
    Added,
    /// It was here already.
    Unchanged,
}

impl Import {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let (dirs, config) = common.load()?;
        let (identity, me) = Store::new(&dirs.state).load_party()?;
        let bundle = self.read()?;
        let opened = bundle::open(&bundle, identity.root(), now())?;
        let pinned = |name: &PartyName| config.peers.get(name).and_then(|peer| peer.key);
        opened.check_for(&me, identity.claims().key, pinned)?;
        if let Some(name) = &self.view {
            return look::show(common, &opened, name);
        }
        let name = &opened.bundle.session;
        if let Some(input) = &self.input {
            // Every run reads it anew, so it has to last.
            files::open(input)?;
        }
        let python = python_here(&config, &dirs, &opened);
        let consent = Consent::of(&opened, &me, self.input.as_deref(), python.as_deref());
        let changes = if is_here(&config, &dirs, &opened)? {
            let changes = Changes::of(&dirs, &identity, &opened, self.input.as_deref());
            let all = changes.all();
            if all.is_empty() {
                self.tell(common, &consent, (State::Unchanged, &changes))?;
                return Ok(ExitCode::SUCCESS);
            }
            if !self.replace && !changes.session.is_empty() {
                bail!(
                    "there is another session «{name}» here already. What would change: {}. Repeat with --replace to replace it",
                    all.join(", ")
                );
            }
            output::warn(format!(
                "this replaces the session «{name}»; what changes: {}",
                all.join(", ")
            ));
            changes
        } else {
            Changes::default()
        };
        if common.json && !self.yes {
            self.tell(common, &consent, (State::Proposed, &changes))?;
            output::bad("nothing was added: repeat with --yes to add it");
            return Ok(ExitCode::FAILURE);
        }
        if !self.agreed(common, &consent, &changes)? {
            output::bad("nothing was added");
            return Ok(ExitCode::FAILURE);
        }
        imported::store(&dirs, &opened, &bundle, self.input.as_deref())?;
        self.tell(common, &consent, (State::Added, &changes))?;
        Ok(ExitCode::SUCCESS)
    }

    fn read(&self) -> anyhow::Result<Vec<u8>> {
        let too_large = |error: &io::Error| error.kind() == ErrorKind::FileTooLarge;
        let read = if self.reads_stdin() {
            match files::read_stdin(bundle::MAX_BYTES) {
                Err(error) if too_large(&error) => return Err(BundleError::TooLarge.into()),
                read => read.context("the bundle on standard input")?,
            }
        } else {
            match files::read_named(&self.file, bundle::MAX_BYTES) {
                Err(error) if too_large(&error.source) => return Err(BundleError::TooLarge.into()),
                read => read?.bytes,
            }
        };
        Ok(read.to_vec())
    }

    fn reads_stdin(&self) -> bool {
        self.file == Path::new("-")
    }

    /// Shows all that there is to agree to, and asks the person at the terminal once they have seen its
    /// end; no answer is a no.
    fn agreed(
        &self,
        common: &Common,
        consent: &Consent,
        changes: &Changes,
    ) -> anyhow::Result<bool> {
        if common.json {
            return Ok(self.yes);
        }
        let screen = Screen::find();
        let columns = screen.map_or(text::DEFAULT_COLUMNS, |screen| screen.columns);
        let text = changes.code_in_rows(columns) + &text::render(consent, columns);
        let (Some(screen), false) = (screen, self.yes) else {
            output::line(text);
            if self.yes {
                return Ok(true);
            }
            bail!(NO_TERMINAL);
        };
        let mut answers: Box<dyn BufRead> = if self.reads_stdin() {
            Box::new(BufReader::new(files::open_terminal().context(NO_TERMINAL)?))
        } else if io::stdin().is_terminal() {
            Box::new(io::stdin().lock())
        } else {
            output::line(text);
            bail!(NO_TERMINAL);
        };
        let Consent { session, from, .. } = consent;
        let question = format!("Add the session «{session}» from {from}? [y/N] ");
        if !screen.show(&text, &question, &mut answers)? {
            return Ok(false);
        }
        let answer = pager::ask(&question, &mut answers)?;
        Ok(matches!(answer.as_deref(), Some("y" | "yes")))
    }

    fn tell(
        &self,
        common: &Common,
        consent: &Consent,
        (state, changes): (State, &Changes),
    ) -> anyhow::Result<()> {
        let name = &consent.session;
        if common.json {
            output::json(&json!({
                "session": name, "from": consent.from, "key": consent.key, "state": state,
                "input": self.input, "consent": consent,
                "changes": changes.all(), "changed_code": changes.code,
            }))?;
            return Ok(());
        }
        match state {
            State::Added => {
                output::good(format!("session {name} is added: mpyc-party session run {name}"));
            }
            State::Unchanged => {
                output::good(format!(
                    "session {name} is here already, and the same: nothing to do"
                ));
            }
            State::Proposed => {}
        }
        Ok(())
    }
}

/// The version of the Python that would run it, where the session demands one; none where there is none
/// yet, or it cannot be found.
fn python_here(config: &Config, dirs: &Directories, opened: &Opened) -> Option<String> {
    opened.bundle.proposal.python.as_ref()?;
    let python = Python::new(config.python.interpreter.clone(), &dirs.cache);
    Some(python.find().ok()??.version)
}

/// Whether a session of that name was imported before.
fn is_here(config: &Config, dirs: &Directories, opened: &Opened) -> anyhow::Result<bool> {
    let name = &opened.bundle.session;
    if config.declares(name) {
        bail!(
            "session «{name}» is declared in the configuration, which comes first: remove [sessions.{name}] there to import it"
        );
    }
    Ok(files::metadata(&imported::directory(dirs, name))?.is_some())
}

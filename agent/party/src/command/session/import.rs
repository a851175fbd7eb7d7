//! `mpyc-party session import`.

use std::io::{self, BufRead, BufReader, ErrorKind, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use mpyc_party_core::name::PartyName;
use mpyc_party_transport::{Identity, now};
use serde::Serialize;
use serde_json::json;

use super::super::{Common, Outcome, output};
use crate::config::{Config, Directories, files};
use crate::identity::Store;
use crate::session::bundle::{self, BundleError, Opened};
use crate::session::consent::{Consent, text};
use crate::session::imported;

#[derive(Debug, Args)]
#[command(after_help = "\
Shows what the session would run, with whom, and who could learn what; adds it only if you agree.
With --json nothing is asked: all of that is shown as a value, and the session is added only with
--yes.

Examples:
  mpyc-party session import demo.bundle
  mpyc-party session import vote.bundle --input my-vote.txt
  mpyc-party session import demo.bundle --json")]
pub(in crate::command) struct Import {
    /// The bundle, or - for standard input
    file: PathBuf,
    /// This party's private input for the program; it stays on this machine
    #[arg(long, value_name = "PATH")]
    input: Option<PathBuf>,
    /// Agree without being asked
    #[arg(long)]
    yes: bool,
    /// Replace a different session of the same name
    #[arg(long)]
    replace: bool,
}

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

/// How the session of a bundle relates to what is there already.
enum Before {
    Nothing,
    Same,
    Different(Vec<String>),
}

impl Import {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let (dirs, config) = common.load()?;
        let (identity, me) = Store::new(&dirs.state).load_party()?;
        let bundle = self.read()?;
        let opened = bundle::open(&bundle, identity.root(), now())?;
        let pinned = |name: &PartyName| config.peers.get(name).and_then(|peer| peer.key);
        opened.check_for(&me, identity.claims().key, pinned)?;
        let name = &opened.bundle.session;
        if let Some(input) = &self.input {
            // Every run reads it anew, so it has to last.
            files::open(input)?;
        }
        let consent = Consent::of(&opened, &me, self.input.as_deref());
        match before(&config, &dirs, &identity, &opened)? {
            Before::Same if self.input.is_none() => {
                self.tell(common, &consent, State::Unchanged)?;
                return Ok(ExitCode::SUCCESS);
            }
            Before::Nothing | Before::Same => {}
            Before::Different(changes) => {
                let changes = changes.join(", ");
                if !self.replace {
                    bail!(
                        "there is another session «{name}» here already. What would change: {changes}. Repeat with --replace to replace it"
                    );
                }
                output::warn(format!(
                    "this replaces the session «{name}»; what changes: {changes}"
                ));
            }
        }
        if common.json && !self.yes {
            self.tell(common, &consent, State::Proposed)?;
            output::bad("nothing was added: repeat with --yes to add it");
            return Ok(ExitCode::FAILURE);
        }
        if !common.json {
            output::line(text::render(&consent));
        }
        if !self.yes && !self.agreed(&consent)? {
            output::bad("nothing was added");
            return Ok(ExitCode::FAILURE);
        }
        imported::store(&dirs, &opened, &bundle, self.input.as_deref())?;
        self.tell(common, &consent, State::Added)?;
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

    /// Asks the person at the terminal; no answer is a no.
    fn agreed(&self, consent: &Consent) -> anyhow::Result<bool> {
        let refused =
            "nothing was added: there is no terminal to ask on. Look at it, then repeat with --yes";
        let mut answers: Box<dyn BufRead> = if self.reads_stdin() {
            Box::new(BufReader::new(files::open_terminal().context(refused)?))
        } else if std::io::stdin().is_terminal() {
            Box::new(std::io::stdin().lock())
        } else {
            bail!(refused);
        };
        let Consent { session, from, .. } = consent;
        output::ask(format!("Add the session «{session}» from {from}? [y/N] "));
        let mut answer = String::new();
        answers.by_ref().take(64).read_line(&mut answer)?;
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }

    fn tell(&self, common: &Common, consent: &Consent, state: State) -> anyhow::Result<()> {
        let name = &consent.session;
        if common.json {
            output::json(&json!({
                "session": name, "from": consent.from, "key": consent.key, "state": state,
                "input": self.input, "consent": consent,
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

/// What there is of that name.
fn before(
    config: &Config,
    dirs: &Directories,
    identity: &Identity,
    opened: &Opened,
) -> anyhow::Result<Before> {
    let name = &opened.bundle.session;
    if config.sessions.contains_key(name) {
        bail!(
            "session «{name}» is declared in the configuration, which comes first: remove [sessions.{name}] there to import it"
        );
    }
    if files::metadata(&imported::directory(dirs, name))?.is_none() {
        return Ok(Before::Nothing);
    }
    let changes = match imported::origin(dirs, name, identity.root()) {
        Ok(current) => current.differences(opened),
        Err(error) => vec![format!("everything (the one here cannot be read: {error})")],
    };
    Ok(if changes.is_empty() { Before::Same } else { Before::Different(changes) })
}

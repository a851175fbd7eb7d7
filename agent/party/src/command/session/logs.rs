//! `mpyc-party session logs`.

use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use mpyc_party_core::name::SessionName;
use serde_json::json;

use super::super::terminal::{self, Stream};
use super::super::{Common, Outcome, completing, output, style};
use super::runs;
use crate::config::files;
use crate::runner::view::Channel;
use crate::session::{self, words::printable};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mpyc-party session logs demo             the output of the last run
  mpyc-party session logs demo --run 2     that of the second run, as session show numbers them
  mpyc-party session logs demo --log       the log of the last run")]
pub(in crate::command) struct Logs {
    /// The session
    #[arg(add = completing::sessions())]
    name: SessionName,
    /// The run with this number [default: the last one]
    #[arg(long, value_name = "N", conflicts_with = "last")]
    run: Option<usize>,
    /// The last run
    #[arg(long)]
    last: bool,
    /// The log (what went to standard error) instead of the output
    #[arg(long)]
    log: bool,
}

impl Logs {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let name = &self.name;
        let dirs = common.dirs()?;
        let mut runs = runs::of(&dirs, name)?;
        let count = runs.len();
        let run = match self.run {
            None => runs.pop(),
            Some(number) => runs.into_iter().find(|run| run.number == number),
        };
        let Some(run) = run else {
            if count == 0 {
                // That there is no such session says more.
                session::find(&dirs.load()?, &dirs, name)?;
                bail!(
                    "no run of session «{name}» is on record: mpyc-party session list shows all sessions, and how their last runs ended"
                );
            }
            bail!("there is no such run of session «{name}»: they are numbered from 1 to {count}");
        };
        let channel = if self.log { Channel::Log } else { Channel::Output };
        let path = run.directory.join(channel.file());
        if common.json {
            let mut lines = Vec::new();
            read(&path, |line| {
                lines.push(line);
                true
            })?;
            let channel = if self.log { "log" } else { "output" };
            output::json(&json!({"run": run.json(), "channel": channel, "lines": lines}))?;
        } else {
            output::step(format!("run {}, {}: {}", run.number, run.started(), run.verdict()));
            let is_mixed = terminal::output_is_mixed();
            read(&path, |line| {
                match is_mixed {
                    true => terminal::print_marked(Stream::Output, style::of_program(&line)),
                    false => output::line(line),
                }
                terminal::is_open()
            })?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Gives each line of the file, if there is one, without anything that commands a terminal, as long
/// as more are wanted. The lines were stripped when they were kept; whoever changed the file since
/// may not have.
fn read(path: &Path, mut give: impl FnMut(String) -> bool) -> anyhow::Result<()> {
    let file = match files::open(path) {
        Err(error) if error.source.kind() == ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let (mut reader, mut line) = (BufReader::new(file), Vec::new());
    while reader.read_until(b'\n', &mut line).with_context(|| path.display().to_string())? > 0 {
        if !give(printable(&line)) {
            break;
        }
        line.clear();
    }
    Ok(())
}

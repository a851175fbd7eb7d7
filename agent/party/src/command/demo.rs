//! `mpyc-party demo`: everything on one machine, and nothing of it pretended.
//!
//! The hub and each party are processes of their own with state directories of their own; they
//! enrol with real tokens, find each other at the hub and run MPyC in real sandboxes. This process
//! only starts them, shows what they report, and sees to it that none is left.

mod crew;
mod show;
mod site;

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;

use clap::Args;
use tokio::sync::mpsc;

use super::{Common, Outcome, python, runtime, stop, terminal};
use crate::runner::engine::mpyc::python::Python;
use crew::Crew;
use show::Show;
use site::Site;

#[derive(Debug, Args)]
#[command(after_help = "\
The demo needs no root and changes nothing outside the state and cache directories. The first time,
it downloads a private Python environment, unless an interpreter is configured.

Examples:
  mpyc-party demo
  mpyc-party demo --parties 5
  mpyc-party demo --program programs/auction.py -- --example")]
pub(super) struct Demo {
    /// How many parties take part
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(2..=26))]
    parties: u16,
    /// The MPyC program to run [default: secret santa]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// A file that the program reads or imports; may be repeated
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// An option of MPyC itself, as in --option=--no-prss; may be repeated
    #[arg(long = "option", value_name = "OPTION")]
    options: Vec<String>,
    /// The threshold [default: the largest with an honest majority]
    #[arg(long, value_name = "T")]
    threshold: Option<usize>,
    /// Arguments of the program
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<String>,
}

impl Demo {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let (dirs, config) = common.load()?;
        let site = Site::make(&dirs, &config, &self)?;
        terminal::start();
        python::prepare(&Python::new(config.python.interpreter, &dirs.cache))?;
        let mut show = Show::new(common.json, &site);
        runtime()?.block_on(async {
            let mut crew = Crew::new(&dirs);
            let completed = tokio::select! {
                completed = play(&site, &mut crew, &mut show) => completed?,
                () = stop::asked() => false,
            };
            crew.dismiss().await?;
            show.end(completed);
            Ok(if completed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        })
    }
}

/// From nothing to the end of the run; whether all parties completed.
async fn play(site: &Site, crew: &mut Crew, show: &mut Show) -> anyhow::Result<bool> {
    crew.start_hub(site).await?;
    show.step(None, "the hub serves");
    for name in site.parties() {
        crew.enrol(site, name).await?;
        show.step(Some(name), "enrolled with a token of its own");
    }
    let (events, mut reported) = mpsc::channel(256);
    for name in site.parties() {
        crew.start_party(site, name, events.clone())?;
    }
    drop(events);
    let shown = async {
        while let Some((name, event)) = reported.recv().await {
            // Meanwhile the parties keep what is not shown yet in their records.
            terminal::room().await;
            show.event(&name, &event);
        }
    };
    let ended = crew.all_completed();
    let (mut shown, mut ended) = (pin!(shown), pin!(ended));
    tokio::select! {
        () = &mut shown => ended.await,
        completed = &mut ended => {
            terminal::while_read(shown).await;
            completed
        }
    }
}

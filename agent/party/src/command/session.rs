//! `mpyc-party session`.

mod changes;
mod check;
mod export;
mod import;
mod list;
mod logs;
mod look;
mod remove;
mod run;
pub(super) mod runs;
mod show;

use clap::Subcommand;
use mpyc_party_core::name::SessionName;

use super::{Common, Outcome, completing};

#[derive(Debug, Subcommand)]
pub(super) enum Session {
    /// Meet the other parties and run a session
    Run(run::Run),
    /// Check everything without running it: what is missing here, who is there, what differs
    Check(check::Check),
    /// List the sessions that are declared here
    List,
    /// Show what a session is, and how its runs ended
    #[command(after_help = "Example: mpyc-party session show demo")]
    Show {
        /// The session
        #[arg(add = completing::sessions())]
        name: SessionName,
    },
    /// Print what the program wrote in a run
    Logs(logs::Logs),
    /// Export a session to a file for the other parties
    Export(export::Export),
    /// Show a session from another party, and add it on consent
    Import(import::Import),
    /// Remove an imported session
    Remove {
        /// The session
        #[arg(add = completing::imported())]
        name: SessionName,
    },
}

impl Session {
    pub(super) fn run(self, common: &Common) -> Outcome {
        match self {
            Self::Run(run) => run.run(common),
            Self::Check(check) => check.run(common),
            Self::List => list::list(common),
            Self::Show { name } => show::show(common, &name),
            Self::Logs(logs) => logs.run(common),
            Self::Export(export) => export.run(common),
            Self::Import(import) => import.run(common),
            Self::Remove { name } => remove::remove(common, &name),
        }
    }
}

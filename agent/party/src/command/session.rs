//! `mpyc-party session`.

mod run;

use clap::Subcommand;
use mpyc_party_core::name::SessionName;

use super::{Common, Outcome};

/// Sessions
#[derive(Debug, Subcommand)]
pub(super) enum Session {
    /// Meet the other parties and run a session
    #[command(after_help = "Example: mpyc-party session run demo")]
    Run {
        /// The session
        name: SessionName,
    },
}

impl Session {
    pub(super) fn run(self, common: &Common) -> Outcome {
        match self {
            Self::Run { name } => run::run(common, &name),
        }
    }
}

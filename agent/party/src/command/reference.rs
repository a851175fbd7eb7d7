//! Shell completions and manual pages, generated from the command line itself.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Outcome, output};

/// Print a completion script
#[derive(Debug, Args)]
#[command(
    after_help = "Example: mpyc-party completions bash > ~/.local/share/bash-completion/completions/mpyc-party"
)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "mpyc-party", &mut script);
        output::line(String::from_utf8_lossy(&script));
        Ok(ExitCode::SUCCESS)
    }
}

/// Write the manual pages
#[derive(Debug, Args)]
pub(super) struct Man {
    /// The directory, which must be there
    directory: PathBuf,
}

impl Man {
    pub(super) fn run(self) -> Outcome {
        clap_mangen::generate_to(Cli::command(), self.directory)?;
        Ok(ExitCode::SUCCESS)
    }
}

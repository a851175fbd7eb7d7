//! Shell completions and manual pages, generated from the command line itself.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_mangen::roff::{Roff, roman};

use super::{Cli, Outcome, completing, output};
use crate::config::files;

#[derive(Debug, Args)]
#[command(after_help = "\
The script asks mpyc-party for what it offers, which has to be in the PATH: commands, options, the
sessions that are declared, and the parties in them.

Example: mpyc-party completions bash > ~/.local/share/bash-completion/completions/mpyc-party")]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Outcome {
        let script = completing::script(self.shell)?;
        output::line(String::from_utf8_lossy(&script));
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Args)]
pub(super) struct Man {
    /// The directory, which must exist
    directory: PathBuf,
}

impl Man {
    pub(super) fn run(self) -> Outcome {
        if !self.directory.is_dir() {
            let directory = self.directory.display();
            bail!("there is no directory {directory}: make it with mkdir -p {directory}");
        }
        let mut all = Cli::command().disable_help_subcommand(true);
        all.build();
        let mut commands = vec![all];
        while let Some(command) = commands.pop() {
            commands.extend(command.get_subcommands().filter(|c| !c.is_hide_set()).cloned());
            let page = clap_mangen::Man::new(command.clone())
                .source(concat!("mpyc-party ", env!("CARGO_PKG_VERSION")))
                .manual("mpyc-party");
            let path = self.directory.join(page.get_filename());
            files::write_public(&path, &write(&page, &command)?)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A page: what clap_mangen makes of the command, but its last words as in the help, where examples
/// keep their lines.
fn write(page: &clap_mangen::Man, command: &clap::Command) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if command.has_subcommands() {
        page.render_subcommands_section(&mut text)?;
    }
    if let Some(last) = command.get_after_help() {
        notes(&last.to_string()).to_writer(&mut text)?;
    }
    Ok(text)
}

fn notes(text: &str) -> Roff {
    let mut page = Roff::new();
    page.control("SH", ["NOTES"]);
    for paragraph in text.split("\n\n") {
        page.control("PP", []);
        let kept = paragraph.contains("\n  ");
        if kept {
            page.control("nf", []);
        }
        for line in paragraph.lines() {
            page.text([roman(line)]);
        }
        if kept {
            page.control("fi", []);
        }
    }
    page
}

//! `mpyc-party config`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::{Common, Outcome, output};
use crate::config::{Config, ConfigError, Directories, writers};
use crate::session;

#[derive(Debug, Subcommand)]
pub(super) enum Settings {
    /// Check a configuration, and the files that its sessions name, and do nothing else
    #[command(after_help = "\
Exit status: 0 all is in order, 2 something is not. Everything that is wrong with sessions is told.

Examples:
  mpyc-party config check
  mpyc-party config check ./config.toml --without-files")]
    Check {
        /// The file [default: the one that would be used]
        file: Option<PathBuf>,
        /// Do not look at the files that sessions name: the configuration is for another machine
        #[arg(long)]
        without_files: bool,
    },
    /// Print the effective configuration, including the defaults
    Show,
}

impl Settings {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let dirs = common.dirs()?;
        match self {
            Self::Check { file, without_files } => check(common, file, !without_files, &dirs),
            Self::Show => show(common, &dirs.load()?),
        }
    }
}

fn check(common: &Common, file: Option<PathBuf>, with_files: bool, dirs: &Directories) -> Outcome {
    let (file, config) = match (file, &dirs.config) {
        (Some(file), _) => (file.clone(), Config::load_named(&file)?),
        (None, Some(file)) => (file.clone(), dirs.load()?),
        (None, None) => return Err(ConfigError::Nothing.into()),
    };
    config.check_for(&common.stack, &file)?;
    let mut problems: Vec<_> = config.broken.values().map(ToString::to_string).collect();
    if with_files {
        problems.extend(unreadable_files(&config));
    }
    if !problems.is_empty() {
        return Err(ConfigError::Sessions { path: file, problems }.into());
    }
    tell_writers(&config, &file);
    if common.json {
        let sessions: Vec<_> = config.sessions.keys().collect();
        output::json(&json!({"file": file, "sessions": sessions}))?;
        return Ok(ExitCode::SUCCESS);
    }
    let sessions = config.sessions.len();
    output::good(format!("{} is in order; sessions: {sessions}", file.display()));
    Ok(ExitCode::SUCCESS)
}

fn show(common: &Common, config: &Config) -> Outcome {
    if common.json {
        let mut value = serde_json::to_value(config)?;
        if !config.broken.is_empty() {
            let told = config.broken.iter().map(|(name, why)| (name.clone(), why.to_string()));
            value["broken"] = json!(told.collect::<BTreeMap<_, _>>());
        }
        output::json(&value)?;
        return Ok(ExitCode::SUCCESS);
    }
    for why in config.broken.values() {
        output::warn(format!("a session is left out: {why}"));
    }
    output::line(config.to_toml()?);
    Ok(ExitCode::SUCCESS)
}

/// The files of sessions that cannot be read, each with its session and role.
fn unreadable_files(config: &Config) -> impl Iterator<Item = String> {
    config.sessions.iter().flat_map(|(name, settings)| {
        let unreadable = session::unreadable(settings).into_iter();
        unreadable.map(move |(role, error)| format!("[sessions.{name}]: the {role} {error}"))
    })
}

/// Warns of what others can change. What cannot be looked at as this user may be there for another.
fn tell_writers(config: &Config, file: &Path) {
    let sessions = config.sessions.values().map(writers::of_session);
    let all = [writers::of_config(config, Some(file))].into_iter().chain(sessions);
    for exposed in all.flatten().flatten() {
        output::warn(format!("{exposed}: {}", exposed.remedy()));
    }
}

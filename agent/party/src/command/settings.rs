//! `mpyc-party config`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::{Common, Outcome, output};
use crate::config::{Config, ConfigError, writers};

#[derive(Debug, Subcommand)]
pub(super) enum Settings {
    /// Check a configuration and do nothing else
    #[command(after_help = "Example: mpyc-party config check ./config.toml")]
    Check {
        /// The file [default: the one that would be used]
        file: Option<PathBuf>,
    },
    /// Print the effective configuration, including the defaults
    Show,
}

impl Settings {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let dirs = common.dirs()?;
        match self {
            Self::Check { file } => {
                let (file, config) = match (file, &dirs.config) {
                    (Some(file), _) => (file.clone(), Config::load_named(&file)?),
                    (None, Some(file)) => (file.clone(), dirs.load()?),
                    (None, None) => return Err(ConfigError::Nothing.into()),
                };
                config.check_for(&common.stack, &file)?;
                tell_writers(&config, &file);
                let sessions = config.sessions.len();
                if common.json {
                    let sessions: Vec<_> = config.sessions.keys().collect();
                    output::json(&json!({"file": file, "sessions": sessions}))?;
                    return Ok(ExitCode::SUCCESS);
                }
                output::good(format!("{} is in order; sessions: {sessions}", file.display()));
            }
            Self::Show => {
                let config = dirs.load()?;
                if common.json {
                    output::json(&config)?;
                } else {
                    output::line(config.to_toml()?);
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Warns of what others can change. What cannot be looked at as this user may be there for another.
fn tell_writers(config: &Config, file: &Path) {
    let sessions = config.sessions.values().map(writers::of_session);
    let all = [writers::of_config(config, Some(file))].into_iter().chain(sessions);
    for exposed in all.flatten().flatten() {
        output::warn(format!("{exposed}: {}", exposed.remedy()));
    }
}

//! `mpyc-party session remove`.

use std::process::ExitCode;

use anyhow::bail;
use mpyc_party_core::name::SessionName;

use super::super::{Common, Outcome, output};
use crate::config::files;
use crate::session::{self, imported};

/// Removes the imported session `name`.
pub(super) fn remove(common: &Common, name: &SessionName) -> Outcome {
    let (dirs, config) = common.load()?;
    if !files::is_dir(&imported::directory(&dirs, name))? {
        if config.declares(name) {
            bail!(
                "session «{name}» is declared in the configuration: remove [sessions.{name}] there"
            );
        }
        return Err(session::unknown(&config, &dirs, name)?.into());
    }
    imported::remove(&dirs, name)?;
    output::good(format!("session {name} is removed; the records of its runs stay"));
    Ok(ExitCode::SUCCESS)
}

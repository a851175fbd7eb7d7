//! `mpyc-party enroll`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use zeroize::Zeroizing;

use super::{Common, Outcome, no_dumps, output, runtime};
use crate::config::files;
use crate::identity::Store;

/// Longest token in bytes.
const LONGEST_TOKEN: u64 = 16 * 1024;

#[derive(Debug, Args)]
#[command(after_help = "\
Give the token in a file, on standard input or at the prompt, never on the command line, where
other users of this machine could read it.

Examples:
  mpyc-party enroll                        asks for the token
  mpyc-party enroll --token-file token     reads it from a file
  ssh ca mpyc-party ca token --name alice --hub ca:4747 | mpyc-party enroll")]
pub(super) struct Enroll {
    /// Read the token from this file
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Enroll {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let store = Store::new(&common.dirs()?.state);
        no_dumps()?;
        let token = self.token()?;
        let identity = runtime()?.block_on(store.enrol(token.trim()))?;
        let claims = identity.claims();
        if common.json {
            output::json(&serde_json::json!({
                "network": claims.network, "role": claims.role.to_string(),
                "address": claims.address, "key": claims.key, "expires": claims.not_after,
            }))?;
        } else {
            output::good(format!(
                "enrolled as {} in network {}, overlay address {}",
                claims.role, claims.network, claims.address
            ));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn token(&self) -> anyhow::Result<Zeroizing<String>> {
        let bytes = match &self.token_file {
            Some(path) => files::read_named(path, LONGEST_TOKEN)?.bytes,
            None if std::io::stdin().is_terminal() => {
                let token = rpassword::prompt_password("Token: ");
                return Ok(Zeroizing::new(token.context("the token cannot be read")?));
            }
            None => files::read_stdin(LONGEST_TOKEN).context("the token on standard input")?,
        };
        let text = std::str::from_utf8(&bytes).context("the token is not text: copy it again")?;
        Ok(Zeroizing::new(text.to_owned()))
    }
}

//! A run up to the point where the others would be needed: the engine is loaded in its sandbox, says
//! what it is, and is ended again.

use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use mpyc_party_core::roster::PeerIndex;
use mpyc_party_sandbox::Sandboxed;
use tokio::time::timeout;

use super::engine::{self, Launcher, Order, Profile, Report};
use crate::session::words::printable;
use crate::session::{Copied, Definition};

/// How long loading may take: a first time on a small machine reads from a slow card.
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How much of what it wrote last is looked at.
const MAX_LOG_BYTES: u64 = 16 * 1024;

/// Why an engine cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum DryRunError {
    /// The launcher says why.
    #[error("{0}")]
    Refused(String),
    /// It said something else than what it is.
    #[error("the launcher did not say what it is")]
    OutOfTurn,
    /// Its process ended.
    #[error("{engine} ended: {said}")]
    Ended {
        /// The engine.
        engine: &'static str,
        /// The last line that it wrote.
        said: String,
    },
    /// What it said is no report.
    #[error("the launcher said something unreadable: {0}")]
    Unreadable(#[source] io::Error),
    /// It said nothing in time.
    #[error("{engine} was not ready within {} s", LOAD_TIMEOUT.as_secs())]
    Timeout {
        /// The engine.
        engine: &'static str,
    },
}

/// Loads the engine in `sandboxed` as the party `me` would; nothing is left running.
///
/// # Errors
/// Why it cannot be loaded.
pub async fn dry_run(
    sandboxed: Sandboxed,
    definition: &Definition,
    copied: &Copied,
    me: PeerIndex,
) -> Result<Profile, DryRunError> {
    let engine = engine::of(definition);
    let Sandboxed { control, stderr, stdout: _stdout, stdin: _stdin, process, .. } = sandboxed;
    let conversation = async {
        let mut launcher = Launcher::new(control, engine.converse(definition, copied, me))?;
        launcher.send(Order::Prepare, None).await?;
        launcher.next().await
    };
    let answer = timeout(LOAD_TIMEOUT, conversation).await;
    drop(process);
    match answer {
        Ok(Ok(Some(Report::Ready(profile)))) => Ok(profile),
        Ok(Ok(Some(Report::Failed(message)))) => {
            Err(DryRunError::Refused(printable(message.as_bytes())))
        }
        Ok(Ok(Some(_))) => Err(DryRunError::OutOfTurn),
        Ok(Ok(None)) => {
            let mut log = Vec::new();
            // The process has ended, so there is an end to what it wrote.
            let _ = File::from(stderr).take(MAX_LOG_BYTES).read_to_end(&mut log);
            let last = log.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty());
            let said = printable(last.unwrap_or(b"without a word"));
            Err(DryRunError::Ended { engine: engine.name(), said })
        }
        Ok(Err(error)) => Err(DryRunError::Unreadable(error)),
        Err(_) => Err(DryRunError::Timeout { engine: engine.name() }),
    }
}

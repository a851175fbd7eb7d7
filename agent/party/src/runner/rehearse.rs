//! A run up to the point where the others would be needed: MPyC is imported in its sandbox, says
//! what it is, and is ended again.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

use mpyc_party_sandbox::Sandboxed;
use tokio::time::timeout;

use super::child::{Launcher, Order, Report};
use crate::session::words::printable;
use crate::session::{Copied, Definition, Versions};

/// How long the import may take: a first one on a small machine reads from a slow card.
const IMPORT: Duration = Duration::from_secs(60);
/// How much of its last words is looked at, in bytes.
const LAST_WORDS: u64 = 16 * 1024;

/// Imports MPyC in `sandboxed` as the party at roster index `index` would; nothing is left running.
///
/// # Errors
/// Why it cannot be imported, in words for people.
pub async fn rehearse(
    sandboxed: Sandboxed,
    definition: &Definition,
    copied: &Copied,
    index: usize,
) -> Result<Versions, String> {
    let Sandboxed { control, stderr, stdout: _stdout, stdin: _stdin, process, .. } = sandboxed;
    let conversation = async {
        let launcher = Launcher::new(control)?;
        launcher.send(&Order::start(definition, copied, index), None).await?;
        launcher.next().await
    };
    let answer = timeout(IMPORT, conversation).await;
    drop(process);
    match answer {
        Ok(Ok(Some(Report::Ready(versions)))) => Ok(versions),
        Ok(Ok(Some(Report::Failed { message }))) => Err(printable(message.as_bytes())),
        Ok(Ok(Some(_))) => Err("the launcher did not say what it is".to_owned()),
        Ok(Ok(None)) => {
            let mut log = Vec::new();
            // The process has ended, so there is an end to what it wrote.
            let _ = File::from(stderr).take(LAST_WORDS).read_to_end(&mut log);
            let last = log.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty());
            Err(format!("Python ended: {}", printable(last.unwrap_or(b"without a word"))))
        }
        Ok(Err(error)) => Err(format!("the launcher said something unreadable: {error}")),
        Err(_) => Err(format!("MPyC was not imported within {} s", IMPORT.as_secs())),
    }
}

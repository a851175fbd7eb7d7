//! Running `ip`, `tc` and `nft`, and saying which package is missing.

use std::io::{self, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;

use crate::LabError;
use crate::namespace::Namespace;

/// Debian keeps the tools out of an ordinary user's path.
const SEARCH_PATH: &str =
    "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin:/run/current-system/sw/bin";

/// A program that sets up a namespace from a script on standard input.
pub(crate) struct Tool {
    name: &'static str,
    package: &'static str,
    arguments: &'static [&'static str],
}

/// Interfaces and addresses.
pub(crate) const IP: Tool = Tool { name: "ip", package: "iproute2", arguments: &["-batch", "-"] };

/// Packet filter.
pub(crate) const NFT: Tool = Tool { name: "nft", package: "nftables", arguments: &["-f", "-"] };

/// Queues of interfaces.
pub(crate) const TC: Tool = Tool { name: "tc", package: "iproute2", arguments: &["-batch", "-"] };

/// Files of the kernel.
pub(crate) const SH: Tool = Tool { name: "sh", package: "dash", arguments: &["-e"] };

impl Tool {
    /// Runs `script` in `namespace`; `passed` stays open for it.
    pub(crate) fn run(
        &self,
        namespace: &Namespace,
        script: &str,
        passed: Option<Arc<OwnedFd>>,
    ) -> Result<(), LabError> {
        let mut child = namespace
            .tool(self.name, passed)
            .args(self.arguments)
            .env("PATH", SEARCH_PATH)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| self.missing(error))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A tool that refuses early closes its input; its exit status tells why.
            let _ = stdin.write_all(script.as_bytes());
        }
        let ended =
            child.wait_with_output().map_err(LabError::io(format!("waiting for {}", self.name)))?;
        if ended.status.success() {
            return Ok(());
        }
        let output = String::from_utf8_lossy(&ended.stderr).into_owned();
        Err(LabError::Tool { tool: self.name, input: script.to_owned(), output })
    }

    /// What the tool prints when it is called with these arguments.
    pub(crate) fn answer(
        &self,
        namespace: &Namespace,
        arguments: &[&str],
    ) -> Result<Vec<u8>, LabError> {
        let mut command = namespace.tool(self.name, None);
        let asked = command.args(arguments).env("PATH", SEARCH_PATH).output();
        let ended = asked.map_err(|error| self.missing(error))?;
        if ended.status.success() {
            return Ok(ended.stdout);
        }
        let output = String::from_utf8_lossy(&ended.stderr).into_owned();
        Err(LabError::Tool { tool: self.name, input: arguments.join(" "), output })
    }

    fn missing(&self, error: io::Error) -> LabError {
        match error.kind() {
            ErrorKind::NotFound => LabError::Missing { tool: self.name, package: self.package },
            _ => LabError::io(format!("cannot run {}", self.name))(error),
        }
    }
}

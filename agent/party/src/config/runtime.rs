//! Where an agent and the runners of the same party find each other.

use std::env;
use std::path::{Path, PathBuf};

use super::directories::{Directories, first_of};
use super::files;

/// The agent's socket in its runtime directory.
const SOCKET_NAME: &str = "agent.sock";
/// The runtime directory of the system's agent.
const SYSTEM_RUNTIME_DIRECTORY: &str = "/run/mpyc-party";

/// Where the agent of the party of `dirs` listens: in the runtime directory that systemd gives,
/// else below the state directory.
#[must_use]
pub fn agent_socket(dirs: &Directories) -> PathBuf {
    first_of("RUNTIME_DIRECTORY").unwrap_or_else(|| dirs.state.join("run")).join(SOCKET_NAME)
}

/// Where a runner looks for the agent: where it was `told` (or `$MPYC_PARTY_AGENT` says), else
/// wherever one has a socket. None where there is no agent, or it was told «none».
#[must_use]
pub fn find_agent(dirs: &Directories, told: Option<&Path>) -> Option<PathBuf> {
    let told = told.map(PathBuf::from).or_else(|| env::var_os("MPYC_PARTY_AGENT").map(Into::into));
    match told {
        Some(told) => Some(told).filter(|told| told != Path::new("none")),
        None => {
            let below_state = dirs.state.join("run").join(SOCKET_NAME);
            let usual = [
                agent_socket(dirs),
                below_state,
                Path::new(SYSTEM_RUNTIME_DIRECTORY).join(SOCKET_NAME),
            ];
            // One that cannot be looked at is none that could be used.
            usual.into_iter().find(|path| matches!(files::metadata(path), Ok(Some(_))))
        }
    }
}

//! What can go wrong in a lab, in words that say what to do.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why the lab could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A program the lab needs is not installed.
    #[error("the lab needs «{tool}»: install the package {package} (apt-get install {package})")]
    Missing {
        /// The program.
        tool: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// The kernel does not let this user make namespaces.
    #[error(
        "cannot make a namespace: {0}; run as root, or allow user namespaces \
         (user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns)"
    )]
    Namespace(#[source] io::Error),
    /// A program the lab ran said no.
    #[error("«{tool}» failed on\n{input}{output}")]
    Tool {
        /// The program.
        tool: &'static str,
        /// What it was asked.
        input: String,
        /// What it answered.
        output: String,
    },
    /// A switch has no number left.
    #[error("a switch has 253 numbers for hosts and changes of address, and all are used")]
    Full,
    /// Nothing to shape.
    #[error(
        "only a WAN line can be changed: give the host or router a «link» in the topology that has \
         more than a rate, or nothing at all"
    )]
    NoWan,
    /// Hosts that have nothing in common.
    #[error("{0} and {1} are not in the same lab")]
    Apart(String, String),
    /// A description that cannot be built.
    #[error("the topology: {0}")]
    Topology(String),
    /// Nothing listened in time.
    #[error("nothing listens on port {port} of {host} after {waited:?}")]
    NotListening {
        /// The host.
        host: String,
        /// The TCP port.
        port: u16,
        /// How long the lab waited.
        waited: Duration,
    },
    /// There is no built `mpyc-party`.
    #[error(
        "no program at {0}: build it (cargo build -p mpyc-party) or name one in MPYC_PARTY_BIN"
    )]
    NoBinary(PathBuf),
    /// A run did not do what the test waits for.
    #[error("{party}: {problem}; it said:\n{said}")]
    Run {
        /// Whose run it is.
        party: String,
        /// What is wrong.
        problem: String,
        /// All that it wrote.
        said: String,
    },
    /// Something is left of a test.
    #[error("something is left behind:\n{0}")]
    Left(String),
    /// The system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl LabError {
    /// Says what was tried when the system refused it.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what: what.into(), source }
    }
}

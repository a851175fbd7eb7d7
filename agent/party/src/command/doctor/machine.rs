//! What can be seen of this machine without any key: configuration, declared sessions, disk,
//! addresses, Python and sandbox.

use std::io::{self, ErrorKind};
use std::net::IpAddr;

use anyhow::Context;
use mpyc_party_core::name::SessionName;
use mpyc_party_core::roster::{PeerIndex, Roster};
use mpyc_party_sandbox::{Sandboxed, kernel};
use tempfile::TempDir;

use super::findings::Findings;
use crate::config::files::FileError;
use crate::config::{Config, Directories, Session, Start, writers};
use crate::runner::engine::mpyc::python::Python;
use crate::runner::view::{Notice, View};
use crate::runner::{self, PrepareError};
use crate::session::{self, Copied, Declared, Definition};

/// Bytes of room without which a run cannot be kept, and with which nobody needs to think of it.
const ROOM: [u64; 2] = [16 << 20, 256 << 20];

/// Looks at the file that configures this party.
pub(super) fn configuration(dirs: &Directories, config: &Config, findings: &mut Findings) {
    const CHECK: &str = "configuration";
    let Some(path) = &dirs.config else {
        return findings.good(CHECK, "there is none: every default holds");
    };
    match writers::of_config(config, Some(path)) {
        Ok(exposed) if exposed.is_empty() => {
            let (sessions, broken) = (config.sessions.len(), config.broken.len());
            let path = path.display();
            findings.good(
                CHECK,
                match broken {
                    0 => format!("{path} is in order; sessions: {sessions}"),
                    broken => format!(
                        "{path} is in order, but for {broken} of {} sessions",
                        sessions + broken
                    ),
                },
            );
        }
        Ok(exposed) => {
            for exposed in exposed {
                let text = format!("{exposed}. So they decide what this party runs");
                findings.bad(CHECK, text, &exposed.remedy());
            }
        }
        Err(error) => findings.broken(CHECK, error),
    }
}

/// Looks at who can change the files of `session`: no matter where a person starts it.
fn exposed(name: &SessionName, settings: &Session, findings: &mut Findings) {
    const CHECK: &str = "session";
    match (writers::of_session(settings), settings.start) {
        (Ok(exposed), start) => {
            for exposed in exposed {
                let (text, remedy) = (format!("{name}: {exposed}"), exposed.remedy());
                match start {
                    Start::OnProposal => findings.bad(
                        CHECK,
                        format!("{text}. So it does not start by itself"),
                        &remedy,
                    ),
                    Start::Manual => findings.doubtful(CHECK, text, &remedy),
                }
            }
        }
        (Err(error), _) => findings.broken(CHECK, error),
    }
}

/// What helps against this error in reading a file of a session.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::InvalidInput => {
            "put a regular file there, or change the path in the session's definition"
        }
        ErrorKind::PermissionDenied => "let this user read it",
        ErrorKind::TimedOut => "see whether the disk or server that holds it answers",
        _ => "put the file there, or change the path in the session's definition",
    }
}

/// Looks at what is `declared`; the definitions that can be used.
pub(super) fn sessions(declared: Declared, findings: &mut Findings) -> Vec<Definition> {
    const CHECK: &str = "session";
    let mut usable = Vec::new();
    for found in declared.into_values() {
        let definition = match found {
            Ok(definition) => definition,
            Err(error) => {
                findings.broken(CHECK, error);
                continue;
            }
        };
        let Definition { name, settings, .. } = &definition;
        match session::unreadable(settings).into_iter().next() {
            Some((role, FileError { path, source })) => findings.bad(
                CHECK,
                format!("{name}: the {role} {} cannot be read: {source}", path.display()),
                remedy(&source),
            ),
            None => {
                findings.good(CHECK, format!("{name}: its files are there"));
                exposed(name, settings, findings);
            }
        }
        usable.push(definition);
    }
    usable
}

/// Looks at the room where runs are kept.
pub(super) fn disk(dirs: &Directories, findings: &mut Findings) {
    const CHECK: &str = "disk";
    const REMEDY: &str = "make room there, or choose another place with --state DIR";
    let Some(path) = dirs.state.ancestors().find(|path| path.is_dir()) else { return };
    let found = match rustix::fs::statvfs(path) {
        Ok(found) => found,
        Err(error) => return findings.broken(CHECK, format!("{}: {error}", path.display())),
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let text = format!("{} MiB are free in {}", free >> 20, path.display());
    match free {
        free if free < ROOM[0] => findings.bad(CHECK, text, REMEDY),
        free if free < ROOM[1] => findings.doubtful(CHECK, text, REMEDY),
        _ => findings.good(CHECK, text),
    }
}

/// Looks whether this kernel has what the sandbox is made of; whether it does.
pub(super) fn kernel(findings: &mut Findings) -> bool {
    const CHECK: &str = "kernel";
    match kernel::has_mounts() {
        Ok(()) => findings.good(CHECK, format!("Linux {}", kernel::release())),
        Err(ref error) => findings.broken(CHECK, error),
    }
    kernel::has_mounts().is_ok()
}

/// Looks at this machine's addresses.
pub(super) fn addresses(findings: &mut Findings) {
    const CHECK: &str = "addresses";
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let usable = interfaces.iter().filter(|i| !i.is_loopback() && !i.is_link_local());
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) =
        usable.map(if_addrs::Interface::ip).partition(IpAddr::is_ipv4);
    let list = |ips: &[IpAddr]| ips.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
    match (v4.as_slice(), v6.as_slice()) {
        ([], []) => findings.bad(
            CHECK,
            "this machine has no address but its own loopback",
            "connect it to a network",
        ),
        (v4, []) => findings.good(
            CHECK,
            format!("{}; no IPv6, so whoever has only that is reached through a hub", list(v4)),
        ),
        (v4, v6) => findings.good(CHECK, list(&[v4, v6].concat())),
    }
}

/// A launcher that waits in its sandbox.
pub(super) struct DryRun {
    pub(super) definition: Definition,
    pub(super) copied: Copied,
    pub(super) sandboxed: Sandboxed,
    _scratch: TempDir,
}

/// Tells warnings of the sandbox.
struct Warnings<'a>(&'a mut Findings);

impl View for Warnings<'_> {
    fn show(&mut self, notice: Notice<'_>) {
        if let Notice::Warning(text) = notice {
            self.0.doubtful(SANDBOX, text, "the run goes on without it; see docs/security.md");
        }
    }
}

/// As whom the engine is loaded: it makes no difference.
const FIRST: PeerIndex = PeerIndex::new(0);

const PYTHON: &str = "Python";
const SANDBOX: &str = "sandbox";

/// Finds Python, makes no new one, and starts it in a sandbox with a program that does nothing.
/// It may be an unknown MPyC where one of `sessions` allows that.
pub(super) fn dry_run(
    (config, dirs): (&Config, &Directories),
    sessions: &[Definition],
    findings: &mut Findings,
) -> anyhow::Result<Option<DryRun>> {
    match Python::new(config.python.interpreter.clone(), &dirs.cache).find() {
        Ok(Some(_)) => {}
        Ok(None) => {
            let text = "the private Python is not made yet: the first run does, and needs the network for it";
            findings.doubtful(PYTHON, text, "mpyc-party python makes it now");
            return Ok(None);
        }
        Err(error) => {
            findings.broken(PYTHON, error);
            return Ok(None);
        }
    }
    let scratch = tempfile::tempdir()
        .context("cannot make a directory for temporary files: set TMPDIR to one that is there")?;
    let program = scratch.path().join("nothing.py");
    std::fs::write(&program, "pass\n")?;
    let roster = ["alice", "bob", "carol"].map(str::parse);
    let roster: Result<Vec<_>, _> = roster.into_iter().collect();
    let mut settings = Session::new(program, Roster::try_from(roster?)?);
    settings.allow_unknown_mpyc =
        sessions.iter().any(|session| session.settings.allow_unknown_mpyc);
    let definition = Definition { name: "doctor".parse()?, settings, imported: false };
    let copied = session::copy(&definition, &scratch.path().join("program"))?;
    let view = &mut Warnings(findings);
    match runner::start(&definition, &copied, scratch.path(), (config, dirs), view) {
        Ok(sandboxed) => Ok(Some(DryRun { definition, copied, sandboxed, _scratch: scratch })),
        Err(PrepareError::Engine(error)) => {
            findings.broken(PYTHON, error);
            Ok(None)
        }
        Err(error) => {
            findings.broken(SANDBOX, error);
            Ok(None)
        }
    }
}

impl DryRun {
    /// Imports MPyC in the sandbox.
    pub(super) async fn finish(self, findings: &mut Findings) {
        match runner::dry_run(self.sandboxed, &self.definition, &self.copied, FIRST).await {
            Ok(versions) => {
                findings.good(SANDBOX, "a program is alone in it, and reaches nothing");
                findings.good(PYTHON, versions);
            }
            Err(error) => findings.bad(
                PYTHON,
                format!("MPyC does not start in its sandbox: {error}"),
                "mpyc-party python checks the Python outside of it; -vv tells more",
            ),
        }
    }
}

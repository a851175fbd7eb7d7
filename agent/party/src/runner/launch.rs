//! Makes a run ready up to the sandboxed process that waits for its orders. No key is in memory
//! yet, and there is one thread.

use std::error::Error;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use mpyc_party_core::name::PartyName;
use mpyc_party_core::verdict::{Failure, Reason, Remark, Stage, Verdict};
use mpyc_party_sandbox::{self as sandbox, Limits, Mount, Plan, Policy, SandboxError, Sandboxed};

use rustix::process::{Resource, getrlimit};

use super::engine::{self, Contents, EngineError};
use super::stop;
use super::view::{Notice, View};
use crate::config::files::{self, FILE_TIMEOUT, FileError};
use crate::config::{Config, Directories, Session};
use crate::session::record::{BeginError, RunDirectory, timestamp};
use crate::session::words::with_causes;
use crate::session::{Copied, Definition, SessionError, copy};

/// Why a run could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// It cannot begin.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// Its files cannot be copied.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its input cannot be read.
    #[error("the input {0}")]
    Input(#[source] FileError),
    /// Its input has no room in memory beside the program.
    #[error(
        "the input {} is larger than {mib} MiB, half of the program's memory: set «memory» in the session to twice its size, or give a smaller file",
        path.display()
    )]
    LargeInput {
        /// The input.
        path: PathBuf,
        /// The largest input in MiB.
        mib: u64,
    },
    /// Its engine is not ready.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// There is no sandbox for it.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// It had begun, and has ended with this verdict, which is on record and was shown.
    #[error("{0}")]
    Ended(Verdict),
}

/// A run that is ready to meet the others.
#[derive(Debug)]
pub struct Launch {
    /// What is to run.
    pub definition: Definition,
    /// Its private copies.
    pub copied: Copied,
    /// Its record.
    pub run: RunDirectory,
    /// The process that waits.
    pub sandboxed: Sandboxed,
}

impl Launch {
    /// Gives the run up before anybody was met, because of what failed here, or else because somebody
    /// wants it to end. Writes that down and shows it.
    ///
    /// # Errors
    /// Where the record cannot be written.
    pub fn abandon(
        mut self,
        party: &PartyName,
        why: Option<&(dyn Error + 'static)>,
        view: &mut dyn View,
    ) -> Result<Verdict, FileError> {
        abandon(&mut self.run, party, why, view)
    }
}

/// Writes down and shows that a run never met anybody, and why: as [`Launch::abandon`].
pub(super) fn abandon(
    run: &mut RunDirectory,
    party: &PartyName,
    why: Option<&(dyn Error + 'static)>,
    view: &mut dyn View,
) -> Result<Verdict, FileError> {
    let reason = why.map_or(Reason::Stopped, |error| local(error, view));
    let (who, stage, observer) = (vec![party.clone()], Stage::Prepare, party.clone());
    let verdict = Verdict::Failed(Failure { who, stage, reason, observer, via: None });
    run.record.party = Some(party.clone());
    run.record.verdict = Some(verdict.clone());
    run.record.ended = Some(timestamp());
    run.clear_copies();
    let written = run.write();
    view.show(Notice::Ended(&verdict));
    written.map(|()| verdict)
}

/// What failed here, for a verdict. What is too long for one is shown before it.
fn local(error: &(dyn Error + 'static), view: &mut dyn View) -> Reason {
    let text = with_causes(error);
    if text.chars().count() > Remark::MAX_CHARS {
        view.show(Notice::Warning(&text));
    }
    Reason::Local(text.into())
}

/// Makes a run of `definition` ready, as `party`. One that cannot be, or that somebody
/// [wants to end](stop) meanwhile, is on record as failed, and `view` is shown its verdict.
///
/// # Errors
/// Says what is missing and what to do; nothing is left running.
pub fn prepare(
    definition: Definition,
    (config, dirs): (&Config, &Directories),
    party: &PartyName,
    view: &mut dyn View,
) -> Result<Launch, PrepareError> {
    let mut run = RunDirectory::begin(dirs, &definition.name)?;
    let made = copy(&definition, &run.path.join("program")).map_err(PrepareError::from);
    let made = made.and_then(|copied| {
        let sandboxed = start(&definition, &copied, &run.path, (config, dirs), view)?;
        Ok((copied, sandboxed))
    });
    let why = match made {
        // Whatever came of it.
        _ if stop::is_asked() => None,
        Ok((copied, sandboxed)) => return Ok(Launch { definition, copied, run, sandboxed }),
        Err(error) => Some(error),
    };
    let why = why.as_ref().map(|error| error as &(dyn Error + 'static));
    Err(PrepareError::Ended(abandon(&mut run, party, why, view)?))
}

/// Starts the launcher in its sandbox; it waits for its orders. Its own files go into `directory`.
///
/// # Errors
/// As [`prepare`].
pub fn start(
    definition: &Definition,
    copied: &Copied,
    directory: &Path,
    (config, dirs): (&Config, &Directories),
    view: &mut dyn View,
) -> Result<Sandboxed, PrepareError> {
    input_is_there(definition)?;
    if let Some(limit) = little_address_space() {
        view.show(Notice::Warning(&limit));
    }
    // Before anything else is blamed for what the kernel lacks.
    if definition.settings.sandbox == Policy::Required {
        sandbox::kernel::has_mounts()?;
    }
    let engine = engine::of(definition);
    let contents = engine.contents((config, dirs), view)?;
    let launcher = directory.join("launcher");
    write_launcher(&launcher, engine.launcher())?;
    let sandboxed = sandbox::spawn(&plan(definition, copied, &launcher, contents))?;
    for warning in &sandboxed.warnings {
        view.show(Notice::Warning(warning));
    }
    Ok(sandboxed)
}

/// Refuses an input that the program would wait for. The sandbox shows what is there when it is made,
/// and looks once more whether it is a file.
///
/// # Errors
/// Where it is no regular file, cannot be opened in time, or is too large.
pub fn input_is_there(definition: &Definition) -> Result<(), PrepareError> {
    let settings = &definition.settings;
    let limit = settings.deadline.min(FILE_TIMEOUT);
    let Some(input) = &settings.input else { return Ok(()) };
    let found = files::open_within(input, limit).and_then(|file| files::at(input, file.metadata()));
    let (length, most) = (found.map_err(PrepareError::Input)?.len(), limits(settings).copy_size());
    if length > most {
        return Err(PrepareError::LargeInput { path: input.clone(), mib: most >> 20 });
    }
    Ok(())
}

/// What the sandboxed process may use up.
fn limits(settings: &Session) -> Limits {
    let mut limits = Limits::default();
    if let Some(memory) = settings.memory {
        limits.memory = memory << 20;
    }
    limits
}

/// The address space in MiB with which a program of ordinary size works. Python, numpy and threads reserve
/// far more than they use.
const ADDRESS_SPACE_MIB: u64 = 4096;

/// Says so where this process, and with it the program, may have little address space: what fails by that
/// says something else.
fn little_address_space() -> Option<String> {
    let mib = getrlimit(Resource::As).current? >> 20;
    (mib < ADDRESS_SPACE_MIB).then(|| {
        format!(
            "a limit lets this process and the program have {mib} MiB of address space each, of which Python and \
             numpy reserve more than they use: should they fail, raise it (ulimit -v, or LimitAS= in its unit) to \
             {ADDRESS_SPACE_MIB} MiB or more, and limit the program by «memory» in the session"
        )
    })
}

fn write_launcher(directory: &Path, all: &[(&str, &str)]) -> Result<(), FileError> {
    files::private_dir(directory)?;
    for (name, text) in all {
        let path = directory.join(name);
        files::at(&path, files::create_private(&path)?.write_all(text.as_bytes()))?;
    }
    Ok(())
}

/// Everything the sandboxed process sees.
fn plan(definition: &Definition, copied: &Copied, launcher: &Path, contents: Contents) -> Plan {
    let settings = &definition.settings;
    let show = |source: &Path, target: &str| Mount { source: source.into(), target: target.into() };
    let (mut mounts, mut copies) = (contents.mounts, Vec::new());
    mounts.push(show(launcher, engine::LAUNCHER));
    mounts.push(show(&copied.directory, engine::PROGRAM));
    let mut environment: Vec<(OsString, OsString)> =
        [("HOME", "/tmp"), ("TMPDIR", "/tmp"), ("LANG", "C.UTF-8")]
            .map(|(name, value)| (name.into(), value.into()))
            .into();
    if let Some(input) = &settings.input {
        environment.push(("MPYC_PARTY_INPUT".into(), engine::INPUT.into()));
        copies.push(show(input, engine::INPUT));
    }
    Plan {
        interpreter: contents.interpreter,
        arguments: contents.arguments,
        mounts,
        copies,
        environment,
        working_directory: engine::PROGRAM.into(),
        limits: limits(settings),
        policy: settings.sandbox,
        stop: stop::descriptor(),
    }
}

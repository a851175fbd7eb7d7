//! Makes a run ready up to the sandboxed process that waits for its orders. No key is in memory
//! yet, and there is one thread.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use mpyc_party_core::name::PartyName;
use mpyc_party_core::verdict::{Failure, Reason, Stage, Verdict};
use mpyc_party_sandbox::{self as sandbox, Limits, Mount, Plan, SandboxError, Sandboxed};

use super::engine::{self, Contents, EngineError};
use super::stop;
use super::view::{Notice, View};
use crate::config::files::{self, FileError};
use crate::config::{Config, Directories};
use crate::session::record::{BeginError, RunDirectory, timestamp};
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
    /// Its engine is not ready.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// There is no sandbox for it.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Somebody wanted it to end; the verdict is on record.
    #[error("{0}")]
    Stopped(Verdict),
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
    /// Gives the run up before anybody was met, and writes down why.
    ///
    /// # Errors
    /// Where the record cannot be written.
    pub fn abandon(self, party: &PartyName, why: Reason) -> Result<Verdict, FileError> {
        abandon(self.run, party, why)
    }
}

/// Writes down that a run never met anybody, and why.
pub(super) fn abandon(
    mut run: RunDirectory,
    party: &PartyName,
    reason: Reason,
) -> Result<Verdict, FileError> {
    let (who, stage, observer) = (vec![party.clone()], Stage::Prepare, party.clone());
    let verdict = Verdict::Failed(Failure { who, stage, reason, observer, via: None });
    run.record.party = Some(party.clone());
    run.record.verdict = Some(verdict.clone());
    run.record.ended = Some(timestamp());
    run.clear_copies();
    run.write()?;
    Ok(verdict)
}

/// Makes a run of `definition` ready, as `party`. One that cannot be, or that somebody
/// [wants to end](stop) meanwhile, is on record as failed.
///
/// # Errors
/// Says what is missing and what to do; nothing is left running.
pub fn prepare(
    definition: Definition,
    (config, dirs): (&Config, &Directories),
    party: &PartyName,
    view: &mut dyn View,
) -> Result<Launch, PrepareError> {
    let run = RunDirectory::begin(dirs, &definition.name)?;
    let made = copy(&definition, &run.path.join("program")).map_err(PrepareError::from);
    let made = made.and_then(|copied| {
        let sandboxed = start(&definition, &copied, &run.path, (config, dirs), view)?;
        Ok((copied, sandboxed))
    });
    match made {
        // Whatever came of it.
        _ if stop::is_asked() => Err(PrepareError::Stopped(abandon(run, party, Reason::Stopped)?)),
        Ok((copied, sandboxed)) => Ok(Launch { definition, copied, run, sandboxed }),
        Err(error) => {
            abandon(run, party, Reason::Local(error.to_string().into()))?;
            Err(error)
        }
    }
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
    if let Some(input) = &definition.settings.input {
        input_is_there(input)?;
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
fn input_is_there(input: &Path) -> Result<(), FileError> {
    files::open(input).map(drop)
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
    let mut mounts = contents.mounts;
    mounts.push(show(launcher, engine::LAUNCHER));
    mounts.push(show(&copied.directory, engine::PROGRAM));
    let mut environment: Vec<(OsString, OsString)> =
        [("HOME", "/tmp"), ("TMPDIR", "/tmp"), ("LANG", "C.UTF-8")]
            .map(|(name, value)| (name.into(), value.into()))
            .into();
    if let Some(input) = &settings.input {
        let name = input.file_name().unwrap_or_else(|| "input".as_ref());
        let target = PathBuf::from("/input").join(name);
        environment.push(("MPYC_PARTY_INPUT".into(), target.clone().into()));
        mounts.push(Mount { source: input.clone(), target });
    }
    let mut limits = Limits::default();
    if let Some(memory) = settings.memory {
        limits.memory = memory << 20;
    }
    Plan {
        interpreter: contents.interpreter,
        arguments: contents.arguments,
        mounts,
        environment,
        working_directory: engine::PROGRAM.into(),
        limits,
        policy: settings.sandbox,
        stop: stop::descriptor(),
    }
}

//! The view of files once more, decided by another part of the kernel than mounts; and no TCP,
//! no abstract sockets and no signals beyond the sandbox.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetStatus, Scope, path_beneath_rules,
};

use super::error::{Failure, Stage};
use super::mounts::DEVICES;

/// The newest version whose rights we know. Older kernels enforce what they have of it.
const VERSION: ABI = ABI::V10;

/// The files this process may still use.
#[derive(Default)]
pub(super) struct View {
    /// To read and execute, with everything below.
    pub(super) readable: Vec<PathBuf>,
    /// To read and write, but not to execute.
    pub(super) writable: Vec<PathBuf>,
}

/// Restricts this process to `view`, and says so where the kernel has no landlock.
pub(super) fn restrict(view: &View) -> Result<Option<String>, Failure> {
    let status = apply(view).map_err(|error| Failure {
        stage: Stage::Landlock,
        errno: 0,
        detail: error.to_string(),
    })?;
    let missing = "the kernel has no landlock, the second line of defence for files: start it \
                   with «landlock» in the lsm= parameter";
    Ok((status == RulesetStatus::NotEnforced).then(|| missing.to_owned()))
}

fn apply(view: &View) -> Result<RulesetStatus, landlock::RulesetError> {
    let read = AccessFs::from_read(VERSION);
    let device = AccessFs::ReadFile | AccessFs::WriteFile;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(VERSION))?
        .handle_access(AccessNet::from_all(VERSION))?
        .scope(Scope::from_all(VERSION))?
        .create()?
        .add_rules(path_beneath_rules(&view.readable, read))?
        .add_rules(path_beneath_rules(&view.writable, scratch()))?
        .add_rules(path_beneath_rules(DEVICES, device))?
        .restrict_self()?;
    Ok(status.ruleset)
}

/// Everything one does with plain files and directories.
fn scratch() -> BitFlags<AccessFs> {
    AccessFs::ReadFile
        | AccessFs::WriteFile
        | AccessFs::ReadDir
        | AccessFs::MakeDir
        | AccessFs::MakeReg
        | AccessFs::MakeSym
        | AccessFs::RemoveDir
        | AccessFs::RemoveFile
        | AccessFs::Refer
        | AccessFs::Truncate
}

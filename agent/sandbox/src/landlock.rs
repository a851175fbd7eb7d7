//! The view of files once more, decided by another part of the kernel than mounts; and no TCP,
//! no abstract sockets and no signals beyond the sandbox.
//!
//! Init and payload are restricted together, by one set of rules: between two sets the kernel
//! would hold back even the signal by which the end of init ends the payload.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use crate::copies;
use crate::error::{Failure, Stage};
use crate::init::{Isolation, Setup};
use crate::mounts::{DEVICES, SCRATCH};

/// The newest version whose rights we know. Older kernels enforce what they have of it.
const VERSION: ABI = ABI::V10;

/// Restricts this process, and says so where the kernel has no landlock.
pub(crate) fn restrict(setup: &Setup<'_>) -> Result<Option<String>, Failure> {
    let status = apply(setup).map_err(Failure::of(Stage::Landlock))?;
    let missing = "the kernel has no landlock, the second line of defence for files: start it \
                   with «landlock» in the lsm= parameter";
    Ok((status == RulesetStatus::NotEnforced).then(|| missing.to_owned()))
}

fn apply(setup: &Setup<'_>) -> Result<RulesetStatus, RulesetError> {
    let plan = setup.plan;
    let (readable, writable): (Vec<&Path>, Vec<&str>) = match setup.isolation {
        Isolation::Namespaces => {
            let mounts = plan.mounts.iter().map(|it| &*it.target);
            let copies = plan.copies.iter().map(|it| copies::directory(&it.target));
            (mounts.chain(copies).collect(), SCRATCH.map(|(path, _)| path).into())
        }
        Isolation::None => (plan.sources().map(|it| &*it.source).collect(), Vec::new()),
    };
    let device = AccessFs::ReadFile | AccessFs::WriteFile;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(VERSION))?
        .handle_access(AccessNet::from_all(VERSION))?
        .scope(Scope::from_all(VERSION))?
        .create()?
        .add_rules(path_beneath_rules(readable, AccessFs::from_read(VERSION)))?
        .add_rules(path_beneath_rules(writable, scratch()))?
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

//! What root has made in a directory of another user, who cannot use it since.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::metadata;

/// What on the way to `path` belongs to another user although it lies in a directory of this one.
#[must_use]
pub(super) fn misplaced(path: &Path) -> Option<(PathBuf, u32)> {
    let user = geteuid().as_raw();
    let owner = |path: &Path| metadata(path).ok().flatten().map(|found| found.uid());
    path.ancestors().find_map(|part| {
        let other = owner(part).filter(|owner| *owner != user)?;
        (owner(part.parent()?)? == user).then(|| (part.to_owned(), other))
    })
}

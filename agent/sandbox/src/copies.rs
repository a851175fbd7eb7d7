//! Files that the program sees as they were when the sandbox was made, and of which it sees the content
//! alone: each is copied into a file system in memory of its own. Of the file itself a mount would show
//! when it was changed, its owner, and the number by which its disk knows it.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps, openat};
use rustix::mount::MountAttrFlags;

use crate::error::{Failure, Stage};
use crate::{Limits, Mount, Plan, mounts, sys};

/// Room for the directory, and for the last page of the file.
const SLACK_BYTES: u64 = 64 << 10;

impl Limits {
    /// The largest file that is copied, in bytes: the program will have room for it twice.
    #[must_use]
    pub fn copy_size(&self) -> u64 {
        self.memory / 2
    }
}

/// The directory inside that holds the copy which the program finds at `target`, and nothing else.
pub(crate) fn directory(target: &Path) -> &Path {
    target.parent().unwrap_or(target)
}

/// Copies all files of the plan; returns the directories inside, each with a file system that holds the
/// copy.
pub(crate) fn make(plan: &Plan) -> Result<Vec<(PathBuf, OwnedFd)>, Failure> {
    let one = |copy: &Mount| {
        let tree = make_one(copy, plan.limits.copy_size())
            .map_err(Failure::on(Stage::CopyFile, &copy.source))?;
        Ok((directory(&copy.target).to_owned(), tree))
    };
    plan.copies.iter().map(one).collect()
}

fn make_one(copy: &Mount, most: u64) -> io::Result<OwnedFd> {
    let name = copy.target.file_name().ok_or(ErrorKind::InvalidInput)?;
    // What was checked may have been exchanged since, by something that would be waited for.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let mut source = File::options().read(true).custom_flags(flags).open(&copy.source)?;
    let metadata = source.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    if metadata.len() > most {
        let text = format!("it is larger than {most} bytes, half of the memory that is allowed");
        return Err(io::Error::new(ErrorKind::FileTooLarge, text));
    }
    let size = (metadata.len() + SLACK_BYTES).to_string();
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let tree =
        mounts::tmpfs(&[("size", &size), ("nr_inodes", "16"), ("mode", "0755")], attributes)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let mut file = File::from(openat(&tree, name, flags, Mode::RUSR)?);
    io::copy(&mut source, &mut file)?;
    let epoch = Timespec { tv_sec: 0, tv_nsec: 0 };
    let times = Timestamps { last_access: epoch, last_modification: epoch };
    rustix::fs::futimens(&file, &times)?;
    // The descriptor of a mount stands for a path alone.
    rustix::fs::utimensat(&tree, ".", &times, AtFlags::empty())?;
    // With a file open for writing it cannot become read-only.
    drop(file);
    sys::set_mount_attributes(&tree, MountAttrFlags::MOUNT_ATTR_RDONLY.bits().into())?;
    Ok(tree)
}

//! The private root: an empty file system into which only the plan's trees are put, read-only.
//!
//! All trees are opened before the root changes and attached after the old root is gone, so that
//! no path inside can ever be looked up in the host. Copies of trees take the mounts below them
//! along, and one call makes all of them read-only.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};

use crate::error::{Failure, Stage};
use crate::plan::showable;
use crate::{Plan, copies};

/// The directories in which the program may write, each with its name in the one file system that holds
/// both: what is in either counts against the one limit. The second is that of named shared memory
/// (shm_open(3), sem_open(3)), which Python's `multiprocessing` takes its locks from.
pub(crate) const SCRATCH: [(&str, &str); 2] = [("/tmp", "tmp"), ("/dev/shm", "shm")];
/// Where that file system is while its directories are put in place.
const SCRATCH_ROOT: &str = "/scratch";
/// What Python and libraries open by name. Not `/dev/zero`: shared mappings of it are memory that
/// no limit counts.
pub(crate) const DEVICES: [&str; 2] = ["/dev/null", "/dev/urandom"];

/// Room for mount points and links.
const ROOT_OPTIONS: [(&str, &str); 3] = [("size", "1m"), ("nr_inodes", "16384"), ("mode", "0755")];

/// What is put at one place inside.
enum Item {
    Tree(OwnedFd),
    Link(PathBuf),
}

/// Makes the private root and moves into it. The working directory is `/` after.
pub(crate) fn enter(plan: &Plan) -> Result<(), Failure> {
    let private = Failure::at(Stage::PrivateRoot);
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(private)?;
    let mut items = Vec::new();
    for mount in &plan.mounts {
        let item = open(&mount.source, mount.source == mount.target)
            .map_err(Failure::on(Stage::OpenMount, &mount.source))?;
        items.push((mount.target.clone(), item));
    }
    items.extend(copies::make(plan)?.into_iter().map(|(at, tree)| (at, Item::Tree(tree))));
    // Parents before what is mounted below them.
    items.sort_by(|(a, _), (b, _)| a.cmp(b));
    let devices = DEVICES.map(|path| (path, device(Path::new(path))));

    change_root().map_err(Failure::at(Stage::PrivateRoot))?;
    let place =
        |path: &Path, item| attach(path, item).map_err(Failure::on(Stage::AttachMount, path));
    for (path, tree) in scratch(plan.limits.tmp_size).map_err(Failure::at(Stage::PrivateRoot))? {
        place(Path::new(path), Item::Tree(tree))?;
    }
    for (path, tree) in devices {
        let path = Path::new(path);
        place(path, Item::Tree(tree.map_err(Failure::on(Stage::OpenMount, path))?))?;
    }
    for (path, item) in items {
        place(&path, item)?;
    }
    seal().map_err(Failure::at(Stage::PrivateRoot))
}

/// A copy of the mounts at `source`, read-only all the way down; or the link that is there.
fn open(source: &Path, keep_link: bool) -> io::Result<Item> {
    if keep_link && source.symlink_metadata()?.is_symlink() {
        return Ok(Item::Link(fs::read_link(source)?));
    }
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV;
    let tree = copy(source, attributes)?;
    // What was checked may have been exchanged since; this is what the program will see.
    showable(FileType::from_raw_mode(rustix::fs::fstat(&tree)?.st_mode))?;
    Ok(Item::Tree(tree))
}

fn device(path: &Path) -> io::Result<OwnedFd> {
    copy(
        path,
        MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NOEXEC,
    )
}

fn copy(source: &Path, attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = rustix::mount::open_tree(CWD, source, flags)?;
    crate::sys::set_mount_attributes(&tree, attributes.bits().into())?;
    Ok(tree)
}

/// A new empty file system in memory.
pub(crate) fn tmpfs(options: &[(&str, &str)], attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        rustix::mount::fsconfig_set_string(context.as_fd(), *key, *value)?;
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    Ok(rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// The directories of [`SCRATCH`] in a file system of this many bytes. It is mounted meanwhile, since older
/// kernels copy no part of a mount that is nowhere.
fn scratch(size: u64) -> io::Result<Vec<(&'static str, OwnedFd)>> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let options = [("size", &*size.to_string()), ("nr_inodes", "16384"), ("mode", "0700")];
    let root = Path::new(SCRATCH_ROOT);
    attach(root, Item::Tree(tmpfs(&options, attributes)?))?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mut trees = Vec::new();
    for (path, name) in SCRATCH {
        DirBuilder::new().mode(0o700).create(root.join(name))?;
        trees.push((path, rustix::mount::open_tree(CWD, root.join(name), flags)?));
    }
    rustix::mount::unmount(root, UnmountFlags::DETACH)?;
    fs::remove_dir(root)?;
    Ok(trees)
}

/// Makes an empty file system the root and lets go of the old one. `pivot_root(".", ".")` stacks
/// the old root on the new one, from where it is unmounted.
fn change_root() -> io::Result<()> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let root = tmpfs(&ROOT_OPTIONS, attributes)?;
    let from = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(&root, "", CWD, "/", from)?;
    rustix::process::fchdir(&root)?;
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}

/// Puts `item` at `path`, with the directories and the mount point it needs.
fn attach(path: &Path, item: Item) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let tree = match item {
        Item::Link(_) if path.is_symlink() => return Ok(()),
        Item::Link(text) => return std::os::unix::fs::symlink(text, path),
        Item::Tree(tree) => tree,
    };
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&tree)?.st_mode);
    if path.symlink_metadata().is_err() {
        match kind {
            FileType::Directory => fs::create_dir(path)?,
            _ => drop(fs::File::create(path)?),
        }
    }
    let from = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(rustix::mount::move_mount(&tree, "", CWD, path, from)?)
}

/// Makes the root itself read-only, and not the mounts below it.
fn seal() -> io::Result<()> {
    use rustix::mount::{MountFlags, mount_remount};
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    Ok(mount_remount("/", flags, "")?)
}

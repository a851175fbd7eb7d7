//! Which kernel the sandbox needs, and whether this one is it.
//!
//! Where an older call does the same, it is used: a process is known by its number instead of a pidfd, and
//! descriptors are closed one by one where there is no `close_range`. Nothing older does what
//! `mount_setattr` does, which makes a whole tree of mounts read-only. A container may refuse what the kernel
//! has, by an `ENOSYS`, or by the `EPERM` of those that are older than the call.

use std::fmt;
use std::io;

use crate::{SandboxError, sys};

/// The first Linux that has all that the full sandbox is made of.
pub const NEEDED: Version = Version(5, 12);

/// A version of Linux: its first two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl Version {
    /// What a release such as «6.1.0-13-amd64» begins with.
    fn of(release: &str) -> Option<Self> {
        let mut numbers = release.split(['.', '-']).map(str::parse);
        Some(Self(numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

/// What this kernel calls itself, as in «6.1.0-13-amd64».
#[must_use]
pub fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// A call of the kernel that cannot be made here.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.text())]
pub struct KernelError {
    /// The call.
    call: &'static str,
    /// The kernel that brought it.
    since: Version,
    /// What the kernel calls itself.
    release: String,
    /// How the call was answered.
    errno: i32,
}

impl KernelError {
    fn new(call: &'static str, since: Version, errno: i32) -> Self {
        Self { call, since, release: release(), errno }
    }

    fn is_old(&self) -> bool {
        Version::of(&self.release).is_some_and(|version| version < self.since)
    }

    fn text(&self) -> String {
        let Self { call, since, release, errno } = self;
        if self.is_old() {
            return format!(
                "mpyc-party needs Linux {NEEDED} or later, and this is Linux {release}, which lacks {call} (of {since})"
            );
        }
        let answer = io::Error::from_raw_os_error(*errno);
        format!(
            "mpyc-party needs Linux {NEEDED} or later; this is Linux {release}, but {call} is kept from this process \
             ({answer})"
        )
    }

    /// What to change.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        if self.is_old() {
            "Upgrade the kernel"
        } else {
            "The seccomp profile of a container or service manager does that: upgrade the container runtime, or allow \
             that call (Docker, Podman: --security-opt seccomp=unconfined)"
        }
    }
}

/// Arguments that no call takes: every flag at once.
const NONSENSE: [libc::c_long; 5] = [-1; 5];

/// Whether trees of mounts can be copied and made read-only here.
///
/// # Errors
/// The first call that is missing.
pub fn has_mounts() -> Result<(), SandboxError> {
    // Both look at their flags first. The others of the first one's age ask for a privilege first, so that
    // their `EPERM` tells nothing.
    let calls = [
        ("open_tree", libc::SYS_open_tree, Version(5, 2)),
        ("mount_setattr", libc::SYS_mount_setattr, NEEDED),
    ];
    for (name, call, since) in calls {
        sys::has(call, NONSENSE).map_err(|errno| KernelError::new(name, since, errno))?;
    }
    for (name, call) in [("fsopen", libc::SYS_fsopen), ("move_mount", libc::SYS_move_mount)] {
        if sys::has(call, NONSENSE) == Err(libc::ENOSYS) {
            return Err(KernelError::new(name, Version(5, 2), libc::ENOSYS).into());
        }
    }
    Ok(())
}

/// Whether threads can be started. Newer C libraries do so by `clone3`, and by `clone` only where the first
/// is answered by `ENOSYS`; Docker before 20.10.10 answers it by `EPERM`.
///
/// # Errors
/// Where they cannot.
pub fn has_threads() -> Result<(), KernelError> {
    // No structure of arguments is of no size.
    match sys::has(libc::SYS_clone3, [0; 5]) {
        Err(errno @ libc::EPERM) => match std::thread::Builder::new().spawn(|| ()) {
            Ok(thread) => thread.join().or(Ok(())),
            Err(_) => Err(KernelError::new("clone3", Version(5, 3), errno)),
        },
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(release: &str) -> KernelError {
        KernelError {
            call: "mount_setattr",
            since: NEEDED,
            release: release.to_owned(),
            errno: libc::ENOSYS,
        }
    }

    #[test]
    fn an_old_kernel_is_told_from_one_that_is_kept_from_us() {
        for old in ["5.4.0-42-generic", "4.18.0-553.el8.x86_64", "5.11", "5.10.0-28-amd64"] {
            let text = error(old).to_string();
            assert!(
                text.contains(&format!("this is Linux {old}, which lacks mount_setattr")),
                "{text}"
            );
            assert_eq!(error(old).remedy(), "Upgrade the kernel");
        }
        for new in ["5.12.0", "6.1.0-13-amd64", "6.18.44-fc-v857", "10.0"] {
            let text = error(new).to_string();
            assert!(
                text.contains(&format!("this is Linux {new}, but mount_setattr is kept")),
                "{text}"
            );
            assert!(error(new).remedy().contains("container"));
        }
    }
}

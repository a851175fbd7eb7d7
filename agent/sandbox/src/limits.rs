//! What the program may use up. Set for one process, and seccomp allows no second one.

use rustix::process::{Resource, Rlimit};

use crate::error::{Failure, Stage};
use crate::init::Isolation;
use crate::namespaces::Identity;

/// Room for Python, numpy and a few buffers, on the smallest machine.
const LEAST_MEMORY: u64 = 512 << 20;

/// What the program may use up; beyond it, its own calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory it may write to, in bytes, `/tmp` and `/dev/shm` apart (`RLIMIT_DATA`; address space alone, which
    /// numpy reserves generously, does not count). Half of the machine's memory by default.
    pub memory: u64,
    /// Threads, the first included. The kernel does not count those of root, nor, where there is
    /// no user namespace, tell them from the other processes of this user.
    pub threads: u64,
    /// Open descriptors.
    pub open_files: u64,
    /// Size of one file, in bytes.
    pub file_size: u64,
    /// Size of all files in the private `/tmp` and `/dev/shm`, in bytes; they are held in memory.
    pub tmp_size: u64,
}

impl Default for Limits {
    fn default() -> Self {
        let system = rustix::system::sysinfo();
        let total = (system.totalram as u64).saturating_mul(system.mem_unit.into());
        Self {
            memory: (total / 2).max(LEAST_MEMORY),
            threads: 256,
            open_files: 1024,
            file_size: 64 << 20,
            tmp_size: 64 << 20,
        }
    }
}

impl Limits {
    /// Applies them to this process.
    pub(crate) fn apply(&self, isolation: Isolation) -> Result<(), Failure> {
        // One byte: too little for a file, and the one value that also keeps the kernel from
        // handing a dump, with the secrets in it, to a crash collector.
        lower(Resource::Core, 1)?;
        lower(Resource::Data, self.memory)?;
        lower(Resource::Nofile, self.open_files)?;
        lower(Resource::Fsize, self.file_size)?;
        match isolation {
            // Init counts too.
            Isolation::Namespaces => lower(Resource::Nproc, self.threads.saturating_add(1)),
            // All processes of this user would count, in and out of the sandbox.
            Isolation::None => Ok(()),
        }
    }
}

/// Says so where the limit on threads does not hold.
pub(crate) fn without_effect(runner: &Identity, isolation: Isolation) -> Option<String> {
    let warning = if isolation == Isolation::None {
        "without a user namespace there is no limit on threads"
    } else if runner.is_root() {
        "the runner is root, whose threads the kernel does not count: the limit on threads has no \
         effect. Run it as an ordinary user"
    } else {
        return None;
    };
    Some(warning.to_owned())
}

/// Sets soft and hard limit; never above the present hard limit, which only root may raise.
fn lower(resource: Resource, value: u64) -> Result<(), Failure> {
    let ceiling = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let value = Some(value.min(ceiling));
    rustix::process::setrlimit(resource, Rlimit { current: value, maximum: value })
        .map_err(|error| Failure::new(Stage::Limits, format!("{resource:?}"), error))
}

//! Ending the programs that are still in a host when its test is over.

use std::fs;
use std::os::fd::AsFd;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Kills every process in the network namespace that `descriptor` stands for. It holds nothing but
/// what the lab started there and the descendants of that.
pub(crate) fn kill(descriptor: impl AsFd) {
    let Ok(namespace) = rustix::fs::fstat(descriptor) else { return };
    let identity = (namespace.st_dev, namespace.st_ino);
    let Ok(processes) = fs::read_dir("/proc") else { return };
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // The descriptor is opened before the check, so that the pid cannot be somebody else's by
        // the time of the signal.
        let Some(pid) = Pid::from_raw(pid) else { continue };
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        let inside = rustix::fs::stat(process.path().join("ns/net"))
            .is_ok_and(|found| (found.st_dev, found.st_ino) == identity);
        if inside {
            // It may have ended just now, which is as good.
            let _ = pidfd_send_signal(handle, Signal::KILL);
        }
    }
}

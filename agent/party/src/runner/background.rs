//! Job control (POSIX.1-2024, Base Definitions, 11.1.4): in the background of its terminal a process is
//! stopped as soon as it reads from there, and with `stty tostop` also when it writes. A run must not
//! stop for that: whoever reads or writes on its behalf waits until it is in the foreground.

use std::os::fd::AsFd;

use rustix::process::getpgrp;
use rustix::termios::{LocalModes, QueueSelector, isatty, tcflush, tcgetattr, tcgetpgrp};

/// Whether `descriptor` is this process's terminal, and another job has it.
pub(crate) fn is_behind(descriptor: impl AsFd) -> bool {
    // Where it is none, or not the controlling one, nobody is stopped.
    tcgetpgrp(descriptor).is_ok_and(|foreground| foreground != getpgrp())
}

/// Whether a read from `descriptor` would stop this process.
pub(crate) fn read_stops(descriptor: impl AsFd) -> bool {
    is_behind(descriptor)
}

/// Whether a write to `descriptor` would stop this process.
pub(crate) fn write_stops(descriptor: impl AsFd) -> bool {
    is_behind(&descriptor)
        && tcgetattr(&descriptor).is_ok_and(|modes| modes.local_modes.contains(LocalModes::TOSTOP))
}

/// Drops what was typed at the terminal that `descriptor` is, and was not read yet. A job that is not in
/// the foreground leaves it to the one that is: it would be stopped (tcflush(3)).
pub(crate) fn drop_typed(descriptor: impl AsFd) {
    if isatty(&descriptor) && !is_behind(&descriptor) {
        // A terminal that is gone has nothing left to be read.
        let _ = tcflush(&descriptor, QueueSelector::IFlush);
    }
}

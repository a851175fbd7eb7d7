//! A clock that is wrong, for one process and those that it starts: a library before libc that moves the date.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};

use super::conditions::shell;

/// The date that it begins with, in Unix time: ten minutes into 1970.
const BEGIN: u64 = 600;

const LIBRARY: &str = r"
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec -= AHEAD;
    return failed;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int failed = syscall(SYS_gettimeofday, now, zone);
    if (!failed) now->tv_sec -= AHEAD;
    return failed;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
";

fn library(trial: &Path) -> PathBuf {
    trial.join("clock.so")
}

/// Makes the library.
pub(crate) fn prepare(trial: &Path) -> Result<()> {
    let source = trial.join("clock.c");
    fs::write(&source, LIBRARY)?;
    let ahead = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() - BEGIN;
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(library(trial));
    let done = compiler.arg(format!("-DAHEAD={ahead}L")).arg(source).output()?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let shown = Command::new("date").arg("+%Y").env("LD_PRELOAD", library(trial)).output()?;
    ensure!(shown.stdout == b"1970\n", "the clock is not moved: {shown:?}");
    Ok(())
}

/// Starts what follows with it.
pub(crate) fn way(trial: &Path) -> Vec<OsString> {
    shell(&format!("export LD_PRELOAD='{}'", library(trial).display()))
}

//! Surroundings that others have: every command in each of them ends with exit status 0, 1 or 2, says what
//! is wrong and what to do, in JSON where that is asked for, and leaves nothing behind.

mod common;
#[path = "sweep/mod.rs"]
mod trials;

use std::ffi::OsString;
use std::path::Path;

use anyhow::Result;
use trials::clock;
use trials::conditions::{self, Condition, PLAIN, as_user, shell};
use trials::sweep;

#[test]
fn all_is_well() -> Result<()> {
    sweep(&PLAIN)
}

#[test]
fn the_state_cannot_be_read() -> Result<()> {
    let (prepare, way) = (conditions::closed_state as fn(&Path) -> _, |_: &Path| as_user());
    sweep(&Condition { name: "state of another", prepare, way, needs_root: true, ..PLAIN })
}

#[test]
fn the_state_is_of_root() -> Result<()> {
    let (prepare, way) = (conditions::state_of_root as fn(&Path) -> _, |_: &Path| as_user());
    sweep(&Condition { name: "state of root", prepare, way, needs_root: true, ..PLAIN })
}

#[test]
fn root_has_left_directories() -> Result<()> {
    let (prepare, way) = (conditions::left_by_root as fn(&Path) -> _, |_: &Path| as_user());
    sweep(&Condition { name: "directories of root", prepare, way, needs_root: true, ..PLAIN })
}

#[test]
fn the_configuration_is_a_link_to_nowhere() -> Result<()> {
    sweep(&Condition { name: "dangling configuration", prepare: conditions::dangling, ..PLAIN })
}

#[test]
fn the_configuration_is_a_directory() -> Result<()> {
    sweep(&Condition { name: "configuration a directory", prepare: conditions::directory, ..PLAIN })
}

#[test]
fn standard_output_is_full() -> Result<()> {
    let way = |_: &Path| shell("exec > /dev/full");
    sweep(&Condition { name: "standard output full", way, readable: false, ..PLAIN })
}

#[test]
fn standard_output_is_closed() -> Result<()> {
    let way = |_: &Path| shell("exec >&-");
    sweep(&Condition { name: "standard output closed", way, readable: false, ..PLAIN })
}

#[test]
fn standard_error_is_closed() -> Result<()> {
    let way = |_: &Path| shell("exec 2>&-");
    sweep(&Condition { name: "standard error closed", way, readable: false, ..PLAIN })
}

#[test]
fn there_is_no_home() -> Result<()> {
    let way = |_: &Path| shell("unset HOME");
    sweep(&Condition { name: "HOME unset", way, named: false, ..PLAIN })
}

#[test]
fn the_user_has_no_entry_in_passwd() -> Result<()> {
    let prepare = |trial: &Path| conditions::give(trial, 54321);
    let way = |_: &Path| -> Vec<OsString> {
        let user = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"];
        user.map(OsString::from).into_iter().chain(shell("unset HOME")).collect()
    };
    sweep(&Condition { name: "no entry in passwd", prepare, way, needs_root: true, ..PLAIN })
}

#[test]
fn there_are_64_descriptors() -> Result<()> {
    let way = |_: &Path| shell("ulimit -n 64");
    sweep(&Condition { name: "64 descriptors", way, ..PLAIN })
}

#[test]
fn the_umask_is_open() -> Result<()> {
    let way = |_: &Path| shell("umask 000");
    sweep(&Condition { name: "umask 000", way, ..PLAIN })
}

#[test]
fn signals_are_ignored() -> Result<()> {
    let way = |_: &Path| shell("trap '' HUP CHLD");
    sweep(&Condition { name: "SIGHUP and SIGCHLD ignored", way, ..PLAIN })
}

#[test]
fn the_disk_is_full() -> Result<()> {
    let way = conditions::full_disk;
    sweep(&Condition { name: "disk full", way, needs_root: true, ..PLAIN })
}

#[test]
fn no_file_may_grow() -> Result<()> {
    let way = |_: &Path| shell("ulimit -f 0");
    sweep(&Condition { name: "RLIMIT_FSIZE 0", way, ..PLAIN })
}

#[test]
fn the_clock_is_at_1970() -> Result<()> {
    let (prepare, way) = (clock::prepare as fn(&Path) -> _, clock::way as fn(&Path) -> _);
    sweep(&Condition { name: "clock at 1970", prepare, way, ..PLAIN })
}

#[test]
fn the_configuration_cannot_be_read() -> Result<()> {
    let (prepare, way) = (conditions::closed_configuration as fn(&Path) -> _, |_: &Path| as_user());
    sweep(&Condition { name: "configuration of another", prepare, way, needs_root: true, ..PLAIN })
}

#[test]
fn nothing_is_open() -> Result<()> {
    let way = |_: &Path| shell("exec <&- >&- 2>&-");
    sweep(&Condition { name: "no standard streams", way, readable: false, ..PLAIN })
}

#[test]
fn there_are_16_descriptors() -> Result<()> {
    let way = |_: &Path| shell("ulimit -n 16");
    sweep(&Condition { name: "16 descriptors", way, ..PLAIN })
}

#[test]
fn there_is_no_place_for_temporary_files() -> Result<()> {
    let way = |_: &Path| shell("export TMPDIR=/nonexistent");
    sweep(&Condition { name: "TMPDIR nowhere", way, ..PLAIN })
}

#[test]
fn the_working_directory_is_gone() -> Result<()> {
    let way = |trial: &Path| {
        let gone = trial.join("gone").display().to_string();
        shell(&format!("mkdir '{gone}' && cd '{gone}' && rmdir '{gone}'"))
    };
    sweep(&Condition { name: "working directory gone", way, ..PLAIN })
}

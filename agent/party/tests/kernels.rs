//! Older kernels, and containers that keep newer calls from what runs in them. There is one kernel here: a
//! stand-in for the others is a seccomp filter, under which the binary is started, that answers newer calls
//! as they do: by ENOSYS, or by the EPERM of container runtimes that are older than the call.

mod common;

use std::process::Command;

use anyhow::{Result, ensure};
use common::{LIMIT, SUM, completes, demo, run_by_way_of, three};
use rustix::io::Errno;

/// Answers each call of the list by this errno, and runs what is given. The filter is that of seccomp(2):
/// load the number of the call, compare, return.
const STAND_IN: &str = "
import ctypes, os, struct, sys
errno, calls, program = int(sys.argv[1]), [int(call) for call in sys.argv[2].split(',')], sys.argv[3:]
code = [struct.pack('HBBI', 0x20, 0, 0, 0)]
for call in calls:
    code += [struct.pack('HBBI', 0x15, 0, 1, call), struct.pack('HBBI', 0x06, 0, 0, 0x00050000 | errno)]
code.append(struct.pack('HBBI', 0x06, 0, 0, 0x7fff0000))
filter = ctypes.create_string_buffer(b''.join(code))
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl.argtypes = [ctypes.c_int] + 4 * [ctypes.c_ulong]
assert libc.prctl(38, 1, 0, 0, 0) == 0
about = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', len(code), ctypes.addressof(filter)))
assert libc.prctl(22, 2, ctypes.addressof(about), 0, 0) == 0, ctypes.get_errno()
os.execvp(program[0], program)
";

/// Their numbers are the same on every architecture from 424 on.
const PIDFD_SEND_SIGNAL: u32 = 424;
const IO_URING_SETUP: u32 = 425;
const OPEN_TREE: u32 = 428;
const MOVE_MOUNT: u32 = 429;
const FSOPEN: u32 = 430;
const PIDFD_OPEN: u32 = 434;
const CLONE3: u32 = 435;
const CLOSE_RANGE: u32 = 436;
const OPENAT2: u32 = 437;
const PIDFD_GETFD: u32 = 438;
const FACCESSAT2: u32 = 439;
const EPOLL_PWAIT2: u32 = 441;
const MOUNT_SETATTR: u32 = 442;
const LANDLOCK: [u32; 3] = [444, 445, 446];

/// All that is newer than Linux 5.0 and for which there is something older, or which can be done without.
fn replaceable() -> Vec<u32> {
    let calls = [
        PIDFD_SEND_SIGNAL,
        IO_URING_SETUP,
        PIDFD_OPEN,
        CLOSE_RANGE,
        OPENAT2,
        PIDFD_GETFD,
        FACCESSAT2,
        EPOLL_PWAIT2,
    ];
    calls.into_iter().chain(LANDLOCK).collect()
}

/// Runs what is added to it where these calls are answered by `errno`.
fn without(calls: &[u32], errno: Errno) -> Command {
    let calls: Vec<String> = calls.iter().map(u32::to_string).collect();
    let mut command = Command::new("python3");
    command.args(["-c", STAND_IN, &errno.raw_os_error().to_string(), &calls.join(",")]);
    command
}

/// What `command` of the first party says there, all of it.
fn said(mut way: Command, command: &Command) -> Result<String> {
    way.arg(command.get_program()).args(command.get_args());
    way.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = way.output()?;
    Ok([&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat())
}

#[test]
fn what_has_an_older_equal_is_not_needed() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    for errno in [Errno::NOSYS, Errno::PERM] {
        let mut calls = replaceable();
        // The C library goes back to `clone` for this answer alone.
        calls.extend((errno == Errno::NOSYS).then_some(CLONE3));
        let runs = network.parties().iter().map(|it| run_by_way_of(without(&calls, errno), it));
        let runs: Vec<_> = runs.collect::<Result<_>>()?;
        for run in runs {
            run.wait_for_line("sum 3", LIMIT)?;
            ensure!(run.said().contains("the kernel has no landlock"), "{}", run.said());
            completes(run)?;
        }
    }
    Ok(network.end()?)
}

#[test]
fn what_has_none_is_named_with_the_kernel_that_has_it() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    let alice = network.party("alice");
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    for errno in [Errno::NOSYS, Errno::PERM] {
        for (name, call) in [
            ("open_tree", OPEN_TREE),
            ("mount_setattr", MOUNT_SETATTR),
            ("fsopen", FSOPEN),
            ("move_mount", MOVE_MOUNT),
        ] {
            // A kernel that lacks one of the older ones lacks the newer ones as well.
            if errno == Errno::PERM && (call == FSOPEN || call == MOVE_MOUNT) {
                continue;
            }
            let mut run = run_by_way_of(without(&[call], errno), alice)?;
            ensure!(run.exit(LIMIT)?.code() == Some(1), "{name}: {}", run.said());
            let mut doctor = alice.command();
            doctor.args(["doctor", "--wait", "1s"]);
            let mut check = alice.command();
            check.args(["session", "check", "demo", "--wait", "1s"]);
            let way = || without(&[call], errno);
            for text in [run.said(), said(way(), &doctor)?, said(way(), &check)?] {
                for word in ["needs Linux 5.12 or later", &release, name, "seccomp"] {
                    ensure!(text.contains(word), "no «{word}» for {name}: {text}");
                }
                for blamed in ["ld.so.cache", "does not work", "namespaces or mounts"] {
                    ensure!(!text.contains(blamed), "{name}: {text}");
                }
            }
        }
    }
    Ok(network.end()?)
}

#[test]
fn best_effort_runs_without_what_mounts_take() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM).set("sandbox", "\"best-effort\""))?;
    let mut calls = replaceable();
    calls.extend([OPEN_TREE, MOVE_MOUNT, FSOPEN, MOUNT_SETATTR, CLONE3]);
    calls.retain(|call| !LANDLOCK.contains(call));
    let way = |it| run_by_way_of(without(&calls, Errno::NOSYS), it);
    for run in network.parties().iter().map(way).collect::<Result<Vec<_>>>()? {
        run.wait_for_line("sum 3", LIMIT)?;
        ensure!(run.said().contains("needs Linux 5.12 or later"), "{}", run.said());
        completes(run)?;
    }
    Ok(network.end()?)
}

/// Docker before 20.10.10 does so; a C library from 2.34 on then starts no thread.
#[test]
fn threads_that_a_container_keeps_are_an_error_that_says_so() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    let alice = network.party("alice");
    let mut run = run_by_way_of(without(&[CLONE3], Errno::PERM), alice)?;
    let status = run.exit(LIMIT)?;
    if !status.success() {
        for word in ["clone3 is kept from this process", "upgrade the container runtime"] {
            ensure!(run.said().contains(word), "no «{word}»: {}", run.said());
        }
    }
    Ok(network.end()?)
}

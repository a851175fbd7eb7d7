//! How a sandboxed program starts, stops and ends, and that nothing outlives its runner.

use std::fs;
use std::path::PathBuf;

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal};

use crate::host::{Python, Runner, Test, Watched, Who, for_all_users, readable_directory};
use crate::runner::{First, Line};

/// A program that runs until it is killed, having said so.
const FOR_EVER: &str = "import threading; threading.Event().wait()";

/// Whether processors of this kind take system calls of another kind, in a way the test knows.
const FOREIGN_CALLS: bool = cfg!(target_arch = "x86_64");

/// All of them, for every user.
pub(crate) fn trials() -> Vec<Trial> {
    let tests: [Test; 17] = [
        ("exit_status_is_kept", exit_status_is_kept),
        ("exit_status_is_kept_for_later", exit_status_is_kept_for_later),
        ("killing_signal_is_kept", killing_signal_is_kept),
        ("foreign_system_calls_kill", foreign_system_calls_kill),
        ("stop_of_the_program_is_reported", stop_of_the_program_is_reported),
        ("stop_of_init_is_reported", stop_of_init_is_reported),
        ("death_of_init_is_reported", death_of_init_is_reported),
        ("kill_ends_a_frozen_program", kill_ends_a_frozen_program),
        ("nothing_outlives_a_killed_runner", nothing_outlives_a_killed_runner),
        ("nothing_outlives_the_handle", nothing_outlives_the_handle),
        ("namespaces_are_its_own", namespaces_are_its_own),
        ("init_is_confined_too", init_is_confined_too),
        ("links_are_made_again", links_are_made_again),
        ("end_of_input_passes", end_of_input_passes),
        ("control_reaches_the_runner", control_reaches_the_runner),
        ("event_loops_work", event_loops_work),
        ("available_says_yes", available_says_yes),
    ];
    for_all_users("life", &tests)
        .into_iter()
        .map(|trial| {
            let not_here = !FOREIGN_CALLS && trial.name().ends_with("foreign_system_calls_kill");
            trial.with_ignored_flag(not_here)
        })
        .collect()
}

fn run(who: Who, program: &str) -> (String, String, String) {
    let mut runner = Runner::start(who, &Python::of(who).spec(&["-c", program]));
    runner.exited()
}

fn start(who: Who, program: &str) -> Runner {
    let mut runner = Runner::start(who, &Python::of(who).spec(&["-c", program]));
    runner.started();
    runner
}

fn exit_status_is_kept(who: Who) {
    let (exit, stdout, stderr) =
        run(who, "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)");
    assert_eq!((&*exit, &*stdout, &*stderr), ("status 7", "out\n", "err\n"));
}

/// What init reported as its last must not be missed for its end.
fn exit_status_is_kept_for_later(who: Who) {
    let mut spec = Python::of(who).spec(&["-c", "import sys; sys.exit(7)"]);
    spec.first = First::LookLate;
    assert_eq!(Runner::start(who, &spec).exited().0, "status 7");
}

fn killing_signal_is_kept(who: Who) {
    let (exit, ..) = run(who, "import os; os.kill(os.getpid(), 15)");
    assert_eq!(exit, "signal 15");
}

/// The 32-bit calls of x86-64: `int 0x80` with a harmless number.
fn foreign_system_calls_kill(who: Who) {
    let program = "import ctypes, mmap; m = mmap.mmap(-1, 4096, flags=0x22, prot=7); \
                   m.write(bytes.fromhex('b814000000cd80c3')); \
                   ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()";
    let (exit, ..) = run(who, program);
    let bad_system_call = format!("signal {}", libc::SIGSYS);
    assert_eq!(exit, bad_system_call);
}

fn stop_of_the_program_is_reported(who: Who) {
    let mut runner = start(who, FOR_EVER);
    let (_, payload) = runner.sandboxed();
    stop_and_continue(&mut runner, payload);
}

fn stop_of_init_is_reported(who: Who) {
    let mut runner = start(who, FOR_EVER);
    let (init, _) = runner.sandboxed();
    stop_and_continue(&mut runner, init);
}

fn stop_and_continue(runner: &mut Runner, pid: Pid) {
    let process = Watched::new(pid);
    for _ in 0..2 {
        process.signal(Signal::STOP);
        assert_eq!(runner.line(), Line::Stopped);
        process.signal(Signal::CONT);
        assert_eq!(runner.line(), Line::Continued);
    }
}

fn death_of_init_is_reported(who: Who) {
    let mut runner = start(who, FOR_EVER);
    let (init, payload) = runner.sandboxed();
    let payload = Watched::new(payload);
    Watched::new(init).signal(Signal::KILL);
    assert_eq!(runner.exited().0, "signal 9");
    assert!(payload.ends());
}

fn kill_ends_a_frozen_program(who: Who) {
    let mut runner = start(who, FOR_EVER);
    let (_, payload) = runner.sandboxed();
    Watched::new(payload).signal(Signal::STOP);
    assert_eq!(runner.line(), Line::Stopped);
    runner.order_kill();
    assert_eq!(runner.exited().0, "signal 9");
}

fn nothing_outlives_a_killed_runner(who: Who) {
    for frozen in [false, true] {
        let mut runner = start(who, FOR_EVER);
        let (init, payload) = runner.sandboxed();
        let (init, payload) = (Watched::new(init), Watched::new(payload));
        if frozen {
            init.signal(Signal::STOP);
            payload.signal(Signal::STOP);
        }
        runner.kill();
        assert!(init.ends() && payload.ends());
    }
}

fn nothing_outlives_the_handle(who: Who) {
    let mut spec = Python::of(who).spec(&["-c", FOR_EVER]);
    spec.first = First::Drop;
    let no_child = format!("{:?}", Err::<(), _>(rustix::io::Errno::CHILD));
    assert_eq!(Runner::start(who, &spec).line(), Line::Refused(no_child));
}

fn namespaces_are_its_own(who: Who) {
    let runner = start(who, FOR_EVER);
    let (_, payload) = runner.sandboxed();
    for name in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let namespace = |pid: Pid| {
            let path = format!("/proc/{}/ns/{name}", pid.as_raw_nonzero());
            fs::read_link(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
        };
        assert_ne!(namespace(runner.pid()), namespace(payload), "{name}");
    }
}

fn init_is_confined_too(who: Who) {
    let runner = start(who, FOR_EVER);
    let (init, _) = runner.sandboxed();
    let init = PathBuf::from(format!("/proc/{}", init.as_raw_nonzero()));
    let status = fs::read_to_string(init.join("status")).expect("its status");
    for line in ["CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "Seccomp:\t2"] {
        assert!(status.contains(line), "no «{line}» in {status}");
    }
    // The pipe to the runner.
    assert_eq!(fs::read_dir(init.join("fd")).expect("its descriptors").count(), 1);
}

fn links_are_made_again(who: Who) {
    let directory = readable_directory();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink("target/of it", &link).expect("a link");
    fs::write(directory.path().join("file"), "content").expect("a file");
    let followed = directory.path().join("followed");
    std::os::unix::fs::symlink("file", &followed).expect("a link");
    let program = "import os, sys; print(os.readlink(sys.argv[1]), open('/elsewhere').read())";
    let mut spec = Python::of(who).spec(&["-c", program, link.to_str().expect("text")]);
    spec.mounts.push((link.clone(), link));
    spec.mounts.push((followed, PathBuf::from("/elsewhere")));
    let (_, stdout, stderr) = Runner::start(who, &spec).exited();
    assert_eq!(stdout, "target/of it content\n", "{stderr}");
}

/// The runner closes its end; a copy in init would keep the program waiting.
fn end_of_input_passes(who: Who) {
    let (exit, stdout, _) = run(who, "import sys; print(repr(sys.stdin.read()))");
    assert_eq!((&*exit, &*stdout), ("status 0", "''\n"));
}

fn control_reaches_the_runner(who: Who) {
    let program = "import socket; socket.socket(fileno=3).send(b'a message')";
    let mut runner = Runner::start(who, &Python::of(who).spec(&["-c", program]));
    runner.started();
    match runner.line() {
        Line::Exited { control, .. } => assert_eq!(control, b"a message"),
        other => panic!("not ended: {other:?}"),
    }
}

/// What asyncio does in an MPyC program: descriptors passed over a control socket become streams,
/// with threads and signals beside them.
fn event_loops_work(who: Who) {
    let program = "
import array, asyncio, socket

def passed(descriptor):
    here, there = socket.socketpair()
    socket.send_fds(here, [b'x'], [descriptor])
    return socket.socket(fileno=socket.recv_fds(there, 1, 1)[1][0])

async def main():
    a, b = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=passed(a.fileno()))
    other_reader, other_writer = await asyncio.open_unix_connection(sock=passed(b.fileno()))
    writer.write(bytes(1 << 20))
    _, received = await asyncio.gather(writer.drain(), other_reader.readexactly(1 << 20))
    await asyncio.sleep(0.001)
    asyncio.get_running_loop().add_signal_handler(10, print)
    print(len(received) + await asyncio.to_thread(sum, [1, 2]))

asyncio.run(main())
";
    let (_, stdout, stderr) = run(who, program);
    assert_eq!(stdout, "1048579\n", "{stderr}");
}

fn available_says_yes(who: Who) {
    let mut spec = Python::of(who).spec(&[]);
    spec.first = First::Ask;
    assert_eq!(Runner::start(who, &spec).started(), [""; 0]);
}

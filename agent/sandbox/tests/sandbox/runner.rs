//! The role in which the test executes itself again: a runner with a single thread, as the real
//! one is when it makes its sandbox. It tells the test what happens as lines of JSON.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::thread;

use mpyc_party_sandbox::{
    self as sandbox, Event, Exit, Limits, Mount, Plan, Policy, SandboxError, Sandboxed,
};
use rustix::net::RecvFlags;
use rustix::process::{WaitId, WaitIdOptions};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

/// The argument that selects this role.
pub(crate) const ROLE: &str = "be-the-runner";

/// A plan that fits into an argument.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) interpreter: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) mounts: Vec<(PathBuf, PathBuf)>,
    pub(crate) copies: Vec<(PathBuf, PathBuf)>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) working_directory: PathBuf,
    pub(crate) limits: Vec<(String, u64)>,
    pub(crate) best_effort: bool,
    /// What to do before: nothing, or something that goes wrong.
    pub(crate) first: First,
}

/// Circumstances under which the sandbox is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum First {
    Nothing,
    /// Start a second thread.
    Thread,
    /// Go where user namespaces are not allowed.
    NoUserNamespaces,
    /// Mount a writable file system on this directory, in a mount namespace of its own.
    MountBelow(PathBuf),
    /// Only ask whether the sandbox is available.
    Ask,
    /// Drop the running sandbox and see whether a child is left.
    Drop,
    /// Wait for no event before the sandbox has ended.
    LookLate,
}

/// What this runner tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Line {
    Refused(String),
    Started { warnings: Vec<String> },
    Stopped,
    Continued,
    Exited { exit: String, stdout: String, stderr: String, control: Vec<u8> },
}

/// Runs `spec` and exits.
pub(crate) fn run(spec: &str) -> ! {
    let spec: Spec = serde_json::from_str(spec).expect("a spec");
    block_a_signal();
    match &spec.first {
        First::Nothing | First::Ask | First::Drop | First::LookLate => {}
        First::Thread => drop(thread::spawn(thread::park)),
        First::NoUserNamespaces => forbid_user_namespaces(),
        First::MountBelow(path) => mount_below(path),
    }
    if spec.first == First::Ask {
        match sandbox::available() {
            Ok(()) => tell(&Line::Started { warnings: Vec::new() }),
            Err(error) => refuse(&error),
        }
        std::process::exit(0)
    }
    match sandbox::spawn(&plan(&spec)) {
        Ok(sandboxed) if spec.first == First::Drop => {
            drop(sandboxed);
            let left = rustix::process::wait(rustix::process::WaitOptions::NOHANG);
            tell(&Line::Refused(format!("{left:?}")));
        }
        Ok(sandboxed) => {
            if spec.first == First::LookLate {
                let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
                rustix::process::waitid(WaitId::All, ended).expect("a child");
            }
            follow(sandboxed);
        }
        Err(error) => refuse(&error),
    }
    std::process::exit(0)
}

fn refuse(error: &SandboxError) {
    tell(&Line::Refused(error.to_string()));
}

fn tell(line: &Line) {
    let mut text = serde_json::to_string(line).expect("JSON");
    text.push('\n');
    std::io::stdout().write_all(text.as_bytes()).expect("the test listens");
}

fn plan(spec: &Spec) -> Plan {
    let mut limits = Limits::default();
    for (name, value) in &spec.limits {
        match name.as_str() {
            "memory" => limits.memory = *value,
            "threads" => limits.threads = *value,
            "open_files" => limits.open_files = *value,
            "file_size" => limits.file_size = *value,
            "tmp_size" => limits.tmp_size = *value,
            other => panic!("no limit {other}"),
        }
    }
    let mount = |(source, target): &(PathBuf, PathBuf)| Mount {
        source: source.clone(),
        target: target.clone(),
    };
    Plan {
        interpreter: spec.interpreter.clone(),
        arguments: spec.arguments.iter().map(OsString::from).collect(),
        mounts: spec.mounts.iter().map(mount).collect(),
        copies: spec.copies.iter().map(mount).collect(),
        environment: spec.environment.iter().map(|(n, v)| (n.into(), v.into())).collect(),
        working_directory: spec.working_directory.clone(),
        limits,
        policy: if spec.best_effort { Policy::BestEffort } else { Policy::Required },
        stop: None,
    }
}

/// Follows the program to its end; a line on standard input kills it.
fn follow(sandboxed: Sandboxed) {
    let Sandboxed { control, stdin, stdout, stderr, warnings, mut process } = sandboxed;
    drop(stdin);
    tell(&Line::Started { warnings });
    let read = |end| {
        thread::spawn(move || {
            let mut text = Vec::new();
            File::from(end).read_to_end(&mut text).expect("output");
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let (stdout, stderr) = (read(stdout), read(stderr));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("tokio");
    let exit = runtime.block_on(async {
        let (order, mut ordered) = tokio::sync::mpsc::channel(1);
        thread::spawn(move || {
            let mut line = String::new();
            if std::io::stdin().read_line(&mut line).is_ok_and(|length| length > 0) {
                order.blocking_send(()).expect("still there");
            }
        });
        loop {
            let event = tokio::select! {
                Some(()) = ordered.recv() => {
                    process.kill();
                    continue;
                }
                event = process.next_event() => event.expect("an event"),
            };
            match event {
                Event::Stopped => tell(&Line::Stopped),
                Event::Continued => tell(&Line::Continued),
                Event::Exited(exit) => return exit,
            }
        }
    });
    let exit = match exit {
        Exit::Status(status) => format!("status {status}"),
        Exit::Signal(signal) => format!("signal {signal}"),
    };
    let (stdout, stderr) = (stdout.join().expect("stdout"), stderr.join().expect("stderr"));
    let mut message = [0; 64];
    let (length, _) =
        rustix::net::recv(&control, &mut message, RecvFlags::DONTWAIT).unwrap_or((0, 0));
    tell(&Line::Exited { exit, stdout, stderr, control: message[..length].to_vec() });
}

/// The program must not inherit this.
fn block_a_signal() {
    // SAFETY: the set is initialised by sigemptyset before it is used.
    #[expect(unsafe_code, reason = "no safe function blocks signals")]
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGUSR2);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}

/// Makes a user namespace in which no further one may be made, as on a machine where
/// `user.max_user_namespaces` is 0, and goes into it.
fn forbid_user_namespaces() {
    enter_namespaces(UnshareFlags::NEWUSER);
    std::fs::write("/proc/sys/user/max_user_namespaces", "0").expect("max_user_namespaces");
}

/// Mounts something writable on `path`, for this process alone. The sandbox, being of another user
/// namespace, then finds it locked to what is below it.
fn mount_below(path: &Path) {
    enter_namespaces(UnshareFlags::NEWUSER | UnshareFlags::NEWNS);
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", path, "tmpfs", flags, None).expect("a mount");
}

fn enter_namespaces(flags: UnshareFlags) {
    let user = rustix::process::geteuid().as_raw();
    let group = rustix::process::getegid().as_raw();
    // SAFETY: a single thread, and its file descriptor table is not unshared.
    #[expect(unsafe_code, reason = "the safe function is deprecated in favour of this one")]
    unsafe {
        rustix::thread::unshare_unsafe(flags).expect("namespaces");
    }
    std::fs::write("/proc/self/setgroups", "deny").expect("setgroups");
    std::fs::write("/proc/self/uid_map", format!("{user} {user} 1")).expect("uid_map");
    std::fs::write("/proc/self/gid_map", format!("{group} {group} 1")).expect("gid_map");
}

//! The machine the tests run on: its Pythons, its users, and its processes.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use std::sync::OnceLock;

use libtest_mimic::Trial;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::runner::{First, Line, ROLE, Spec};

/// A user with no privileges at all, for tests run by root.
const ORDINARY: u32 = 4711;

/// This program, in a place where every user can execute it.
static COPY: OnceLock<PathBuf> = OnceLock::new();

/// Puts it there, in the directory returned; before there are threads, whose children would hold a
/// copy open for writing. A link does where it can be made: a runner that starts each test by itself
/// does this hundreds of times.
pub(crate) fn prepare() -> tempfile::TempDir {
    let directory = readable_directory();
    let copy = COPY.get_or_init(|| directory.path().join("runner"));
    let program = std::env::current_exe().expect("own path");
    if fs::hard_link(&program, copy).is_err() {
        fs::copy(program, copy).expect("a copy");
    }
    directory
}

/// Who runs the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Myself,
    Ordinary,
}

impl Who {
    /// Root tries as an ordinary user too.
    pub(crate) fn all() -> Vec<Self> {
        if rustix::process::geteuid().is_root() {
            vec![Self::Myself, Self::Ordinary]
        } else {
            vec![Self::Myself]
        }
    }

    pub(crate) fn is_root(self) -> bool {
        self == Self::Myself && rustix::process::geteuid().is_root()
    }

    fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/");
        if self == Self::Ordinary {
            command.uid(ORDINARY).gid(ORDINARY);
        }
        command
    }

    /// Gives `path` to this user.
    pub(crate) fn own(self, path: &Path) {
        if self == Self::Ordinary {
            std::os::unix::fs::chown(path, Some(ORDINARY), Some(ORDINARY)).expect("chown");
        }
    }
}

/// A test by name, to be run for a user.
pub(crate) type Test = (&'static str, fn(Who));

/// Every test for every user.
pub(crate) fn for_all_users(group: &str, tests: &[Test]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for who in Who::all() {
        for (name, test) in tests.iter().copied() {
            let run = move || {
                test(who);
                Ok(())
            };
            trials.push(Trial::test(format!("{group}::{who:?}::{name}"), run));
        }
    }
    trials
}

/// A Python and the directories it needs.
pub(crate) struct Python {
    interpreter: PathBuf,
    needs: Vec<PathBuf>,
}

impl Python {
    /// One that this user can execute.
    pub(crate) fn of(who: Who) -> Self {
        let names = ["python3", "/usr/bin/python3", "/run/current-system/sw/bin/python3"];
        names
            .iter()
            .find_map(|name| Self::ask(who, Path::new(name)))
            .expect("a python3 that this user can execute")
    }

    /// Where an interpreter and its libraries are, from itself.
    pub(crate) fn ask(who: Who, name: &Path) -> Option<Self> {
        let script = "import sys; print(sys.executable, sys.prefix, sys.base_prefix, sep='\\n')";
        let output = who.command(name).args(["-I", "-c", script]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
        let mut lines = text.lines().map(PathBuf::from);
        let interpreter = lines.next()?;
        let system = ["/usr", "/bin", "/lib", "/lib64", "/nix/store", "/etc/ld.so.cache"];
        let mut needs: Vec<_> = system.map(PathBuf::from).into_iter().chain(lines).collect();
        needs.retain(|path| path.symlink_metadata().is_ok());
        needs.sort();
        needs.dedup();
        Some(Self { interpreter, needs })
    }

    /// A plan that runs `arguments` with nothing special about it.
    pub(crate) fn spec(&self, arguments: &[&str]) -> Spec {
        let isolated = ["-I", "-B"].iter().chain(arguments);
        Spec {
            interpreter: self.interpreter.clone(),
            arguments: isolated.map(|argument| (*argument).to_owned()).collect(),
            mounts: self.needs.iter().map(|path| (path.clone(), path.clone())).collect(),
            copies: Vec::new(),
            environment: vec![("LC_ALL".into(), "C.UTF-8".into())],
            working_directory: "/tmp".into(),
            limits: Vec::new(),
            best_effort: false,
            first: First::Nothing,
        }
    }
}

/// A runner in a process of its own.
pub(crate) struct Runner {
    child: Child,
    orders: Option<ChildStdin>,
    lines: BufReader<ChildStdout>,
}

impl Runner {
    /// Starts one. It has an ignored signal and an open descriptor to pass on, and must not.
    pub(crate) fn start(who: Who, spec: &Spec) -> Self {
        let mut child = who
            .command(Path::new("sh"))
            .args(["-c", "trap '' USR1; exec 9</dev/null; exec \"$@\"", "sh"])
            .arg(COPY.get().expect("prepared"))
            .args([ROLE, &serde_json::to_string(spec).expect("JSON")])
            .env("MPYC_PARTY_TEST_SECRET", "not for the program")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a runner");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Self { orders: child.stdin.take(), child, lines }
    }

    /// The next line it tells.
    pub(crate) fn line(&mut self) -> Line {
        if self.lines.buffer().is_empty() {
            assert!(comes(self.lines.get_ref()), "the runner is silent");
        }
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no line but «{line}»"))
    }

    /// The warnings with which the program was started.
    pub(crate) fn started(&mut self) -> Vec<String> {
        match self.line() {
            Line::Started { warnings } => warnings,
            other => panic!("not started: {other:?}"),
        }
    }

    /// Exit, output and error output, whatever comes before.
    pub(crate) fn exited(&mut self) -> (String, String, String) {
        loop {
            if let Line::Exited { exit, stdout, stderr, .. } = self.line() {
                return (exit, stdout, stderr);
            }
        }
    }

    /// Has it kill the program.
    pub(crate) fn order_kill(&mut self) {
        self.orders.as_mut().expect("orders").write_all(b"kill\n").expect("an order");
    }

    /// Kills the runner itself, with no chance to clean up.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("killed");
    }

    /// Init and payload, as the host sees them.
    pub(crate) fn sandboxed(&self) -> (Pid, Pid) {
        let runner = Pid::from_child(&self.child);
        let init = child_of(runner);
        (init, child_of(init))
    }

    /// The runner as the host sees it.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ended = self.child.kill();
        self.child.wait().expect("reaped");
    }
}

/// A directory in which every user may look.
pub(crate) fn readable_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    directory
}

/// The only child of a process; a process has one from the moment it was told to have started.
fn child_of(parent: Pid) -> Pid {
    let is_child = |entry: fs::DirEntry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let status = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name, in parentheses, may hold anything.
        let parent_text = status.rsplit(')').next()?.split_whitespace().nth(1)?;
        (parent_text == parent.as_raw_nonzero().to_string()).then(|| Pid::from_raw(pid)).flatten()
    };
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    processes.filter_map(is_child).next().expect("a child")
}

/// A process that is to end: its descriptor does not mistake another for it.
pub(crate) struct Watched(OwnedFd);

impl Watched {
    pub(crate) fn new(pid: Pid) -> Self {
        Self(rustix::process::pidfd_open(pid, PidfdFlags::empty()).expect("it runs"))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::pidfd_send_signal(&self.0, signal).expect("it runs");
    }

    /// Whether it ends.
    pub(crate) fn ends(&self) -> bool {
        comes(&self.0)
    }
}

/// Whether something comes, within a time far longer than it should take.
fn comes(descriptor: &impl AsFd) -> bool {
    let long = Timespec { tv_sec: 30, tv_nsec: 0 };
    let mut wanted = [PollFd::new(descriptor, PollFlags::IN)];
    rustix::event::poll(&mut wanted, Some(&long)).expect("poll") == 1
}

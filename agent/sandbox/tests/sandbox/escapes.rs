//! What a Python that tries everything finds in the full sandbox.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};

use crate::host::{Python, Runner, Who, readable_directory};
use crate::runner::First;

/// System calls tried with arguments of zero. The filter answers `ENOSYS` before they are looked
/// at; without it they would find something else wrong with them, or work.
#[rustfmt::skip]
const CALLS: &[(&str, libc::c_long)] = &[
    ("unshare", libc::SYS_unshare), ("setns", libc::SYS_setns), ("clone3", libc::SYS_clone3),
    ("mount", libc::SYS_mount), ("umount2", libc::SYS_umount2), ("fsopen", libc::SYS_fsopen),
    ("open_tree", libc::SYS_open_tree), ("move_mount", libc::SYS_move_mount),
    ("mount_setattr", libc::SYS_mount_setattr), ("pivot_root", libc::SYS_pivot_root),
    ("chroot", libc::SYS_chroot), ("ptrace", libc::SYS_ptrace),
    ("process_vm_readv", libc::SYS_process_vm_readv), ("pidfd_open", libc::SYS_pidfd_open),
    ("pidfd_getfd", libc::SYS_pidfd_getfd), ("keyctl", libc::SYS_keyctl),
    ("add_key", libc::SYS_add_key), ("request_key", libc::SYS_request_key),
    ("io_uring_setup", libc::SYS_io_uring_setup), ("bpf", libc::SYS_bpf),
    ("userfaultfd", libc::SYS_userfaultfd), ("perf_event_open", libc::SYS_perf_event_open),
    ("open_by_handle_at", libc::SYS_open_by_handle_at), ("memfd_create", libc::SYS_memfd_create),
    ("personality", libc::SYS_personality), ("shmget", libc::SYS_shmget),
    ("msgget", libc::SYS_msgget), ("mknodat", libc::SYS_mknodat), ("setuid", libc::SYS_setuid),
    ("seccomp", libc::SYS_seccomp), ("connect", libc::SYS_connect), ("bind", libc::SYS_bind),
    ("truncate", libc::SYS_truncate), ("fchownat", libc::SYS_fchownat),
    ("setxattr", libc::SYS_setxattr), ("utimensat", libc::SYS_utimensat),
    ("sched_setaffinity", libc::SYS_sched_setaffinity), ("clone", libc::SYS_clone),
    ("capget", libc::SYS_capget), ("fcntl", libc::SYS_fcntl), ("ioctl", libc::SYS_ioctl),
];
/// Those of [`CALLS`] that the probe only wants the number of.
const TOOLS: [&str; 4] = ["clone", "capget", "fcntl", "ioctl"];

const NAMESPACES: [(&str, i32); 7] = [
    ("user", libc::CLONE_NEWUSER),
    ("mnt", libc::CLONE_NEWNS),
    ("pid", libc::CLONE_NEWPID),
    ("net", libc::CLONE_NEWNET),
    ("ipc", libc::CLONE_NEWIPC),
    ("uts", libc::CLONE_NEWUTS),
    ("cgroup", libc::CLONE_NEWCGROUP),
];

const THREADS: u64 = 12;
const TMP_SIZE: u64 = 8 << 20;

/// One test for each thing tried, and a sandbox for each user who tries.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for who in Who::all() {
        let found = Arc::new(OnceLock::new());
        for (name, expected) in expectations(who) {
            let found = Arc::clone(&found);
            let title = format!("escape::{who:?}::{name}");
            trials.push(Trial::test(title, move || {
                let (warnings, outcome) = found.get_or_init(|| probe(who));
                let result = if name == "warnings" { warnings } else { &outcome[&name] };
                if *result == expected {
                    return Ok(());
                }
                Err(Failed::from(format!("found {result}, expected {expected}")))
            }));
        }
    }
    trials
}

/// What is to be found, by name of the attempt.
fn expectations(who: Who) -> BTreeMap<String, Value> {
    let mut expected = BTreeMap::new();
    let mut expect = |name: &str, value: Value| drop(expected.insert(name.to_owned(), value));
    // The private world of the program.
    expect("descriptors", json!([0, 1, 2, 3]));
    expect("environment", json!({"LC_ALL": "C.UTF-8", "GIVEN": "as it is"}));
    expect("control", json!("SOCK_SEQPACKET"));
    expect("host_name", json!("sandbox"));
    expect("domain_name", json!("(none)"));
    expect("ids", json!([1000]));
    // Of a copied file nothing but its content: not its name, its times, its owner.
    expect(
        "copy",
        json!({
            "content": "copied", "beside": ["data"], "times": [0.0], "owners": [1000],
            "modes": ["0o100400", "0o40755"], "flags": "rdonly nosuid nodev noexec",
        }),
    );
    expect("leads_session", json!(true));
    expect("working_directory", json!("/tmp"));
    expect("ignored_signals", json!([]));
    expect("blocked_signals", json!(0));
    // Privileges.
    expect("capabilities", json!(0));
    expect("no_new_privs", json!(1));
    expect("securebits", json!(0b1110_1111));
    expect("is_root", json!(false));
    // System calls.
    for (name, _) in CALLS.iter().filter(|(name, _)| !TOOLS.contains(name)) {
        expect(&format!("call {name}"), json!("ENOSYS"));
    }
    for family in ["INET", "INET6", "UNIX", "NETLINK", "PACKET", "VSOCK", "ALG"] {
        expect(&format!("socket AF_{family}"), json!("ENOSYS"));
    }
    for (name, _) in NAMESPACES {
        expect(&format!("clone {name}"), json!("ENOSYS"));
    }
    for name in ["socketpair datagram", "socket filter", "fork", "kill 0", "kill 1", "kill -1"] {
        expect(name, json!("ENOSYS"));
    }
    for name in ["limits of others", "send signals of a descriptor", "type on a terminal"] {
        expect(name, json!("ENOSYS"));
    }
    for name in ["shared memory", "growing stack", "chmod /input"] {
        expect(name, json!("ENOSYS"));
    }
    for name in
        ["socketpair stream", "kill self", "shared file", "private memory", "read /input/data"]
    {
        expect(name, json!("allowed"));
    }
    // Files. What does not exist was never mounted, EROFS comes from mounts, EACCES from landlock.
    for path in ["/proc/self/status", "/sys/kernel", "/etc/passwd", "/dev/tty", "/dev/zero", "/run"]
    {
        expect(&format!("read {path}"), json!("ENOENT"));
    }
    expect("read key", json!("ENOENT"));
    expect("list /", json!("EACCES"));
    expect("list /input", json!("allowed"));
    for path in ["/new", "/dev/new", "/input/new", "/input/below/new", "/copy/new"] {
        expect(&format!("create {path}"), json!("EROFS"));
    }
    for path in ["/tmp/new", "/dev/shm/new"] {
        expect(&format!("create {path}"), json!("allowed"));
    }
    expect("read /scratch", json!("ENOENT"));
    expect("execute from /tmp", json!("EPERM"));
    for path in ["/input", "/input/below", "/input/data"] {
        expect(&format!("flags {path}"), json!("rdonly nosuid nodev"));
    }
    expect("flags /", json!("rdonly nosuid nodev"));
    for path in ["/tmp", "/dev/shm"] {
        expect(&format!("flags {path}"), json!("nosuid nodev noexec"));
    }
    // Limits.
    expect("core_limit", json!([1, 1]));
    expect("memory", json!("MemoryError"));
    expect("file size", json!("EFBIG"));
    for path in ["/tmp", "/dev/shm"] {
        expect(&format!("room in {path}"), json!("ENOSPC"));
    }
    expect("filled", json!(TMP_SIZE));
    expect("open files", json!("EMFILE"));
    if who.is_root() {
        let uncounted = "the runner is root, whose threads the kernel does not count: the limit on \
                         threads has no effect. Run it as an ordinary user";
        expect("warnings", json!([uncounted]));
    } else {
        expect("warnings", json!([]));
        expect("threads", json!(THREADS));
    }
    expected
}

/// Runs the probe; returns the warnings and what it found.
fn probe(who: Who) -> (Value, BTreeMap<String, Value>) {
    let directory = readable_directory();
    let at = |name: &str| directory.path().join(name);
    for name in ["input", "input/below", "host"] {
        fs::create_dir(at(name)).expect("a directory");
        who.own(&at(name));
    }
    fs::write(at("probe.py"), include_str!("probe.py")).expect("the probe");
    let files = [("input/data", "secret"), ("host/key", "secret"), ("host/diagnosis", "copied")];
    for (name, content) in files {
        fs::write(at(name), content).expect("a file");
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o600)).expect("chmod");
        who.own(&at(name));
    }
    let given = json!({
        "calls": CALLS.iter().copied().collect::<BTreeMap<_, _>>(),
        "tools": TOOLS,
        "key": at("host/key"),
        "namespaces": NAMESPACES.into_iter().collect::<BTreeMap<_, _>>(),
        "read": ["/proc/self/status", "/sys/kernel", "/etc/passwd", "/dev/tty", "/dev/zero", "/run",
                 "/scratch", "/input/data"],
        "list": ["/", "/input"],
        "create": ["/new", "/dev/new", "/input/new", "/input/below/new", "/copy/new", "/tmp/new",
                   "/dev/shm/new"],
        "chmod": ["/input"],
        "flags": ["/input", "/input/below", "/input/data", "/", "/tmp", "/dev/shm"],
        "exhaust": true,
    });
    let mut spec = Python::of(who).spec(&["/probe.py", &given.to_string()]);
    spec.mounts.push((at("probe.py"), "/probe.py".into()));
    spec.mounts.push((at("input"), "/input".into()));
    spec.copies.push((at("host/diagnosis"), "/copy/data".into()));
    spec.environment.push(("GIVEN".into(), "as it is".into()));
    spec.first = First::MountBelow(at("input/below"));
    spec.limits = [
        ("memory", 512 << 20),
        ("threads", THREADS),
        ("open_files", 200),
        ("file_size", 2 << 20),
        ("tmp_size", TMP_SIZE),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec();
    let mut runner = Runner::start(who, &spec);
    let warnings = runner.started();
    let (exit, stdout, stderr) = runner.exited();
    let outcome = serde_json::from_str(&stdout)
        .unwrap_or_else(|error| panic!("{exit}, {error}: {stdout}\n{stderr}"));
    (json!(warnings), outcome)
}

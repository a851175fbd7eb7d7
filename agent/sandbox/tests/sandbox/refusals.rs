//! What is refused, with which words, and what still holds where less than everything can be had.

use std::fs;
use std::path::PathBuf;

use libtest_mimic::Trial;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;

use crate::host::{Python, Runner, Test, Watched, Who, for_all_users, readable_directory};
use crate::runner::{First, Line, Spec};

/// All of them, for every user.
pub(crate) fn trials() -> Vec<Trial> {
    let tests: [Test; 10] = [
        ("other_threads_are_refused", other_threads_are_refused),
        ("a_missing_source_is_named", a_missing_source_is_named),
        ("what_is_no_file_is_not_shown", what_is_no_file_is_not_shown),
        ("what_cannot_be_copied_is_not_copied", what_cannot_be_copied_is_not_copied),
        ("a_missing_interpreter_is_named", a_missing_interpreter_is_named),
        ("a_missing_directory_is_named", a_missing_directory_is_named),
        ("a_place_in_a_mounted_tree_is_refused", a_place_in_a_mounted_tree_is_refused),
        ("no_namespaces_are_refused", no_namespaces_are_refused),
        ("best_effort_keeps_the_other_layers", best_effort_keeps_the_other_layers),
        ("best_effort_outlives_no_runner", best_effort_outlives_no_runner),
    ];
    for_all_users("refusal", &tests)
}

fn spec(who: Who, change: impl FnOnce(&mut Spec)) -> Spec {
    let mut spec = Python::of(who).spec(&["-c", "pass"]);
    change(&mut spec);
    spec
}

/// The runner refuses with a message that holds all of these.
fn refused(who: Who, spec: &Spec, words: &[&str]) {
    match Runner::start(who, spec).line() {
        Line::Refused(message) => {
            for word in words {
                assert!(message.contains(word), "no «{word}» in: {message}");
            }
        }
        other => panic!("not refused: {other:?}"),
    }
}

fn other_threads_are_refused(who: Who) {
    refused(who, &spec(who, |spec| spec.first = First::Thread), &["before threads", "there are 2"]);
}

fn a_missing_source_is_named(who: Who) {
    let missing = |spec: &mut Spec| spec.mounts.push(("/nowhere/at all".into(), "/x".into()));
    refused(who, &spec(who, missing), &["«/nowhere/at all»", "No such file"]);
}

fn what_is_no_file_is_not_shown(who: Who) {
    let directory = readable_directory();
    let (fifo, link) = (directory.path().join("fifo"), directory.path().join("link"));
    mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o644), 0).expect("a FIFO");
    std::os::unix::fs::symlink(&fifo, &link).expect("a link");
    for (path, told) in
        [(fifo, "it is a FIFO"), (link, "it is a FIFO"), ("/dev/zero".into(), "it is a device")]
    {
        let shown = |spec: &mut Spec| spec.mounts.push((path.clone(), "/x".into()));
        let path = path.display().to_string();
        refused(who, &spec(who, shown), &[&path, told, "name a regular file or a directory"]);
    }
}

fn what_cannot_be_copied_is_not_copied(who: Who) {
    let directory = readable_directory();
    let at = |name: &str| directory.path().join(name);
    mknodat(CWD, at("fifo"), FileType::Fifo, Mode::from_raw_mode(0o644), 0).expect("a FIFO");
    fs::File::create(at("large")).and_then(|file| file.set_len((64 << 20) + 1)).expect("a file");
    who.own(&at("large"));
    for (name, told) in [
        ("fifo", "it is a FIFO"),
        ("none", "No such file"),
        ("large", "it is larger than 67108864 bytes, half of the memory"),
        (".", "no regular file"),
    ] {
        let copied = |spec: &mut Spec| {
            spec.copies.push((at(name), "/copy/data".into()));
            spec.limits.push(("memory".into(), 128 << 20));
        };
        refused(who, &spec(who, copied), &[&at(name).display().to_string(), told]);
    }
}

fn a_missing_interpreter_is_named(who: Who) {
    let missing = |spec: &mut Spec| spec.interpreter = "/usr/no-python".into();
    refused(who, &spec(who, missing), &["executing", "«/usr/no-python»", "not among the files"]);
}

fn a_missing_directory_is_named(who: Who) {
    let missing = |spec: &mut Spec| spec.working_directory = "/no-directory".into();
    refused(who, &spec(who, missing), &["working directory", "«/no-directory»", "No such file"]);
}

fn a_place_in_a_mounted_tree_is_refused(who: Who) {
    let directory = readable_directory();
    let path = directory.path().to_owned();
    let inside = |spec: &mut Spec| {
        spec.mounts.push((path.clone(), "/tree".into()));
        spec.mounts.push((path.clone(), "/tree/below".into()));
    };
    refused(who, &spec(who, inside), &["placing", "«/tree/below»", "Read-only"]);
}

fn no_namespaces_are_refused(who: Who) {
    let no = |spec: &mut Spec| spec.first = First::NoUserNamespaces;
    let words = ["user.max_user_namespaces", "or set sandbox = \"best-effort\""];
    refused(who, &spec(who, no), &words);
}

/// A program's view from a sandbox without namespaces.
const VIEW: &str = "
import ctypes, errno, json, os, resource, socket, sys
def attempt(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return 'allowed'
libc = ctypes.CDLL(None)
found = {
    'read own file': attempt(open, sys.argv[1]),
    'read copied file': attempt(open, os.environ['INPUT']),
    'read key': attempt(open, sys.argv[2]),
    'write key': attempt(open, sys.argv[2], 'w'),
    'chmod key': attempt(os.chmod, sys.argv[2], 0o777),
    'truncate key': attempt(os.truncate, sys.argv[2], 0),
    'process list': attempt(os.listdir, '/proc'),
    'socket': attempt(socket.socket),
    'kill runner': attempt(os.kill, os.getppid(), 9),
    'limit runner': attempt(resource.prlimit, os.getppid(), resource.RLIMIT_NOFILE, (9, 9)),
    'fork': attempt(os.fork),
    'no new privileges': libc.prctl(39, 0, 0, 0, 0),
    'environment': dict(os.environ),
    'leads session': os.getsid(0) == os.getpid(),
    'files': resource.getrlimit(resource.RLIMIT_NOFILE)[0],
}
print(json.dumps(found))
";

fn best_effort_keeps_the_other_layers(who: Who) {
    let directory = readable_directory();
    let at = |name: &str| directory.path().join(name);
    for name in ["mine", "copied", "key"] {
        fs::write(at(name), "secret").expect("a file");
        who.own(&at(name));
    }
    let key = at("key").to_str().expect("text").to_owned();
    let mut spec = Python::of(who).spec(&["-c", VIEW, "/inside/mine", &key]);
    spec.mounts.push((at("mine"), PathBuf::from("/inside/mine")));
    spec.copies.push((at("copied"), PathBuf::from("/inside/copied")));
    spec.environment.push(("INPUT".into(), "/inside/copied".into()));
    spec.limits.push(("open_files".into(), 99));
    spec.first = First::NoUserNamespaces;
    spec.best_effort = true;
    let mut runner = Runner::start(who, &spec);
    let warnings = runner.started();
    assert!(warnings[0].contains("without namespaces"), "{warnings:?}");
    assert!(!warnings[0].contains("best-effort"), "{warnings:?}");
    let (_, stdout, stderr) = runner.exited();
    let found: serde_json::Value =
        serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout}{stderr}"));
    let expected = serde_json::json!({
        "read own file": "allowed",
        "read copied file": "allowed",
        "read key": "EACCES",
        "write key": "EACCES",
        "chmod key": "ENOSYS",
        "truncate key": "ENOSYS",
        "process list": "EACCES",
        "socket": "ENOSYS",
        "kill runner": "ENOSYS",
        "limit runner": "ENOSYS",
        "fork": "ENOSYS",
        "no new privileges": 1,
        "environment": {"LC_ALL": "C.UTF-8", "INPUT": at("copied")},
        "leads session": true,
        "files": 99,
    });
    assert_eq!(found, expected);
}

fn best_effort_outlives_no_runner(who: Who) {
    let mut spec = Python::of(who).spec(&["-c", "import threading; threading.Event().wait()"]);
    spec.first = First::NoUserNamespaces;
    spec.best_effort = true;
    let mut runner = Runner::start(who, &spec);
    runner.started();
    let (init, payload) = runner.sandboxed();
    let (init, payload) = (Watched::new(init), Watched::new(payload));
    payload.signal(Signal::STOP);
    assert_eq!(runner.line(), Line::Stopped);
    runner.kill();
    assert!(init.ends() && payload.ends());
}

//! What a program finds where it runs: its input and nothing of who gave it, and what is typed while it
//! runs and nothing that was typed before.

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use common::{LIMIT, SUM, completes, demo, run_by_way_of, terminal, three};
use mpyc_party_lab::party::Run;
use rustix::system::uname;
use serde_json::{Value, json};

/// Reads all that there is to be read, and tries what there must not be.
const LOOKS: &str = r#"
import ctypes, json, locale, os, socket, sys, time
from mpyc.runtime import mpc

def texts(path):
    try:
        with open(path, 'rb') as file:
            return file.read().decode('latin-1')
    except OSError as error:
        return f'errno {error.errno}'

own = ['/session', '/launcher', '/input', '/tmp', '/etc', '/dev']
found = [path for top in own for path, _, _ in os.walk(top)]
files = [os.path.join(path, name) for top in own for path, _, names in os.walk(top) for name in names]
uname = ctypes.create_string_buffer(6 * 65)
ctypes.CDLL(None).uname(uname)
input = os.environ['MPYC_PARTY_INPUT']
status, above = os.stat(input), os.stat(os.path.dirname(input))
forbidden = [
    *(f'/proc/{who}/{what}' for who in ('self', '1', os.getpid(), os.getppid())
      for what in ('mountinfo', 'cmdline', 'environ', 'cgroup', 'status', 'maps')),
    '/proc/cpuinfo', '/proc/version', '/proc/sys/kernel/random/boot_id', '/proc/sys/kernel/hostname',
    '/etc/passwd', '/etc/hostname', '/etc/hosts', '/etc/machine-id', '/etc/resolv.conf', '/etc/localtime',
    '/etc/timezone', '/etc/locale.conf', '/var/lib/dbus/machine-id', '/usr/lib/locale/locale-archive',
    '/sys/class/dmi/id/product_uuid', '/dev/tty',
]
seen = {
    'all': [dict(os.environ), sys.argv, sys.path, sys.executable, sys.orig_argv, repr(sys.flags), repr(vars(mpc.options)),
            uname.raw.decode('latin-1'), socket.gethostname(), os.getcwd(), locale.getlocale(), time.tzname, found, files,
            [texts(file) for file in files], repr([os.lstat(file) for file in files])],
    'readable': [path for path in forbidden if not texts(path).startswith('errno')],
    'ids': [*os.getresuid(), *os.getresgid()],
    'node': os.uname().nodename,
    'zone': time.tzname,
    'input': [input, texts(input), status.st_mtime, status.st_atime, status.st_uid, status.st_nlink, above.st_mtime],
    'beside': os.listdir(os.path.dirname(input)),
    'prefixes': [sys.prefix, sys.base_prefix],
}
if mpc.pid == 0:
    seen = json.dumps(seen)  # long lines are cut
    for part in range(0, len(seen), 4000):
        print('part:' + seen[part:part + 4000])
    print('part:')
mpc.run(mpc.start())
mpc.run(mpc.shutdown())
"#;

/// What the program wrote in parts.
fn parts(run: &Run) -> Result<String> {
    let part = |event: &Value| Some(event["line"].as_str()?.strip_prefix("part:")?.to_owned());
    let (mut all, mut count) = (String::new(), 1);
    loop {
        let found = |event: &Value| part(event).is_some();
        let (_, event) = run.wait_for_number(count, "part", LIMIT, found)?;
        match part(&event).unwrap_or_default().as_str() {
            "" => return Ok(all),
            next => all += next,
        }
        count += 1;
    }
}

#[test]
fn a_program_sees_its_input_and_nothing_of_who_gave_it() -> Result<()> {
    let network = three()?;
    network.declare(&demo(LOOKS).input("as it is"))?;
    let alice = network.party("alice");
    let mut way = Command::new("env");
    way.args([
        "USER=needle-user",
        "LOGNAME=needle-user",
        "HOSTNAME=needle-host",
        "SSH_CLIENT=needle",
    ]);
    way.args(["TZ=Asia/Needle", "LANG=ne_ED.UTF-8", "MPYC_PARTY_NEEDLE=needle"]);
    let first = run_by_way_of(way, alice)?;
    let others = ["bob", "carol"].map(|name| network.party(name).run("demo"));
    let seen: Value = serde_json::from_str(&parts(&first)?)?;
    // The interpreter is where it is, as `docs/security.md` says.
    let mut all = seen["all"].to_string();
    for prefix in seen["prefixes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        all = all.replace(prefix, "PYTHON");
    }
    let host = uname().nodename().to_string_lossy().into_owned();
    let directory = alice.directory().display().to_string();
    let (above, _) = directory.rsplit_once('/').context("a directory")?;
    for needle in ["needle", "Needle", "ne_ED", "private-input", "alice", above, &host] {
        ensure!(!all.contains(needle), "«{needle}» is in {all}");
    }
    for (what, expected) in [
        ("readable", json!([])),
        ("ids", json!([1000, 1000, 1000, 1000, 1000, 1000])),
        ("node", json!("sandbox")),
        ("zone", json!(["UTC", "UTC"])),
        ("input", json!(["/input/input", "as it is", 0.0, 0.0, 1000, 1, 0.0])),
        ("beside", json!(["input"])),
    ] {
        ensure!(seen[what] == expected, "{what}: {}, expected {expected}", seen[what]);
    }
    completes(first)?;
    others.into_iter().try_for_each(|run| completes(run?))?;
    Ok(network.end()?)
}

#[test]
fn an_input_that_is_too_large_is_refused_with_what_to_do() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM).input(&"x".repeat((1 << 20) + 1)).set("memory", "2"))?;
    let mut run = network.party("alice").run("demo")?;
    ensure!(run.exit(LIMIT)?.code() == Some(1));
    for said in ["private-input", "larger than 1 MiB", "«memory»"] {
        ensure!(run.said().contains(said), "no «{said}»: {}", run.said());
    }
    Ok(network.end()?)
}

/// Replaces itself by its interpreter, which the launcher knows nothing of.
const REPLACED: &str = r#"
import os, sys
from mpyc.runtime import mpc

TRIES = """
import os, socket
def attempt(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return os.strerror(error.errno)
    return 'allowed'
print('tried', attempt(open, '/etc/passwd'), attempt(socket.socket), attempt(os.fork), sep=': ', flush=True)
"""
mpc.run(mpc.start())
os.execv(sys.executable, [sys.executable, '-I', '-c', TRIES])
"#;

#[test]
fn a_program_that_replaces_itself_stays_in_the_sandbox() -> Result<()> {
    let network = three()?;
    network.declare(&demo(REPLACED))?;
    for run in network.run("demo")? {
        let calls = "Function not implemented: Function not implemented";
        run.wait_for_line(&format!("tried: No such file or directory: {calls}"), LIMIT)?;
    }
    Ok(network.end()?)
}

/// Reads a line once all are connected.
const READS: &str = "
from mpyc.runtime import mpc
mpc.run(mpc.start())
print('running', flush=True)
print('read', input() if mpc.pid == 0 else 'nothing', flush=True)
mpc.run(mpc.shutdown())
";

#[test]
fn what_was_typed_before_the_program_started_is_not_for_it() -> Result<()> {
    let network = three()?;
    network.declare(&demo(READS))?;
    let (keyboard, end) = terminal()?;
    let mut command = network.party("alice").command();
    command.args(["session", "run", "demo", "--json"]);
    command.stdin(end).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut alice = command.spawn()?;
    drop(command);
    let type_in = |line: &str| rustix::io::write(&keyboard, line.as_bytes());
    type_in("a password for something else\nand half a line")?;
    // It waits for the others, and has long looked at its standard input if it is to do so.
    std::thread::sleep(Duration::from_secs(2));
    let others = ["bob", "carol"].map(|name| network.party(name).run("demo"));
    let mut read = Vec::new();
    for line in BufReader::new(alice.stdout.take().context("no output")?).lines() {
        let event: Value = serde_json::from_str(&line?)?;
        match event["line"].as_str() {
            Some("running") => drop(type_in("an answer\n")?),
            Some(line) => read.extend(line.strip_prefix("read ").map(str::to_owned)),
            None => {}
        }
    }
    ensure!(alice.wait()?.success() && read == ["an answer"], "{read:?}");
    others.into_iter().try_for_each(|run| completes(run?))?;
    Ok(network.end()?)
}

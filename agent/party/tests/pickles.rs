//! MPyC unpickles what its peers send. A peer that sends code, or what would crash the process or keep
//! it busy, is refused by the launcher and named; and were there no launcher, the sandbox alone would
//! hold.

mod common;

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use common::{LIMIT, all_blame, completes, demo, three};

/// All exchange something; carol's pickle runs a function where it is read.
const EVIL: &str = r#"
import mpyc.runtime
import pickle
from mpyc.runtime import mpc

CODE = '''
@CODE@
'''

class Evil:
    def __reduce__(self):
        return exec, (CODE, {})

@PREPARE@
if mpc.pid == 2:
    evil = pickle.dumps(Evil())
    mpyc.runtime.pickle.dumps = lambda value: evil
mpc.run(mpc.start())
mpc.run(mpc.transfer('harmless'))
print('received')
mpc.run(mpc.shutdown())
"#;

/// All exchange something; carol's message is made by hand, and she does not read it herself.
const BY_HAND: &str = r#"
import mpyc.runtime
from mpyc.runtime import mpc

if mpc.pid == 2:
    message = @MESSAGE@
    mpyc.runtime.pickle.dumps = lambda value: message
    mpyc.runtime.pickle.loads = lambda data: None
mpc.run(mpc.start())
mpc.run(mpc.transfer('harmless'))
print('received')
mpc.run(mpc.shutdown())
"#;

/// Messages that would bring down who reads them with Python's unpickler, and what the verdict says.
/// Those of protocol 3 are written as the launcher writes its own.
const HOSTILE: [(&str, &str, &str); 9] = [
    ("a deeply nested key", r"b'\x80\x02})' + 3_000_000 * b'\x85' + b'Ns.'", "not written by"),
    (
        "a key whose hash takes ages",
        r"b'\x80\x02)q\0' + b''.join(b'0h%ch%c\x86q%c' % (n, n, n + 1) for n in range(60)) + b'0}h\x3cNs.'",
        "not written by",
    ),
    ("a huge place in the memo", r"b'\x80\x02Nr\xf0\xff\xff\x0f.'", "not written by"),
    ("the same in our protocol", r"b'\x80\x03Nr\xf0\xff\xff\x0f.'", "LONG_BINPUT"),
    (
        "a deep value in our protocol",
        r"b'\x80\x03)' + 3_000_000 * b'\x85' + b'.'",
        "nested more than",
    ),
    (
        "arrays in arrays",
        r"b'\x80\x03' + 200_000 * b'X\x07\0\0\0objectsK\x01\x85]' + b'N' + 200_000 * b'a\x87Q' + b'.'",
        "nested more than",
    ),
    (
        "keys with the same hash",
        r"b'\x80\x03X\x03\0\0\0set](' + b''.join(b'\x8a\x0b' + (n * (2**61 - 1)).to_bytes(11, 'little') for n in range(100_000)) + b'e\x86Q.'",
        "more than 10000",
    ),
    (
        "the same, as Python writes them",
        r"b'\x80\x03}(' + b''.join(b'\x8a\x0b' + (n * (2**61 - 1)).to_bytes(11, 'little') + b'N' for n in range(100_000)) + b'u.'",
        "EMPTY_DICT",
    ),
    ("a kind that is no text", r"b'\x80\x03X\x03\0\0\0\xed\xa0\x80\x85Q.'", r"\ud800"),
];

/// Tries to get at what lies outside of the sandbox; all but the first file must be denied.
const ATTEMPTS: &str = r#"
import ctypes, os, signal, socket
libc = ctypes.CDLL(None, use_errno=True)

def attempt(name, action):
    try:
        print("attempt", name, "SUCCEEDED", action())
    except (OSError, MemoryError) as error:
        print("attempt", name, "denied")

def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")

attempt("network", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
attempt("unix socket", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
attempt("own directory", lambda: open("/tmp/own", "w"))
attempt("sockets of services", lambda: os.listdir("/run"))
attempt("bus", lambda: os.stat("/run/dbus/system_bus_socket"))
attempt("journal", lambda: os.stat("/run/systemd/journal/socket"))
attempt("key", lambda: open("@KEY@").read())
attempt("config", lambda: open("@CONFIG@").read())
attempt("processes", lambda: os.listdir("/proc"))
attempt("write program", lambda: open("/session/program.py", "a"))
attempt("write launcher", lambda: open("/launcher/launcher.py", "a"))
attempt("write root", lambda: open("/new", "w"))
attempt("write host", lambda: open("@STATE@/new", "w"))
attempt("signal init", lambda: os.kill(1, signal.SIGKILL))
attempt("signal all", lambda: os.kill(-1, signal.SIGKILL))
attempt("fork", os.fork)
attempt("ptrace", lambda: call(101, 16, 1, 0, 0))
attempt("new namespace", lambda: call(272, 0x10000000))
attempt("mount", lambda: call(165, 0, 0, 0, 0, 0))
print("tried everything")
"#;

fn evil(prepare: &str, code: &str) -> String {
    EVIL.replace("@PREPARE@", prepare).replace("@CODE@", code)
}

#[test]
fn a_pickle_that_runs_code_is_refused_and_its_sender_named() -> Result<()> {
    let network = three()?;
    network.declare(&demo(&evil("", "print('code ran')")))?;
    let mut runs = network.run("demo")?;
    for run in &runs {
        run.wait_for("running", LIMIT)?;
    }
    for outcome in all_blame(&mut runs, Instant::now(), &["carol"], "pickle")? {
        ensure!(outcome.text.contains("builtins.exec"), "{}", outcome.text);
    }
    for run in &runs {
        ensure!(!run.said().contains("code ran"), "{}", run.said());
        ensure!(!run.said().contains("\"received\""), "{}", run.said());
    }
    Ok(network.end()?)
}

#[test]
fn who_sends_what_would_bring_down_the_others_is_named() -> Result<()> {
    let network = three()?;
    for (what, message, reason) in HOSTILE {
        network.declare(&demo(&BY_HAND.replace("@MESSAGE@", message)))?;
        let mut runs = network.run("demo")?;
        for run in &runs {
            run.wait_for("running", LIMIT)?;
        }
        let outcomes = all_blame(&mut runs, Instant::now(), &["carol"], "pickle");
        for outcome in outcomes.with_context(|| what.to_owned())? {
            ensure!(outcome.text.contains(reason), "{what}: {}", outcome.text);
        }
    }
    Ok(network.end()?)
}

/// Carol sends the others bytes that are no messages of MPyC, or too many.
const UNFRAMED: &str = r#"
import struct
from mpyc.runtime import mpc

mpc.run(mpc.start())
mpc.run(mpc.transfer('harmless'))
for peer in mpc.parties[:2]:
    if mpc.pid == 2:
        peer.protocol.transport.write(@BYTES@)
mpc.run(mpc.transfer('harmless'))
mpc.run(mpc.transfer('never', senders=[2]))
"#;

#[test]
fn who_breaks_the_framing_is_named() -> Result<()> {
    let network = three()?;
    for (bytes, reason) in [
        ("2 * struct.pack('<qI4s', 7, 4, b'once')", "two messages for one program counter"),
        ("struct.pack('<qI', 7, 2**32 - 1)", "ahead of what is awaited"),
    ] {
        let program = UNFRAMED.replace("@BYTES@", bytes);
        network.declare(&demo(&program).set("memory", "2048"))?;
        let mut runs = network.run("demo")?;
        for run in &runs {
            run.wait_for("running", LIMIT)?;
        }
        for outcome in all_blame(&mut runs, Instant::now(), &["carol"], "protocol")? {
            ensure!(outcome.text.contains(reason), "{bytes}: {}", outcome.text);
        }
    }
    Ok(network.end()?)
}

#[test]
fn without_the_allow_list_the_sandbox_alone_holds() -> Result<()> {
    let network = three()?;
    let alice = network.party("alice");
    let code = ATTEMPTS
        .replace("@KEY@", &alice.state().join("identity/key.pem").to_string_lossy())
        .replace("@CONFIG@", &alice.config().to_string_lossy())
        .replace("@STATE@", &alice.state().to_string_lossy());
    // The program itself puts the ordinary pickle back, which only an agreed program can.
    network.declare(&demo(&evil("mpyc.runtime.pickle = pickle", &code)))?;
    let runs = network.run("demo")?;
    for run in runs {
        run.wait_for_line("tried everything", LIMIT)?;
        run.wait_for_line("received", LIMIT)?;
        run.verdict(LIMIT)?;
        let said = run.said();
        let attempts: Vec<&str> = said.lines().filter(|line| line.contains("attempt ")).collect();
        ensure!(attempts.len() >= 19, "{said}");
        for attempt in attempts {
            // What is allowed works, so that the others fail for the reason that they should.
            let allowed = attempt.contains("own directory");
            let ended = if allowed { "SUCCEEDED" } else { "denied\"}" };
            ensure!(attempt.contains(ended), "{attempt}");
        }
        completes(run)?;
    }
    ensure!(!alice.state().join("new").exists());
    Ok(network.end()?)
}

//! What the consent says of a run is what the run then does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::network::{Network, Party, said, says};

/// Tries what the consent says that it may do and may not do.
const PROGRAM: &str = r"
import errno, os, socket, sys
from mpyc.runtime import mpc

def reads(path):
    try:
        return bool(os.listdir(path) if os.path.isdir(path) else open(path, 'rb').read(1))
    except OSError:
        return False

print('python', reads(os.__file__), 'etc', reads('/etc/passwd'), 'home', reads('/root') or reads('/home'))
print('var', reads('/var'), 'proc', reads('/proc'))
try:
    socket.create_connection(('127.0.0.1', 9))
except OSError as error:
    print('network', errno.errorcode.get(error.errno))
room = 0
try:
    for number in range(200):
        with open(f'/tmp/{number}', 'wb') as file:
            file.write(bytes(1 << 20))
        room += 1
except OSError as error:
    print('room', errno.errorcode[error.errno])
print('tmp', 60 <= room <= 64)
mpc.run(mpc.start())
mpc.run(mpc.shutdown())
";

/// Three, of whom alice has declared a session with these lines more, and bob and carol have imported it;
/// what bob was shown.
fn three(more: &str) -> (Network, [Party; 3], String) {
    let network = Network::new("example");
    let parties = ["alice", "bob", "carol"].map(|name| network.party(name));
    let [alice, bob, carol] = &parties;
    alice.write("p.py", PROGRAM.as_bytes());
    alice.configure(&format!(
        "[sessions.demo]\nprogram = \"p.py\"\nparties = [\"alice\", \"bob\", \"carol\"]\n{more}"
    ));
    alice.succeeds(&["session", "export", "demo"]);
    let [shown, _] = [bob, carol].map(|party| {
        party.write("demo.bundle", &fs::read(alice.path("demo.bundle")).unwrap());
        party.succeeds(&["session", "import", "demo.bundle", "--yes"])
    });
    (network, parties, shown)
}

const RUN: [&str; 3] = ["session", "run", "demo"];

fn runs(party: &Party) -> Vec<PathBuf> {
    let all = fs::read_dir(party.path("runs")).unwrap();
    all.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_run_does_what_was_agreed_to_and_no_more() {
    let (_network, [alice, bob, carol], shown) = three("deadline = \"60s\"\n");
    says(
        &shown,
        &[
            "no other network",
            "Python with the libraries of this machine",
            "and no other file",
            "its own /tmp is gone after the run",
            "64 MiB more in /tmp",
            "stays in runs/ of mpyc-party's state directory, for you alone",
        ],
    );
    let others = [&alice, &carol].map(|party| party.command(&RUN).spawn().unwrap());
    let ran = bob.succeeds(&RUN);
    for child in others {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }
    says(
        &ran,
        &["python True etc False home False\nvar False proc False\n", "network ", "tmp True\n"],
    );
    assert!(!ran.contains("network ECONNREFUSED"), "{ran}");
    // The output is kept, and nobody else reads it.
    let kept = runs(&bob);
    let output = kept[0].join("output.txt");
    says(&fs::read_to_string(&output).unwrap(), &["tmp True"]);
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o077;
    assert_eq!((kept.len(), mode(&kept[0]), mode(&output)), (1, 0, 0));
    bob.succeeds(&["session", "remove", "demo"]);
    assert!(output.exists());
}

#[test]
fn a_run_without_the_others_ends_after_the_deadline_without_a_result() {
    let (_network, [_, bob, _], shown) = three("deadline = \"2s\"\n");
    says(&shown, &["does not have all parties ready after 2s ends without a result"]);
    let ran = bob.fails(&RUN);
    says(&ran, &["not there at the deadline"]);
    assert!(!ran.contains("tmp True"), "{ran}");
}

#[test]
fn a_demanded_python_that_is_not_here_is_said_before() {
    let (_network, [alice, bob, carol], shown) = three("python = \"3.2\"\ndeadline = \"30s\"\n");
    says(&shown, &["All parties must have Python 3.2.", "so a run\n  would fail here"]);
    let others = [&alice, &carol].map(|party| party.command(&RUN).spawn().unwrap());
    says(&bob.fails(&RUN), &["demands Python 3.2"]);
    for child in others {
        assert_eq!(child.wait_with_output().unwrap().status.code(), Some(1));
    }
}

#[test]
fn an_import_that_was_edited_is_not_said_to_be_what_was_signed() {
    let (_network, [_, bob, _], _) = three("deadline = \"2s\"\n");
    let show = |party: &Party| party.succeeds(&["session", "show", "demo"]);
    assert!(!show(&bob).contains("changed on this machine"), "{}", show(&bob));
    let path = bob.path("sessions/demo/session.toml");
    let definition = fs::read_to_string(&path).unwrap();
    // Who may start it is this party's own: that is no edit of what was signed.
    let own = definition.replace("start = \"manual\"", "start = \"on-proposal\"");
    let own = own.replace("max-runs = 1", "max-runs = 5");
    fs::write(&path, &own).unwrap();
    says(&show(&bob), &["5 times in all (5 left)"]);
    fs::create_dir_all(bob.path("tallies")).unwrap();
    bob.write("tallies/demo.json", br#"{"runs":3,"last":9}"#);
    says(&show(&bob), &["5 times in all (2 left)"]);
    assert!(!show(&bob).contains("changed on this machine"), "{}", show(&bob));
    fs::write(&path, own.replace("arguments = []", "arguments = [\"1\"]")).unwrap();
    fs::write(bob.path("sessions/demo/files/p.py"), "print(2)\n").unwrap();
    let edited = "not signed by anybody: the arguments, the content of p.py";
    says(&show(&bob), &["changed on this machine since the import", edited]);
    let output = bob.command(&["session", "show", "demo", "--json"]).output().unwrap();
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["edited"], serde_json::json!(["the arguments", "the content of p.py"]));
    assert_eq!(value["runs_left"], 2);
    let check = ["session", "check", "demo", "--wait", "10ms"];
    says(&bob.fails(&check), &["the arguments, the content of p.py: another here than in the"]);
    // Nor is it what its bundle holds: to import that again is to replace it.
    let again = bob.fails(&["session", "import", "demo.bundle", "--yes"]);
    let since = "(edited here since the import)";
    says(&again, &[&format!("the arguments {since}, the content of p.py {since}"), "--replace"]);
    bob.succeeds(&["session", "import", "demo.bundle", "--yes", "--replace"]);
    assert!(!show(&bob).contains("changed on this machine"), "{}", show(&bob));
    says(&bob.succeeds(&["session", "import", "demo.bundle", "--yes"]), &["and the same"]);
    fs::write(&path, "no definition").unwrap();
    says(
        &bob.fails(&["session", "import", "demo.bundle", "--yes"]),
        &["the one here cannot be read"],
    );
}

#[test]
fn a_list_says_where_there_is_no_privacy() {
    let weak = "options = [\"-K\", \"10\"]\nallow-no-privacy = true\n";
    let (_network, [alice, bob, _], shown) = three(weak);
    says(&shown, &["no privacy, whatever the threshold", "Nothing here keeps it from them"]);
    for party in [alice, bob] {
        says(&party.succeeds(&["session", "list"]), &["1 of 3: no privacy"]);
    }
}

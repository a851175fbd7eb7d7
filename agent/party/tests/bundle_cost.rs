//! Bundles of nearly the largest size that are made to cost most: a member of the network signed them, and to
//! look at one takes little more than to hold it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod network;

use std::process::Command;

use network::{Network, Party, says};

/// What is set before the content when it is signed: part of the format.
const LABEL: &[u8] = b"mpyc-party session bundle 1\n";
/// Address space in KiB, most of it for threads' arenas, and seconds of processor time.
const LIMITS: &str = "ulimit -v 600000; ulimit -t 5; exec \"$@\"";
/// How much there is of what costs, in bytes.
const COSTLY_BYTES: usize = 15 << 20;
/// As much as that becomes in base64.
const COSTLY_DATA_BYTES: usize = 11 << 20;

struct World {
    _network: Network,
    alice: Party,
    bob: Party,
    /// The content of a good bundle of alice, up to its files.
    head: String,
}

impl World {
    fn new() -> Self {
        let network = Network::new("example");
        let [alice, bob] = ["alice", "bob"].map(|name| network.party(name));
        alice.write("p.py", b"pass\n");
        alice.configure(
            "[sessions.demo]\nprogram = \"p.py\"\nparties = [\"alice\", \"bob\", \"carol\"]\n",
        );
        alice.succeeds(&["session", "export", "demo"]);
        let good = std::fs::read_to_string(alice.path("demo.bundle")).unwrap();
        let head = good[..good.find("[[files]]").unwrap()].to_owned();
        Self { _network: network, alice, bob, head }
    }

    /// A bundle with these files, each with its text or base64 as it is written.
    fn with_files(&self, files: &[(&str, &str)]) -> String {
        let file =
            |(name, content): &(&str, &str)| format!("[[files]]\nname = \"{name}\"\n{content}\n");
        self.head.clone() + &files.iter().map(file).collect::<String>()
    }

    /// What bob is told of this content, signed by alice, within the limits.
    fn refuses(&self, what: &str, content: &str, expected: &str) {
        let identity = self.alice.identity();
        let signature = identity.sign(&[LABEL, content.as_bytes()].concat());
        let blocks = [("CERTIFICATE", identity.certificate()), ("SIGNATURE", &signature[..])];
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        let block = |(label, bytes)| pem::encode_config(&pem::Pem::new(label, bytes), config);
        self.bob
            .write("costly.bundle", (content.to_owned() + &blocks.map(block).concat()).as_bytes());
        // Nobody is asked: whatever is not refused ends there.
        let import = self.bob.command(&["session", "import", "costly.bundle"]);
        let mut limited = Command::new("sh");
        limited.args(["-c", LIMITS, "sh"]).arg(import.get_program()).args(import.get_args());
        limited.current_dir(&self.bob.directory);
        let output = limited.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{what}: {:?}", output.status);
        says(&String::from_utf8_lossy(&output.stderr), &[expected]);
    }
}

#[test]
fn many_small_values_are_not_read() {
    let world = World::new();
    let good = world.with_files(&[("p.py", "text = \"pass\"")]);
    let times = |text: &str| text.repeat(COSTLY_BYTES / text.len());
    for (what, content) in [
        ("an array", format!("bundle = 1\nx = [{}]\n", times("0,"))),
        ("arguments", good.replace("arguments = []", &format!("arguments = [{}]", times("'',")))),
        ("tables", good.clone() + &times("[[files]]\n")),
        ("arrays in arrays", format!("bundle = 1\nx = {}\n", times("["))),
        ("a long key", format!("bundle = 1\nx{} = 1\n", times(".a"))),
        ("comments", good.clone() + &times("#\n")),
        ("empty lines", good + &times("\n")),
    ] {
        world.refuses(what, &content, "more values");
    }
}

#[test]
fn code_that_nobody_could_read_is_not_shown() {
    let world = World::new();
    for line in ["\n", "é\n", "\t\n", "é"] {
        let text = format!("text = '''\n{}'''", line.repeat(COSTLY_BYTES / line.len()));
        let content = world.with_files(&[("p.py", &text)]);
        world.refuses(line, &content, "more than anybody reads");
    }
    let half = format!("text = '''\n{}'''", "pass\n".repeat((600 << 10) / 5));
    let content = world.with_files(&[("p.py", &half), ("q.py", &half)]);
    world.refuses("in two files", &content, "have 1228800 bytes");
    let short = format!("text = '''\n{}'''", "\n".repeat(100_001));
    let content = world.with_files(&[("p.py", &short)]);
    world.refuses("short lines", &content, "100001 bytes in 100001 lines");
    // As much as is allowed, in the lines that cost most.
    let most = format!("text = '''\n{}'''", "éééé\n".repeat(100_000));
    world.refuses("the most", &world.with_files(&[("p.py", &most)]), "no terminal to ask on");
}

#[test]
fn an_archive_whose_names_overlap_is_looked_through_in_time() {
    let world = World::new();
    let entries = b"PK\x01\x02".repeat(COSTLY_DATA_BYTES / 4);
    let archive = [&entries[..], b"PK\x05\x06", &[0; 18]].concat();
    let archive = format!("base64 = \"{}\"", data_encoding::BASE64.encode(&archive));
    let content = world.with_files(&[("p.py", "text = \"pass\""), ("d.bin", &archive)]);
    world.refuses("an archive", &content, "no terminal to ask on");
}

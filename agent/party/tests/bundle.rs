//! Bundles that somebody made to deceive, damaged on purpose, or lost a part of: none gets in.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod network;

use std::sync::OnceLock;

use mpyc_party::session::bundle::{self, BundleError, MAX_BYTES, Opened};
use mpyc_party_transport::{Identity, RENEWAL_GRACE, now};
use network::{Network, Party, says};
use proptest::prelude::*;

/// What is set before the content when it is signed: part of the format.
const LABEL: &[u8] = b"mpyc-party session bundle 1\n";

/// Parties and a bundle on disk.
struct World {
    _network: Network,
    alice: Party,
    bob: Party,
    /// In the network and not in the roster.
    eve: Party,
    /// A good bundle of alice.
    good: String,
}

impl World {
    fn new() -> Self {
        let network = Network::new("example");
        let [alice, bob, eve] = ["alice", "bob", "eve"].map(|name| network.party(name));
        alice.write("p.py", b"print(1)\n-----BEGIN CERTIFICATE-----\n");
        alice.configure(
            "[sessions.demo]\nprogram = \"p.py\"\nparties = [\"alice\", \"bob\", \"carol\"]\n",
        );
        alice.succeeds(&["session", "export", "demo"]);
        let good = std::fs::read_to_string(alice.path("demo.bundle")).unwrap();
        Self { _network: network, alice, bob, eve, good }
    }

    /// Alice's bundle with `from` replaced by `to`, properly signed by her.
    fn changed(&self, from: &str, to: &str) -> String {
        change(&self.good, &self.alice.identity(), from, to)
    }
}

/// What tests need that touch no files.
struct Known {
    alice: Identity,
    bob: Identity,
    eve: Identity,
    /// Called alice as well, in another network of the same name.
    stranger: Identity,
    good: String,
}

fn known() -> &'static Known {
    static KNOWN: OnceLock<Known> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let (world, other) = (World::new(), Network::new("example"));
        let [alice, bob, eve] = [&world.alice, &world.bob, &world.eve].map(Party::identity);
        Known {
            alice,
            bob,
            eve,
            stranger: other.party("alice").identity(),
            good: world.good.clone(),
        }
    })
}

fn content(bundle: &str) -> &str {
    &bundle[..bundle.rfind("-----BEGIN CERTIFICATE-----").unwrap()]
}

/// A bundle with this content, signed by `identity`.
fn signed(identity: &Identity, content: &str) -> String {
    let signature = identity.sign(&[LABEL, content.as_bytes()].concat());
    sealed(content, identity.certificate(), &signature)
}

fn sealed(content: &str, certificate: &[u8], signature: &[u8]) -> String {
    let blocks = [("CERTIFICATE", certificate), ("SIGNATURE", signature)];
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    let block = |(label, bytes)| pem::encode_config(&pem::Pem::new(label, bytes), config);
    content.to_owned() + &blocks.map(block).concat()
}

fn change(bundle: &str, signer: &Identity, from: &str, to: &str) -> String {
    let content = content(bundle);
    assert!(content.contains(from), "{from} is not in {content}");
    signed(signer, &content.replacen(from, to, 1))
}

/// Alice's bundle with `from` replaced by `to`, properly signed by her.
fn changed(from: &str, to: &str) -> String {
    change(&known().good, &known().alice, from, to)
}

fn open_at(text: &[u8], at: u64) -> Result<Opened, BundleError> {
    bundle::open(text, known().bob.root(), at)
}

fn refused(text: &str, expected: &[&str]) {
    let error = open_at(text.as_bytes(), now()).unwrap_err().to_string();
    says(&error, expected);
    assert!(!error.contains(|c: char| c.is_control()), "{error:?}");
}

#[test]
fn a_good_bundle_is_read_as_it_was_meant() {
    let opened = open_at(known().good.as_bytes(), now()).unwrap();
    assert_eq!(opened.key, known().alice.claims().key);
    assert_eq!(opened.files[0].0, "p.py");
    assert_eq!(opened.files[0].1, b"print(1)\n-----BEGIN CERTIFICATE-----\n");
    assert_eq!(
        open_at(changed("deadline = \"10m\"", "deadline = \"11m\"").as_bytes(), now())
            .unwrap()
            .differences(&opened),
        ["the deadline"]
    );
}

#[test]
fn no_byte_can_be_changed() {
    let good = known().good.as_bytes();
    for at in 0..good.len() {
        for bit in [1, 0x20, 0x80] {
            let mut bad = good.to_vec();
            bad[at] ^= bit;
            assert!(open_at(&bad, now()).is_err(), "byte {at} with {bit:#x}");
        }
    }
}

#[test]
fn nothing_can_be_cut_off_or_put_on() {
    let good = known().good.as_bytes();
    for length in 0..good.len() {
        let error = open_at(&good[..length], now()).unwrap_err();
        assert!(matches!(error, BundleError::Torn), "{length}: {error}");
    }
    for more in ["\n", "x", &known().good] {
        assert!(open_at(format!("{}{more}", known().good).as_bytes(), now()).is_err(), "{more}");
        assert!(open_at(format!("{more}{}", known().good).as_bytes(), now()).is_err(), "{more}");
    }
    let dos = known().good.replace('\n', "\r\n");
    assert!(matches!(open_at(dos.as_bytes(), now()), Err(BundleError::Torn)));
}

proptest! {
    #[test]
    fn no_bytes_are_a_bundle(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
        prop_assert!(open_at(&bytes, now()).is_err());
    }

    #[test]
    fn no_signed_nonsense_is_a_bundle(text in "(bundle = 1\n)?(\\PC|\n|=|\\[|\"){0,200}\n") {
        let bundle = signed(&known().alice, &text);
        prop_assert!(open_at(bundle.as_bytes(), now()).is_err());
    }
}

#[test]
fn only_the_proposer_signs() {
    let Known { alice, bob, eve, stranger, good } = known();
    let content = content(good);
    refused(&signed(bob, content), &["signed by", "bob", "from somebody else"]);
    let from_eve = content.replace("from = \"alice\"", "from = \"eve\"");
    refused(&signed(eve, &from_eve), &["eve", "not among the session's parties"]);
    let bobs = bob.sign(&[LABEL, content.as_bytes()].concat());
    refused(&sealed(content, alice.certificate(), &bobs), &["signature does not fit"]);
    // A signature over the same bytes for another purpose.
    let bare = alice.sign(content.as_bytes());
    refused(&sealed(content, alice.certificate(), &bare), &["signature does not fit"]);
    refused(&signed(stranger, content), &["not signed by this network's authority"]);
    // Bob proposes, and pins a key of his own making for himself.
    let key = |identity: &Identity| identity.claims().key.to_string();
    let from_bob = content.replace("from = \"alice\"", "from = \"bob\"");
    let from_bob = from_bob.replace(&key(bob), &key(eve));
    refused(&signed(bob, &from_bob), &["the key of bob is", &key(eve)]);
}

/// Content of 15 MiB that costs most to read: a value in every second byte.
fn costly() -> String {
    format!("bundle = 1\nx = [{}]\n", "0,".repeat(15 << 19))
}

#[test]
fn nothing_of_a_stranger_is_read() {
    let Known { stranger, bob, alice, .. } = known();
    // None of these is a bundle, and neither of the first two errors says so.
    for content in ["no TOML\n", "bundle = 2\n"] {
        refused(&signed(stranger, content), &["not signed by this network's authority"]);
        let forged = alice.sign(b"something else");
        let forged = sealed(content, bob.certificate(), &forged);
        refused(&forged, &["signature does not fit"]);
    }
    refused(&signed(alice, "bundle = 2\n"), &["version 2"]);
    let binary = [b"\xff\n", signed(stranger, "").as_bytes()].concat();
    let error = open_at(&binary, now()).unwrap_err();
    assert!(matches!(error, BundleError::Signer(_)), "{error}");
    // What one of the network signs is read, and no more of it is shown than helps.
    let key = format!("bundle = 1\n{} = [{}]\n", "x".repeat(99_999), "0,".repeat(29_999));
    let error = open_at(signed(alice, &key).as_bytes(), now()).unwrap_err();
    let error = format!("{:#}", anyhow::Error::from(error));
    assert!(error.len() < 2000 && error.contains("unknown field"), "{} bytes", error.len());
    let long = "x".repeat(20_000);
    let long = sealed("bundle = 1\n", long.as_bytes(), b"");
    assert!(matches!(open_at(long.as_bytes(), now()), Err(BundleError::Torn)));
}

#[test]
fn the_largest_bundle_of_a_stranger_costs_hardly_more_than_to_hold_it() {
    // Address space in KiB, most of it for threads' arenas, and seconds of processor time.
    const LIMITS: &str = "ulimit -v 600000; ulimit -t 2; exec \"$@\"";
    let world = World::new();
    world.bob.write("costly.bundle", signed(&known().stranger, &costly()).as_bytes());
    let import = world.bob.command(&["session", "import", "costly.bundle", "--yes"]);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", LIMITS, "sh"]).arg(import.get_program()).args(import.get_args());
    limited.current_dir(&world.bob.directory);
    says(&network::fails(&mut limited), &["not signed by this network's authority"]);
}

#[test]
fn options_of_mpyc_are_those_of_the_list() {
    for (options, expected) in [
        (r#"["-K", "1"]"#, "give -K at least 30"),
        (r#"["--sec-param=8"]"#, "give -K at least 30"),
        (r#"["-L2"]"#, "give -K at least 30"),
        (r#"["-T0"]"#, "«threshold» says that"),
        (r#"["--thres", "0"]"#, "«threshold» says that"),
        (r#"["-I", "2"]"#, "the position among «parties»"),
        (r#"["--no-async"]"#, "one party alone"),
        (r#"["--no-pr"]"#, "none of the options of MPyC"),
        (r#"["\u001b[2J"]"#, "none of the options of MPyC"),
    ] {
        refused(&changed("options = []", &format!("options = {options}")), &[expected]);
    }
    let meant = "allow-no-privacy = true\noptions = [\"-K\", \"1\"]";
    let meant = changed("allow-no-privacy = false\noptions = []", meant);
    assert!(open_at(meant.as_bytes(), now()).is_ok());
}

#[test]
fn another_network_is_named() {
    let Known { stranger, bob, good, .. } = known();
    let [own, theirs] = [bob, stranger].map(|identity| identity.root().fingerprint.to_string());
    let text = content(good).replace(&own, &theirs);
    refused(
        &signed(stranger, &text),
        &["of the network example", &theirs, "this party is in", &own],
    );
}

#[test]
fn the_network_has_the_name_of_its_root() {
    let other = changed("network = \"example\"", "network = \"bank\"");
    refused(&other, &["«bank»", "root is that of the network «example»", "a false name"]);
}

#[test]
fn file_names_stay_names() {
    for bad in [
        "../p.py",
        "/etc/p.py",
        "a/../p.py",
        "..",
        ".",
        "",
        "p\\\\p.py",
        "p\\u001b.py",
        "p\\u202e.py",
        "p\\np.py",
    ] {
        let twice = content(&known().good).replace("\"p.py\"", &format!("\"{bad}\""));
        refused(&signed(&known().alice, &twice), &["cannot be the name of a file"]);
    }
    let below = content(&known().good).replace("\"p.py\"", "\"a/p.py\"");
    refused(&signed(&known().alice, &below), &["the program lies in a directory"]);
    refused(
        &changed("program = \"p.py\"", "program = \"q.py\""),
        &["program is not among the files"],
    );
    let again = "[[files]]\nname = \"p.py\"\ntext = \"\"\n\n[[files]]";
    refused(&changed("[[files]]", again), &["two files have the same name"]);
    let inside = "[[files]]\nname = \"p.py/x/y\"\ntext = \"\"\n\n[[files]]";
    refused(&changed("[[files]]", inside), &["«p.py» is a file and a directory"]);
    let many: String =
        (0..200).map(|i| format!("[[files]]\nname = \"f{i}\"\ntext = \"\"\n")).collect();
    refused(&changed("[[files]]", &format!("{many}[[files]]")), &["201 files are too many"]);
}

#[test]
fn only_what_belongs_to_a_session_is_taken() {
    let cases = [
        ("bundle = 1", "bundle = 2", "version 2"),
        ("network =", "more = 1\nnetwork =", "unknown field `more`"),
        ("threshold = 1", "threshold = 1\ninput = \"/etc/shadow\"", "unknown field `input`"),
        ("threshold = 1", "threshold = 1\nsandbox = \"best-effort\"", "unknown field `sandbox`"),
        ("threshold = 1", "threshold = 1\nstart = \"on-proposal\"", "unknown field `start`"),
        ("threshold = 1", "threshold = 0", "every party can learn every input"),
        ("threshold = 1", "threshold = 2", "threshold 2 is too large"),
        ("name = \"p.py\"", "name = \"p.py\"\nmode = 7", "unknown field `mode`"),
        ("session = \"demo\"", "session = \"../demo\"", "is not a name"),
        ("session = \"demo\"", "session = \"\\u001b[2J\"", "is not a name"),
        ("\"carol\",", "\"bob\",", "«bob» is in the roster twice"),
        ("output = 64", "output = 99999999999999999", "output is more than 16384 MiB"),
        ("output = 64", "output = 16385", "give a smaller size, as in output = 1024"),
        ("output = 64", "output = 64\nmemory = 99999999", "memory is more than 16777216 MiB"),
        ("\"10m\"", "\"500000000000y\"", "deadline is longer than 30days"),
        ("\"30s\"", "\"2months\"", "grace is longer than 30days"),
        (
            "arguments = []",
            "arguments = [\"a\\u0000b\"]",
            "argument number 1 in arguments has a NUL",
        ),
    ];
    for (from, to, expected) in cases {
        refused(&changed(from, to), &[expected]);
    }
    let long = format!("arguments = [\"{}\"]", "x".repeat(40_000));
    refused(&changed("arguments = []", &long), &["arguments and options are longer"]);
}

#[test]
fn size_is_bounded() {
    let large = "x".repeat(usize::try_from(MAX_BYTES).unwrap());
    let error = open_at(changed("print(1)", &large).as_bytes(), now()).unwrap_err();
    assert!(matches!(error, BundleError::TooLarge), "{error}");
    let world = World::new();
    let World { alice, bob, .. } = &world;
    bob.write("large", &vec![b'x'; usize::try_from(MAX_BYTES).unwrap() + 10]);
    says(&bob.fails(&["session", "import", "large", "--yes"]), &["larger than 16 MiB"]);
    says(&bob.fails(&["session", "import", "/dev/zero", "--yes"]), &["larger than 16 MiB"]);
    alice.write("large.py", large.as_bytes());
    let mut text = std::fs::read_to_string(alice.path("config.toml")).unwrap();
    text = text.replace("[sessions.demo]", "[sessions.big]").replace("p.py", "large.py");
    alice.write("big.toml", text.as_bytes());
    let export = ["session", "export", "big", "--config", "big.toml"];
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mpyc-party"));
    command.args(export).arg("--state").arg(&alice.directory).current_dir(&alice.directory);
    says(
        &network::fails(&mut command),
        &["larger than 16 MiB", "hand large files over another way"],
    );
}

#[test]
fn a_slow_bundle_is_accepted_and_an_old_or_future_one_is_not() {
    let (good, day) = (known().good.as_bytes(), 86_400);
    assert!(open_at(good, now() + 7 * day).is_ok(), "the certificate has expired meanwhile");
    let late = open_at(good, now() + RENEWAL_GRACE + 2 * day).unwrap_err();
    assert!(matches!(late, BundleError::Old(_)), "{late}");
    let early = open_at(good, now() - 2 * day).unwrap_err();
    assert!(matches!(early, BundleError::Future(_)), "{early}");
    let line = content(&known().good).lines().find(|line| line.starts_with("signed")).unwrap();
    // Before its certificate was there, and after its end.
    refused(&changed(line, "signed = \"2020-01-01T00:00:00Z\""), &["valid only in"]);
    let after = format!("signed = \"{}-01-01T00:00:00Z\"", 2100);
    let error = open_at(changed(line, &after).as_bytes(), 4_200_000_000).unwrap_err();
    assert!(matches!(error, BundleError::Signer(_)), "{error}");
}

#[test]
fn a_bundle_is_for_its_parties_with_their_keys() {
    let world = World::new();
    let World { alice, bob, eve, good, .. } = &world;
    eve.write("demo.bundle", good.as_bytes());
    let import = ["session", "import", "demo.bundle", "--yes"];
    says(&eve.fails(&import), &["for alice, bob, carol", "this party is eve"]);
    let key = |party: &Party| party.identity().claims().key.to_string();
    bob.write("demo.bundle", world.changed(&key(bob), &key(eve)).as_bytes());
    says(&bob.fails(&import), &["the key of bob is", &key(eve), &key(bob)]);
    // Alice pins for carol another key than bob's configuration does.
    let pinned = format!("[proposal.keys]\ncarol = \"{}\"", key(eve));
    bob.write("demo.bundle", world.changed("[proposal.keys]", &pinned).as_bytes());
    bob.configure(&format!("[peers.carol]\nkey = \"{}\"\n", key(alice)));
    says(&bob.fails(&import), &["the key of carol is", &key(eve), &key(alice)]);
    // Two of the roster are one: stated so in two ways, and by what is known here.
    bob.configure("");
    let pinned = |whose| format!("[proposal.keys]\ncarol = \"{}\"", key(whose));
    let both = ["carol", "the same key"];
    for whose in [alice, bob] {
        let same = world.changed("[proposal.keys]", &pinned(whose));
        bob.write("demo.bundle", same.as_bytes());
        says(&bob.fails(&import), &both);
    }
    let without_bob = content(good).replace(&format!("bob = \"{}\"\n", key(bob)), "");
    let same = without_bob.replace("[proposal.keys]", &pinned(bob));
    bob.write("demo.bundle", signed(&alice.identity(), &same).as_bytes());
    says(&bob.fails(&import), &both);
    assert!(!bob.path("sessions").exists());
}

#[test]
fn no_party_is_called_like_a_word_of_a_sentence() {
    for word in ["nobody", "you", "and", "everybody"] {
        let called = format!("\"{word}\",");
        refused(&changed("\"carol\",", &called), &[&format!("no party can be called «{word}»")]);
    }
}

#[test]
fn what_is_shown_commands_no_terminal_and_hides_nothing() {
    let world = World::new();
    let eve = &world.eve;
    let evil = "arguments = [\"\\u001b[2J\\u202e\\u0007\"]";
    let text = content(&world.changed("arguments = []", evil))
        .replace("print(1)", "print(1) #\u{202e}\u{200b}");
    let text = text.replace("\"carol\"", "\"eve\"");
    eve.write("evil.bundle", signed(&world.alice.identity(), &text).as_bytes());
    let shown = eve.fails(&["session", "import", "evil.bundle"]);
    says(&shown, &[r#""\u001b[2J\u202e\u0007""#, "print(1) #⟨U+202E⟩⟨U+200B⟩", "Careful"]);
    let bad = |c: char| c != '\n' && c.is_control() || "\u{202e}\u{200b}".contains(c);
    assert!(!shown.contains(bad), "{shown:?}");
    eve.succeeds(&["session", "import", "evil.bundle", "--yes"]);
    let shown = eve.succeeds(&["session", "show", "demo"]);
    says(&shown, &[r#""\u001b[2J\u202e\u0007""#]);
    assert!(!shown.contains(bad), "{shown:?}");
}

#[test]
fn a_script_is_shown_what_it_would_agree_to_and_asked_nothing() {
    let world = World::new();
    let (alice, bob) = (&world.alice, &world.bob);
    bob.write("demo.bundle", world.good.as_bytes());
    let import = ["session", "import", "demo.bundle", "--json"];
    let answer = |arguments: &[&str], status| {
        let output = bob.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(status));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let shown = answer(&import, 1);
    assert_eq!((&shown["state"], &shown["from"]), (&"proposed".into(), &"alice".into()));
    let consent = &shown["consent"];
    assert_eq!(consent["files"][0]["text"]["lines"][0], "print(1)");
    assert_eq!(consent["key"], alice.identity().claims().key.to_string());
    assert_eq!(consent["privacy"]["others"], serde_json::json!(["alice", "carol"]));
    assert!(!bob.path("sessions/demo").exists(), "it is added without a yes");
    let yes = [&import[..], &["--yes"]].concat();
    let added = answer(&yes, 0);
    assert_eq!((&added["state"], &added["consent"]), (&"added".into(), consent));
    assert!(bob.path("sessions/demo").exists());
    assert_eq!(answer(&yes, 0)["state"], "unchanged");
}

#[test]
fn a_file_called_like_the_definition_does_not_replace_it() {
    let world = World::new();
    let eve = &world.eve;
    let text = content(&world.good).replace("\"p.py\"", "\"session.toml\"");
    let text = text.replace("\"carol\"", "\"eve\"").replace("\"demo\"", "\"clash\"");
    eve.write("clash.bundle", signed(&world.alice.identity(), &text).as_bytes());
    eve.succeeds(&["session", "import", "clash.bundle", "--yes"]);
    says(&eve.succeeds(&["session", "show", "clash"]), &["sessions/clash/files/session.toml"]);
}

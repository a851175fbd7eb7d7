//! The corpus goes through the real binary, as bundles and as files.

use std::fs;

use mpyc_party_transport::Identity;

use super::network::{Network, Party, fails, says, succeeds};
use super::{Case, Outcome, corpus};

/// What is set before the content when it is signed: part of the format.
const LABEL: &[u8] = b"mpyc-party session bundle 1\n";

fn toml_string(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// What a bundle of alice holds for `case`, unsigned: `good` is one of hers.
fn content(good: &str, case: &Case) -> String {
    let (head, _) = good.split_once("[[files]]").unwrap();
    let arguments: Vec<String> = case.arguments.iter().map(|a| toml_string(a)).collect();
    let head = head.replace("arguments = []", &format!("arguments = [{}]", arguments.join(", ")));
    let program = format!("program = {}", toml_string(case.program.0));
    let head = head.replace("program = \"p.py\"", &program);
    let file = |(name, bytes): (&str, &Vec<u8>)| {
        let (name, bytes) = (toml_string(name), data_encoding::BASE64.encode(bytes));
        format!("[[files]]\nname = {name}\nbase64 = \"{bytes}\"\n\n")
    };
    let others = case.files.iter().map(|(name, bytes)| (*name, bytes));
    let files = std::iter::once((case.program.0, &case.program.1)).chain(others).map(file);
    head + &files.collect::<String>()
}

fn signed(identity: &Identity, content: &str) -> String {
    let signature = identity.sign(&[LABEL, content.as_bytes()].concat());
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    let block = |(label, bytes): (&str, &[u8])| {
        pem::encode_config(&pem::Pem::new(label, bytes.to_vec()), config)
    };
    let blocks = [("CERTIFICATE", identity.certificate()), ("SIGNATURE", &signature)];
    content.to_owned() + &blocks.map(block).concat()
}

/// Alice and bob, and a good bundle of hers.
fn two() -> (Network, [Party; 2], String) {
    let network = Network::new("example");
    let [alice, bob] = ["alice", "bob"].map(|name| network.party(name));
    alice.write("p.py", b"x = 1\n");
    alice.configure(
        "[sessions.demo]\nprogram = \"p.py\"\nparties = [\"alice\", \"bob\", \"carol\"]\n",
    );
    alice.succeeds(&["session", "export", "demo", "--offline"]);
    let good = fs::read_to_string(alice.path("demo.bundle")).unwrap();
    (network, [alice, bob], good)
}

/// Fails where a terminal would obey a character of `text`, or nobody see it.
fn hides_nothing(tries: &str, text: &str) {
    let is_bad = |c: char| {
        (c.is_control() && c != '\n')
            || "\u{202e}\u{2066}\u{2069}\u{200b}\u{feff}\u{2028}\u{2800}\u{3000}\u{3164}\u{fe0f}\u{a0}\u{e0041}"
                .contains(c)
    };
    assert!(!text.contains(is_bad), "{tries}: {text:?}");
}

#[test]
fn each_is_refused_or_shown_as_what_it_is_when_it_comes_in_a_bundle() {
    let (_network, [alice, bob], good) = two();
    let (identity, corpus) = (alice.identity(), corpus());
    assert!(corpus.len() >= 40, "{} cases", corpus.len());
    for case in &corpus {
        let tries = case.tries;
        bob.write("demo.bundle", signed(&identity, &content(&good, case)).as_bytes());
        let mut import = bob.command(&["session", "import", "demo.bundle", "--yes"]);
        let said = match &case.outcome {
            Outcome::Refused(expected) => {
                let said = fails(&mut import);
                assert!(said.contains(expected), "{tries}: {said}");
                assert!(!bob.path("sessions/demo").exists(), "{tries}: it was added");
                said
            }
            Outcome::Shown(expected) => {
                let said = succeeds(&mut import);
                let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
                println!("{tries}");
                says(&said, &expected);
                fs::remove_dir_all(bob.path("sessions/demo")).unwrap();
                said
            }
        };
        hides_nothing(tries, &said);
    }
}

#[test]
fn none_that_would_be_refused_is_exported() {
    let (_network, [alice, _], _) = two();
    let corpus = corpus();
    let refused = corpus.iter().filter(|case| matches!(case.outcome, Outcome::Refused(_)));
    for (case, number) in refused.zip(0..) {
        let Case { tries, program, files, .. } = case;
        let directory = alice.path(&number.to_string());
        let place = |(name, bytes): (&str, &[u8])| {
            let path = directory.join(name);
            // A file in a file cannot be made.
            fs::create_dir_all(path.parent()?).ok()?;
            fs::write(&path, bytes).ok()?;
            Some(toml_string(path.to_str()?))
        };
        // A name that leads elsewhere leads to another one.
        let is_inside = |name: &str| !name.starts_with('/') && !name.split('/').any(|p| p == "..");
        let all_inside = files.iter().all(|(name, _)| is_inside(name) && !name.contains("/./"));
        let Some(path) = place((program.0, &program.1)).filter(|_| all_inside) else { continue };
        let others: Option<Vec<_>> = files.iter().map(|(name, b)| place((name, b))).collect();
        let (Some(others), false) = (others, program.0.contains('/')) else { continue };
        alice.configure(&format!(
            "[sessions.demo]\nprogram = {path}\nfiles = [{}]\nparties = [\"alice\", \"bob\", \"carol\"]\n",
            others.join(", ")
        ));
        let said = fails(&mut alice.command(&["session", "export", "demo", "--offline"]));
        let Outcome::Refused(expected) = &case.outcome else { continue };
        assert!(said.contains(expected), "{tries}: {said}");
        hides_nothing(tries, &said);
    }
}

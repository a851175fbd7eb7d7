use std::collections::BTreeMap;

use mpyc_party_core::claims::Fingerprint;

use super::*;
use crate::config::Session;
use crate::session::bundle::Bundle;
use crate::session::proposal::Proposal;

fn name(text: &str) -> PartyName {
    text.parse().unwrap()
}

fn opened(parties: &[&str], change: impl FnOnce(&mut Proposal), program: &str) -> Opened {
    let roster: Vec<PartyName> = parties.iter().map(|p| name(p)).collect();
    let session = Session::new("/srv/p.py".into(), roster.try_into().unwrap());
    let keys = BTreeMap::from([(name("bob"), PublicKey([2; 32]))]);
    let mut proposal = Proposal::of(&session, keys);
    change(&mut proposal);
    let bundle = Bundle {
        bundle: 1,
        network: "example".parse().unwrap(),
        root: Fingerprint([9; 32]),
        from: name("alice"),
        signed: OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap(),
        session: "demo".parse().unwrap(),
        proposal,
        files: Vec::new(),
    };
    let files = vec![
        ("helper.bin".to_owned(), vec![0, 1, 2]),
        ("p.py".to_owned(), program.as_bytes().to_vec()),
    ];
    Opened { bundle, key: PublicKey([1; 32]), files }
}

/// What the consent says in words: from the value alone, also once it has travelled.
fn text(opened: &Opened, me: &str, input: Option<&str>) -> String {
    let consent = Consent::of(opened, &name(me), input.map(Path::new), None);
    let text = text::render(&consent, text::DEFAULT_COLUMNS);
    let travelled = serde_json::from_str(&serde_json::to_string(&consent).unwrap()).unwrap();
    let again = text::render(&travelled, text::DEFAULT_COLUMNS);
    assert_eq!(again, text, "the value in JSON holds less than the text says");
    text
}

fn says(text: &str, expected: &[&str]) {
    for expected in expected {
        assert!(text.contains(expected), "does not say «{expected}»:\n{text}");
    }
}

#[test]
fn it_says_what_and_who_and_who_could_learn_what() {
    let three = &["alice", "bob", "carol"];
    let arguments = |p: &mut Proposal| p.arguments = vec!["3".into(), "a b".into()];
    let text = text(&opened(three, arguments, "print(1)\n"), "bob", None);
    says(
        &text,
        &[
            "Session «demo» of the network «example», proposed by alice\nsigned with the key ed25519:",
            "dated 2023-11-14 22:13 UTC by alice: nobody else vouches for that time",
            &PublicKey([1; 32]).to_string(),
            "The program: p.py, 9 bytes\nSHA-256 cc42155088fca5730758db72b2a5bca33112a941dfaa2d43098ec422ce4ea213",
            "  | print(1)\n",
            "Data that it can read\n  helper.bin, 3 bytes\n    SHA-256 ae4b3280e56e2faf83f414a6e3dabe9d5fbe18976544c05fed121accb85b53fc",
            "it may take\n  data for code",
            "Its arguments: \"3\" \"a b\"",
            "0  alice (proposes it): ed25519:",
            "1  bob (this party): ed25519:AgIC",
            "2  carol: no key is pinned: whoever the authority calls carol",
            "any 2 of the 3 together could learn every input;\n  one alone learns nothing but the result",
            "all of these would have to work together: alice, carol",
            "as long as the program uses MPyC as it is, among parties that follow the protocol",
            "up to the program",
            "shown in full",
            "Runs that may start without asking: none",
            "does not have all parties ready after 10m ends without a result",
            "limit of time",
            "outlasts outages of 30s; a longer one ends it",
            "leave with the result before you have it",
            "learn this machine's address",
            "session logs demo",
            "64 MiB more in /tmp",
            "It may also ask when you run it",
            "sees the path of that Python",
        ],
    );
}

#[test]
fn more_parties_need_fewer_than_all() {
    let five = &["alice", "bob", "carol", "dave", "erin"];
    let asked = opened(five, |p| p.threshold = 1, "");
    let text = text(&asked, "bob", Some("/home/bob/wealth"));
    says(
        &text,
        &[
            "any 2 of these 4 others would have to work together: alice, carol, dave, erin",
            "would read /home/bob/wealth, which it finds in $MPYC_PARTY_INPUT",
            "content, and not the name",
            "It may also ask when you run it: it gets what is typed at that terminal",
        ],
    );
}

#[test]
fn no_privacy_is_said_aloud() {
    let asked = opened(&["alice", "bob"], |p| p.allow_no_privacy = true, "");
    let text = text(&asked, "bob", None);
    says(
        &text,
        &[
            "every other party can learn your input",
            "Each of these alone could learn your input: alice",
        ],
    );
}

#[test]
fn options_that_weaken_privacy_are_said_aloud() {
    for (options, hides) in
        [(&["-K", "1"][..], false), (&["-L2"], false), (&["--sec-param=40", "--no-prss"], true)]
    {
        let change = |p: &mut Proposal| {
            p.allow_no_privacy = true;
            p.options = options.iter().map(|&option| option.to_owned()).collect();
        };
        let asked = opened(&["alice", "bob", "carol"], change, "");
        let text = text(&asked, "bob", None);
        let alone = "Each of these alone could learn your input: alice, carol";
        assert_eq!(text.contains("one alone learns nothing but the result"), hides, "{text}");
        assert_eq!(text.contains(alone), !hides, "{text}");
        assert_eq!(text.contains("every other party can learn your input"), !hides, "{text}");
        let value = serde_json::to_value(Consent::of(&asked, &name("bob"), None, None)).unwrap();
        assert_eq!(value["privacy"]["hides"], hides);
    }
}

#[test]
fn an_unknown_mpyc_is_said() {
    for allowed in [true, false] {
        let asked = opened(&["alice", "bob", "carol"], |p| p.allow_unknown_mpyc = allowed, "");
        let text = text(&asked, "bob", None);
        assert_eq!(text.contains("MPyC may be another than a release"), allowed, "{text}");
        let value = serde_json::to_value(Consent::of(&asked, &name("bob"), None, None)).unwrap();
        assert_eq!(value["program"]["unknown_mpyc"], allowed);
    }
}

#[test]
fn nothing_is_hidden_and_nothing_commands_the_terminal() {
    let program = "x = 1\n\u{1b}[2J\u{202e}evil\r\u{200b}\n";
    let arguments = |p: &mut Proposal| {
        p.arguments = vec!["\u{1b}]0;t\u{7}".into()];
        p.options = vec!["\u{2066}".into()];
    };
    let text = text(&opened(&["alice", "bob", "carol"], arguments, program), "bob", None);
    let bad = |c: char| (c != '\n' && c.is_control()) || "\u{202e}\u{200b}\u{2066}".contains(c);
    assert!(!text.contains(bad), "{text:?}");
    says(&text, &["⟨U+001B⟩[2J⟨U+202E⟩evil", "Careful", r#""\u001b]0;t\u0007""#, r#""\u2066""#]);
}

#[test]
fn all_of_the_code_is_there_however_long() {
    let three = &["alice", "bob", "carol"];
    let long = format!("{}evil()\n{}last", " ".repeat(5000), "line\n".repeat(3000));
    let text = text(&opened(three, |_| {}, &long), "bob", None);
    says(&text, &["evil()\n", "  | last\n"]);
    assert_eq!(text.matches("  | line\n").count(), 3000);
    let wide = text.lines().filter(|line| line.starts_with("  |") || line.starts_with("  :"));
    assert!(wide.map(|line| line.chars().count()).all(|count| count <= text::DEFAULT_COLUMNS));
}

#[test]
fn a_line_of_somebody_else_passes_for_none_of_this_text() {
    let padded = format!("x = 1{}What would run\n", " ".repeat(text::DEFAULT_COLUMNS - 9));
    let arguments = |p: &mut Proposal| p.arguments = vec!["3\" \"--safe".into(), "y".repeat(300)];
    let text = text(&opened(&["alice", "bob", "carol"], arguments, &padded), "bob", None);
    says(&text, &["\n  : What would run\n", r#"Its arguments: "3\" \"--safe" "yyy"#, "\n  : yyy"]);
    assert_eq!(text.matches("\nWhat would run\n").count(), 1);
}

#[test]
fn letters_that_look_alike_are_told() {
    let program = "сору = 1\nprint(copy)\n\tｅxec('é')\n";
    let mut asked = opened(&["alice", "bob", "carol"], |_| {}, program);
    asked.files.push(("hеlper.py".to_owned(), b"x = 1\n".to_vec()));
    let text = text(&asked, "bob", None);
    says(
        &text,
        &[
            "  ! сору = 1\n  = ⟨U+0441⟩⟨U+043E⟩⟨U+0440⟩⟨U+0443⟩ = 1\n  | print(copy)\n",
            "  ! →       ｅxec('é')\n  = →       ⟨U+FF45⟩xec('⟨U+00E9⟩')\n",
            "Careful: lines with «!»",
            "Python imports it as: hеlper\n",
            "characters outside ASCII: h⟨U+0435⟩lper.py\n",
        ],
    );
}

#[test]
fn blanks_that_look_alike_are_told() {
    let three = &["alice", "bob", "carol"];
    let note = "A tab stands as «→»";
    let shown = text(&opened(three, |_| {}, "if x:\n\ty = 1  \n        z = 1\n\t \n"), "bob", None);
    says(&shown, &["  | →       y = 1··\n  |         z = 1\n  | →       ·\n", note]);
    assert!(!text(&opened(three, |_| {}, "if x:\n    y = 1\n"), "bob", None).contains(note));
}

#[test]
fn data_that_is_more_than_that_is_named() {
    let mut asked = opened(&["alice", "bob", "carol"], |_| {}, "");
    let zip = [&b"PK\x03\x04 PK\x05\x06"[..], &[0; 18]].concat();
    asked.files.push(("cases.csv".to_owned(), zip));
    let text = text(&asked, "bob", None);
    says(
        &text,
        &["cases.csv, 27 bytes", "Careful: this is an archive, from which Python can import"],
    );
}

#[test]
fn a_page_finds_in_the_value_what_a_person_decides_by() {
    let program = "x = 1\n\u{202e}evil\nprint(x)\n";
    let asked = opened(&["alice", "bob", "carol"], |p| p.memory = Some(512), program);
    let value = serde_json::to_value(Consent::of(&asked, &name("bob"), None, None)).unwrap();
    assert_eq!(value["program"]["name"], "p.py");
    let file = &value["files"][0];
    assert_eq!((&file["name"], &file["is_program"]), (&"p.py".into(), &true.into()));
    assert_eq!(
        (&file["bytes"], &file["sha256"]),
        (&program.len().into(), &hash(program.as_bytes()).into())
    );
    assert_eq!(file["text"]["lines"][1], "⟨U+202E⟩evil");
    assert_eq!(file["text"]["with_hidden"], serde_json::json!([2]));
    assert_eq!(file["text"]["exact"]["2"], "⟨U+202E⟩evil");
    assert_eq!((&file["kind"], &value["files"][1]["kind"]), (&"code".into(), &"data".into()));
    assert!(value["files"][1]["text"].is_null(), "it is no text");
    let bob = &value["roster"][1];
    assert_eq!((&bob["party"], &bob["is_me"]), (&"bob".into(), &true.into()));
    assert_eq!(bob["key"], PublicKey([2; 32]).to_string());
    assert!(value["roster"][2]["key"].is_null(), "no key is pinned");
    let privacy = &value["privacy"];
    assert_eq!((&privacy["threshold"], &privacy["coalition"]), (&1.into(), &2.into()));
    assert_eq!(privacy["others"], serde_json::json!(["alice", "carol"]));
    assert_eq!((&value["start"], &value["runs_without_asking"]), (&"manual".into(), &0.into()));
    assert_eq!(
        (&value["limits"]["memory_mib"], &value["limits"]["deadline"]),
        (&512.into(), &"10m".into())
    );
    assert_eq!(value["sandbox"], "required");
}

/// What somebody reads of a session with these values, and must not read.
type Reading = (fn(&mut Proposal), &'static [&'static str], &'static [&'static str]);

#[test]
fn each_sentence_follows_from_the_session() {
    const HOLDS: &str = "This holds as long as the program uses MPyC as it is";
    const NOTHING: &str = "Nothing here keeps it from them";
    let cases: [Reading; 20] = [
        (
            |_| {},
            &["with threshold 1", "you among them: any 2 of the 3", HOLDS, "all of these"],
            &[NOTHING],
        ),
        (
            |p| (p.threshold, p.allow_no_privacy) = (0, true),
            &["no privacy", NOTHING, "alone"],
            &[HOLDS],
        ),
        (|p| weakened(p, "-K10"), &["no privacy", NOTHING, r#"MPyC itself: "-K10""#], &[HOLDS]),
        (|p| weakened(p, "-L2"), &["no privacy", NOTHING], &[HOLDS]),
        (|p| weakened(p, "-K40"), &[HOLDS, r#"MPyC itself: "-K40""#], &[NOTHING]),
        (|p| p.allow_no_privacy = true, &[HOLDS], &[NOTHING]),
        (|p| p.deadline = Duration::from_secs(400 * 86_400), &["ready after 400d ends"], &["year"]),
        (|p| p.deadline = Duration::from_secs(1), &["ready after 1s ends"], &["10m"]),
        (|p| p.deadline = Duration::from_secs(5400), &["ready after 1h 30m ends"], &["10m"]),
        (|p| p.grace = Duration::from_secs(61), &["outages of 1m 1s; a longer"], &["30s"]),
        (|p| p.memory = Some(512), &["may use 512 MiB of memory, 64 MiB more in /tmp"], &["half"]),
        (|p| p.memory = None, &["may use half of this machine's memory"], &[]),
        (|p| p.output = 3, &["write 3 MiB of output"], &["write 64"]),
        (
            |p| p.python = demanded("3.11"),
            &["must have Python 3.11. This machine has 3.11.7."],
            &["fail"],
        ),
        (
            |p| p.python = demanded("3.12"),
            &["must have Python 3.12", "3.11.7, so a run\n  would fail"],
            &[],
        ),
        (|p| p.python = None, &["no\n  limit of time"], &["Python 3"]),
        (|p| p.allow_unknown_mpyc = true, &["MPyC may be another"], &[]),
        (|p| p.arguments = Vec::new(), &["It gets no arguments."], &["Its arguments"]),
        (|p| p.arguments = vec!["1".to_owned()], &[r#"Its arguments: "1""#], &["no arguments"]),
        (|p| p.keys.clear(), &["1  bob (this party): no key is pinned"], &[]),
    ];
    for (change, read, unread) in cases {
        let asked = opened(&["alice", "bob", "carol"], change, "");
        let consent = Consent::of(&asked, &name("bob"), None, Some("3.11.7"));
        let text = text::render(&consent, text::DEFAULT_COLUMNS);
        says(&text, read);
        for unread in unread {
            assert!(!text.contains(unread), "says «{unread}»:\n{text}");
        }
        // Of every session.
        says(
            &text,
            &[
                "Somebody may leave with the result before you have it",
                "learn this machine's address",
                "until you delete it: mpyc-party session logs demo",
                "gone after the run",
            ],
        );
        assert!(text.lines().all(|line| line.chars().count() <= text::DEFAULT_COLUMNS), "{text}");
    }
}

fn weakened(proposal: &mut Proposal, option: &str) {
    proposal.allow_no_privacy = true;
    proposal.options = vec![option.to_owned()];
}

fn demanded(version: &str) -> Option<crate::config::Demand> {
    Some(version.to_owned().try_into().unwrap())
}

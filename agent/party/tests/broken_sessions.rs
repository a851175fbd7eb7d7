//! A session that is declared wrongly, or whose files are not there, concerns nobody but who asks for it.

mod common;

use std::fs;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use common::{SUM, completes, demo, three};
use mpyc_party_lab::party::{Network, Party};
use serde_json::Value;

/// Sections that are wrong, each with what is said of it.
const MISTAKES: [(&str, &str); 5] = [
    ("[sessions.type]\nprogram = 3\n", "line "),
    ("[sessions.key]\nprogram = \"p.py\"\nthresold = 1\n", "unknown field `thresold`"),
    (
        "[sessions.two]\nprogram = \"p.py\"\nparties = [\"alice\", \"bob\"]\n",
        "allow-no-privacy = true",
    ),
    (
        "[sessions.slow]\nprogram = \"p.py\"\nparties = [\"alice\", \"bob\", \"carol\"]\ndeadline = \"9y\"\n",
        "deadline is longer than",
    ),
    (
        "[sessions.flag]\nprogram = \"p.py\"\nparties = [\"alice\", \"bob\", \"carol\"]\noptions = [\"--nonsense\"]\n",
        "--nonsense",
    ),
];

/// The name of the session of a section.
fn name(section: &str) -> &str {
    section.split(['.', ']']).nth(1).unwrap_or_default()
}

/// Three parties with a good session; alice declares wrong ones as well.
fn network() -> Result<Network> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    let alice = network.party("alice");
    let mut text = fs::read_to_string(alice.config())?;
    MISTAKES.iter().for_each(|(section, _)| text += section);
    fs::write(alice.config(), text)?;
    Ok(network)
}

fn ends(party: &Party, arguments: &[&str], status: i32) -> Result<Output> {
    let output = party.command().args(arguments).output()?;
    ensure!(output.status.code() == Some(status), "{arguments:?}: {output:?}");
    Ok(output)
}

fn json(party: &Party, arguments: &[&str], status: i32) -> Result<Value> {
    let output = ends(party, &[arguments, &["--json"]].concat(), status)?;
    serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))
}

fn says(text: &[u8], words: &str) -> Result<()> {
    let text = String::from_utf8_lossy(text);
    ensure!(text.contains(words), "no «{words}» in «{text}»");
    Ok(())
}

#[test]
fn who_asks_for_it_is_told_and_all_others_go_on() -> Result<()> {
    let network = network()?;
    let alice = network.party("alice");
    for (section, why) in MISTAKES {
        let name = name(section);
        for command in ["run", "check", "show", "export"] {
            let output = ends(alice, &["session", command, name], 2)?;
            says(&output.stderr, &format!("[sessions.{name}] in /"))?;
            says(&output.stderr, why)?;
        }
        ends(alice, &["session", "remove", name], 1)?;
    }
    for arguments in
        [&["session", "show", "demo"][..], &["status"], &["peers"], &["config", "show"]]
    {
        ends(alice, arguments, 0)?;
    }
    ends(alice, &["expose"], 2).and_then(|output| says(&output.stderr, "nothing is exposed"))?;
    ends(alice, &["enroll"], 1).and_then(|output| says(&output.stderr, "enrolled already"))?;
    network.run("demo")?.into_iter().try_for_each(completes)?;
    Ok(network.end()?)
}

#[test]
fn lists_name_it_and_say_why() -> Result<()> {
    let network = network()?;
    let alice = network.party("alice");
    let listed = ends(alice, &["session", "list"], 1)?;
    says(&listed.stdout, "demo")?;
    let status = ends(alice, &["status"], 0)?;
    let list = json(alice, &["session", "list"], 1)?;
    let state = json(alice, &["status"], 0)?;
    let shown = json(alice, &["config", "show"], 0)?;
    ensure!(shown["sessions"]["demo"].is_object(), "{shown}");
    let doctor = json(alice, &["doctor", "--wait", "100ms"], 1)?;
    let checked = json(alice, &["config", "check"], 2)?;
    for (section, why) in MISTAKES {
        let name = name(section);
        says(&listed.stderr, &format!("session {name} is left out: [sessions.{name}] in "))?;
        says(&listed.stderr, why)?;
        says(&status.stdout, &format!("{name}: cannot be used: [sessions.{name}] in "))?;
        for entries in [&list, &state["sessions"]] {
            let mut entries = entries.as_array().into_iter().flatten();
            let entry = entries.find(|entry| entry["name"] == name).context("it is not listed")?;
            says(entry["error"].as_str().unwrap_or_default().as_bytes(), why)?;
        }
        says(shown["broken"][name].as_str().unwrap_or_default().as_bytes(), why)?;
        says(doctor.to_string().as_bytes(), &format!("[sessions.{name}] in "))?;
        says(checked["error"].as_str().unwrap_or_default().as_bytes(), why)?;
    }
    Ok(network.end()?)
}

#[test]
fn an_imported_one_that_is_damaged_is_treated_alike() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    let alice = network.party("alice");
    let damaged = alice.state().join("sessions/damaged");
    fs::create_dir_all(&damaged)?;
    fs::write(damaged.join("session.toml"), "program = 3\n")?;
    for command in ["run", "check", "show", "export"] {
        let output = ends(alice, &["session", command, "damaged"], 2)?;
        says(&output.stderr, "Import the session again")?;
    }
    says(&ends(alice, &["status"], 0)?.stdout, "damaged: cannot be used: ")?;
    says(&ends(alice, &["session", "list"], 1)?.stdout, "demo")?;
    ends(alice, &["session", "remove", "damaged"], 0)?;
    ends(alice, &["session", "list"], 0)?;
    Ok(network.end()?)
}

#[test]
fn files_that_are_not_there_are_told_by_the_check() -> Result<()> {
    let network = three()?;
    let alice = network.party("alice");
    let mut text = fs::read_to_string(alice.config())?;
    text += "[sessions.missing]\nprogram = \"config.toml\"\nfiles = [\"nosuch.csv\", \"/tmp\"]\n";
    text += "input = \"nosuch-input\"\nparties = [\"alice\", \"bob\", \"carol\"]\n";
    text += "[sessions.gone]\nprogram = \"nosuch.py\"\nparties = [\"alice\", \"bob\", \"carol\"]\n";
    fs::write(alice.config(), text)?;
    let checked = ends(alice, &["config", "check"], 2)?;
    for words in [
        "has 4 errors",
        "[sessions.gone]: the program /",
        "nosuch.py: No such file",
        "[sessions.missing]: the file /",
        "nosuch.csv: No such file",
        "the file /tmp: is a directory",
        "the input /",
    ] {
        says(&checked.stderr, words)?;
    }
    ensure!(!String::from_utf8_lossy(&checked.stderr).contains("in order"), "{checked:?}");
    ends(alice, &["config", "check", "--without-files"], 0)?;
    Ok(network.end()?)
}

//! What the binary says about itself: help, completions, manual pages, and its exit status.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

/// Widest line of the help, as the command line sets it.
const WIDEST: usize = 100;

/// The binary in a home directory of its own.
fn mpyc_party(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mpyc-party"));
    command.env("HOME", home).current_dir(home).stdin(Stdio::null());
    for place in ["XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "STATE_DIRECTORY"] {
        command.env_remove(place);
    }
    command
}

/// What `output` printed, which has to be that of success without a complaint.
fn clean(output: Output) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.is_empty(), "{}: {said}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// The names of the manual pages in a directory, which are all the commands: `mpyc-party-ca-init`.
fn pages(directory: &Path) -> Result<Vec<String>> {
    clean(mpyc_party(directory).arg("man").arg(directory).output()?)?;
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name().into_string().ok().context("a name that is no text")?;
        names.extend(name.strip_suffix(".1").map(str::to_owned));
    }
    Ok(names)
}

#[test]
fn every_command_has_a_help_that_fits_a_terminal() -> Result<()> {
    let home = TempDir::new()?;
    let pages = pages(home.path())?;
    ensure!(pages.len() > 20, "few commands: {pages:?}");
    for page in pages {
        let words: Vec<&str> = page.split('-').skip(2).collect();
        let help = clean(mpyc_party(home.path()).args(&words).arg("--help").output()?)?;
        let usage = format!("\nUsage: {}", [&["mpyc-party"], &words[..]].concat().join(" "));
        ensure!(help.contains(&usage), "no «{usage}»:\n{help}");
        let wide = help.lines().find(|line| line.chars().count() > WIDEST);
        ensure!(wide.is_none(), "{page}: a wide line: {wide:?}");
    }
    Ok(())
}

/// Every command's help, as a page of the documentation.
fn reference(home: &Path) -> Result<String> {
    let mut pages = pages(home)?;
    pages.sort();
    let mut text =
        "# Commands\n\nGenerated: what `--help` says of each. The same, as manual pages: \
         `mpyc-party man DIRECTORY`.\n"
            .to_owned();
    for page in pages {
        let words: Vec<&str> = page.split('-').skip(2).collect();
        let help = clean(mpyc_party(home).args(&words).arg("--help").output()?)?;
        let name = [&["mpyc-party"], &words[..]].concat().join(" ");
        let help: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
        text += &format!("\n## {name}\n\n```text\n{}\n```\n", help.join("\n"));
    }
    Ok(text)
}

#[test]
fn the_documentation_knows_the_commands_as_they_are() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/commands.md");
    let now = reference(TempDir::new()?.path())?;
    if std::env::var_os("MPYC_PARTY_TEST_WRITE").is_some() {
        fs::write(&path, &now)?;
    }
    let stale = fs::read_to_string(&path)? != now;
    ensure!(!stale, "docs/commands.md is stale; MPYC_PARTY_TEST_WRITE=1 writes it anew");
    Ok(())
}

#[test]
fn the_manual_pages_are_good_groff() -> Result<()> {
    let home = TempDir::new()?;
    for page in pages(home.path())? {
        let mut groff = Command::new("groff");
        groff.args(["-ww", "-man", "-Kutf8", "-Tutf8", "-P-cbou", "-rLL=100n"]);
        let groff = groff.arg(home.path().join(format!("{page}.1"))).output();
        let text = clean(groff.context("groff cannot be run")?).context(page.clone())?;
        let version = concat!("mpyc-party ", env!("CARGO_PKG_VERSION"));
        ensure!(text.contains("\nSYNOPSIS\n") && text.contains(version), "{page}:\n{text}");
        if page == "mpyc-party" {
            let example = "\n         mpyc-party enroll < token                become a party";
            ensure!(text.contains(example), "the examples lost their lines:\n{text}");
        }
    }
    Ok(())
}

/// What bash offers for the last of `words` by `script`, which finds the binary in the `PATH`.
fn completed(home: &Path, script: &Path, words: &[&str]) -> Result<Vec<String>> {
    let ask = r#"set -eu
        source "$0"
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
        read -r _ _ _ _ _ _ _ _ function _ < <(complete -p mpyc-party)
        "$function" mpyc-party "${@: -1}" "${@: -2:1}"
        echo "${COMPREPLY[@]}""#;
    let own = mpyc_party(home);
    let directory = Path::new(own.get_program()).parent().context("no directory")?.display();
    let mut bash = Command::new("bash");
    bash.env("PATH", format!("{directory}:/usr/bin:/bin")).env("HOME", home).current_dir(home);
    bash.args(["--norc", "-c", ask]).arg(script).arg("mpyc-party").args(words);
    Ok(clean(bash.output()?)?.split_whitespace().map(str::to_owned).collect())
}

#[test]
fn bash_completes_commands_and_options() -> Result<()> {
    let home = TempDir::new()?;
    let script = home.path().join("completions");
    fs::write(&script, clean(mpyc_party(home.path()).args(["completions", "bash"]).output()?)?)?;
    for (words, offered) in [
        (["enr"].as_slice(), "enroll"),
        (&["session", "ru"], "run"),
        (&["session", "run", "--js"], "--json"),
        (&["demo", "--par"], "--parties"),
        (&["ca", "token", "--for"], "--for-hub"),
    ] {
        let found = completed(home.path(), &script, words)?;
        ensure!(found == [offered], "{words:?} does not get {offered}: {found:?}");
    }
    for words in [["--die"].as_slice(), &["hub", "--die"], &["session", "run", "--die-w"]] {
        let found = completed(home.path(), &script, words)?;
        ensure!(found.is_empty(), "{words:?} gets what is hidden: {found:?}");
    }
    Ok(())
}

#[test]
fn bash_completes_names_of_sessions_and_parties() -> Result<()> {
    let home = TempDir::new()?;
    let script = home.path().join("completions");
    fs::write(&script, clean(mpyc_party(home.path()).args(["completions", "bash"]).output()?)?)?;
    let text = "[peers.dave]\n[sessions.santa]\nprogram = \"p.py\"\n\
                parties = [\"alice\", \"bob\", \"carol\"]\n[sessions.sum]\nprogram = 3\n";
    fs::write(home.path().join("own.toml"), text)?;
    fs::create_dir_all(home.path().join("state/sessions/survey"))?;
    let own = ["--config", "own.toml", "--state", "state"];
    for (words, offered) in [
        (["session", "run", "sa"].as_slice(), ["santa"].as_slice()),
        (&["session", "check", ""], &["santa", "sum", "survey"]),
        (&["session", "show", "su"], &["sum", "survey"]),
        (&["session", "remove", "s"], &["survey"]),
        (&["doctor", "--session", "sa"], &["santa"]),
        (&["peers", "sa"], &["santa"]),
        (&["ping", "b"], &["bob"]),
        (&["connect", "d"], &["dave"]),
    ] {
        let found = completed(home.path(), &script, &[&own, words].concat())?;
        let names: Vec<&str> =
            found.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
        ensure!(names == offered, "{words:?} gets {found:?}");
    }
    // Bash makes a word of its own of «=».
    let words = ["--config", "=", "own.toml", "--state=state", "ping", "c"];
    ensure!(completed(home.path(), &script, &words)? == ["carol"]);
    // Bash leaves a tilde in its words.
    let words = ["--config", "~/own.toml", "session", "run", "sa"];
    ensure!(completed(home.path(), &script, &words)? == ["santa"]);
    // A pipe is left to the command: nothing waits for it.
    mknodat(CWD, home.path().join("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    let begun = Instant::now();
    let words = ["--config", "pipe", "session", "run", "s"];
    ensure!(completed(home.path(), &script, &words)?.is_empty());
    ensure!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    // Where nothing can be read, nothing is offered, and nothing is said.
    let words = ["--config", "nosuch", "session", "run", "s"];
    ensure!(completed(home.path(), &script, &words)?.is_empty());
    Ok(())
}

/// A bundle comes from somebody else, and so does the name of its file.
#[test]
fn bash_quotes_the_names_of_files() -> Result<()> {
    let home = TempDir::new()?;
    let script = home.path().join("completions");
    fs::write(&script, clean(mpyc_party(home.path()).args(["completions", "bash"]).output()?)?)?;
    let folder = home.path().join("f");
    fs::create_dir(&folder)?;
    for (name, word, offered) in [
        ("a$(touch b).bundle", "f/a", r"f/a\$\(touch b\).bundle".replace(' ', r"\ ")),
        ("c;touch d", "f/c", r"f/c\;touch\ d".to_owned()),
        ("*", "f/", r"f/\*".to_owned()),
        ("e f", "~/f/", r"~/f/e\ f".to_owned()),
    ] {
        fs::write(folder.join(name), "")?;
        let found = completed(home.path(), &script, &["session", "import", word])?.join(" ");
        ensure!(found == offered, "{name}: {found}, not {offered}");
        fs::remove_file(folder.join(name))?;
    }
    Ok(())
}

#[test]
fn completions_exist_for_every_shell() -> Result<()> {
    let home = TempDir::new()?;
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = clean(mpyc_party(home.path()).args(["completions", shell]).output()?)?;
        ensure!(script.contains("MPYC_PARTY_COMPLETE"), "{shell}:\n{script}");
        let mut ask = mpyc_party(home.path());
        ask.env("MPYC_PARTY_COMPLETE", shell).env("_CLAP_COMPLETE_INDEX", "1");
        let offered = clean(ask.args(["--", "mpyc-party", "sess"]).output()?)?;
        ensure!(offered.contains("session"), "{shell}: {offered}");
    }
    Ok(())
}

/// Runs it; demands this exit status and, in what it says, this text.
fn ends(home: &Path, arguments: &[&str], status: i32, text: &str) -> Result<()> {
    let output = mpyc_party(home).args(arguments).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(status), "{arguments:?}: {}: {said}", output.status);
    ensure!(said.contains(text), "{arguments:?} does not say «{text}»: {said}");
    Ok(())
}

#[test]
fn wrong_usage_is_status_2() -> Result<()> {
    let home = TempDir::new()?;
    for (arguments, text) in [
        ([].as_slice(), "Usage: mpyc-party"),
        (&["dmeo"], "a similar subcommand exists: 'demo'"),
        (&["--nosuch"], "--nosuch"),
        (&["session"], "Usage: mpyc-party session"),
        (&["session", "run"], "<NAME>"),
        (&["session", "run", "Not A Name"], "is not a name"),
        (&["session", "check", "demo", "--wait", "soon"], "--wait"),
        (&["session", "check", "demo", "--wait", "18446744073709551615s"], "a day is the longest"),
        (&["ping", "bob", "--wait", "25h"], "a day is the longest"),
        (&["connect", "bob", "22", "--wait", "86401s"], "a day is the longest"),
        (&["doctor", "--wait", "1000000years"], "--wait"),
        (&["ca", "init"], "--network"),
        (&["ca", "init", "--network", "example", "--pool", "all"], "--pool"),
        (&["ca", "token", "--hub", "hub.example.org:4747"], "--name"),
        (&["demo", "--parties", "1"], "2..=26"),
        (&["demo", "--threshold", "2"], "too large for 3 parties"),
        (&["config", "check"], "name a file"),
        (&["session", "run", "nosuch"], "no session «nosuch»"),
        (&["session", "check", "nosuch"], "no session «nosuch»"),
        (&["session", "show", "nosuch"], "no session «nosuch»"),
        (&["session", "logs", "nosuch"], "no session «nosuch»"),
        (&["session", "export", "nosuch"], "no session «nosuch»"),
        (&["session", "remove", "nosuch"], "no session «nosuch»"),
        (&["peers", "nosuch"], "no session «nosuch»"),
        (&["doctor", "--session", "nosuch"], "no session «nosuch»"),
        (&["ca", "token", "--name", "alice", "--hub", "hub"], "host:port"),
        (&["completions", "nosuch"], "bash"),
    ] {
        ends(home.path(), arguments, 2, text)?;
    }
    Ok(())
}

#[test]
fn a_wrong_configuration_is_status_2() -> Result<()> {
    let home = TempDir::new()?;
    fs::create_dir(home.path().join("directory"))?;
    let duplicate = "[listen]\nport = 4747\n[listen]\nport = 4748\n";
    for (name, content, text) in [
        ("unknown", "nosuch = 1\n", "nosuch"),
        ("type", "[listen]\nport = \"4747\"\n", "port"),
        ("duplicate", duplicate, "duplicate key"),
        ("broken", "[[[\n", "broken"),
        ("directory", "", "cannot be read"),
        ("missing", "", "cannot be read"),
    ] {
        if !content.is_empty() {
            fs::write(home.path().join(name), content)?;
        }
        for command in [
            ["config", "check"].as_slice(),
            &["config", "show"],
            &["session", "list"],
            &["session", "run", "demo"],
            &["hub"],
            &["python"],
            &["demo"],
        ] {
            let arguments = [&["--config", name], command].concat();
            ends(home.path(), &arguments, 2, text)?;
        }
    }
    Ok(())
}

#[test]
fn a_failed_operation_is_status_1() -> Result<()> {
    let home = TempDir::new()?;
    let declared =
        "[sessions.demo]\nprogram = \"p.py\"\nparties = [\"alice\", \"bob\", \"carol\"]\n";
    fs::write(home.path().join("config.toml"), declared)?;
    for (arguments, text) in [
        (
            ["--config", "config.toml", "session", "run", "demo"].as_slice(),
            "ca token --name NAME --hub HOST:PORT",
        ),
        (&["--config", "config.toml", "session", "logs", "demo"], "mpyc-party session list"),
        (&["--config", "config.toml", "session", "remove", "demo"], "remove [sessions.demo] there"),
        (&["enroll"], "no enrolment token"),
        (&["enroll", "--token-file", "nosuch"], "nosuch"),
        (&["hub"], "ca init --network NAME"),
        (&["ca", "list"], "ca init"),
        (&["man", "nosuch"], "mkdir -p nosuch"),
        (&["demo", "--program", "nosuch.py"], "nosuch.py"),
        (&["demo", "--file", "nosuch.txt"], "nosuch.txt"),
    ] {
        ends(home.path(), arguments, 1, text)?;
    }
    Ok(())
}

#[test]
fn an_authority_without_members_says_how_to_have_one() -> Result<()> {
    let home = TempDir::new()?;
    ends(home.path(), &["ca", "init", "--network", "example"], 0, "network example is made")?;
    ends(home.path(), &["ca", "list"], 0, "ca token --name NAME --hub HOST:PORT")?;
    let token = ["ca", "token", "--name", "alice", "--hub"];
    ends(home.path(), &[&token[..], &["hub:4747"]].concat(), 0, "")
}

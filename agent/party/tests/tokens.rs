//! Tokens as people handle them: in files, in mail, with mistakes in what they ask for.

mod common;

use std::os::unix::fs::MetadataExt;
use std::process::Output;

use anyhow::{Result, ensure};
use mpyc_party_lab::party::Network;
use serde_json::Value;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_token_is_written_to_a_file_of_its_owner_and_never_over_another() -> Result<()> {
    let network = Network::on_loopback(&[])?;
    let file = network.directory().join("alice.token");
    let path = file.display().to_string();
    let make =
        ["ca", "token", "--name", "alice", "--hub", "hub.example.org:4747", "--output", &path];
    network.authority(&make)?;
    ensure!(file.metadata()?.mode() & 0o777 == 0o600, "{:o}", file.metadata()?.mode());
    let token = std::fs::read_to_string(&file)?;
    ensure!(token.starts_with("mpyc1") && token.ends_with('\n'), "{token}");

    let again = network.authority(&make);
    let refusal = again.err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(refusal.contains("remove it, or choose another name"), "«{refusal}»");
    ensure!(std::fs::read_to_string(&file)? == token, "it was changed");
    let list: Value = serde_json::from_str(&network.authority(&["ca", "list", "--json"])?)?;
    let unused = list.as_array().into_iter().flatten().filter(|one| one["token-until"].is_string());
    ensure!(unused.map(|one| &one["name"]).eq(["alice"]), "one token was made: {list}");
    Ok(network.end()?)
}

#[test]
fn a_token_that_mail_wrapped_and_an_editor_marked_enrols() -> Result<()> {
    let network = Network::on_loopback(&[])?;
    let token = network.token(&["--name", "alice"])?;
    let listed = network.authority(&["ca", "list"])?;
    ensure!(listed.contains("unused token"), "{listed}");
    let (begin, end) = token.trim().split_at(40);
    let output = network.newcomer("alice")?.enroll(&format!("\u{feff}«{begin}\r\n> {end}»\r\n"))?;
    ensure!(output.status.success(), "{}", said(&output));
    let listed = network.authority(&["ca", "list"])?;
    ensure!(!listed.contains("unused token"), "it is used: {listed}");
    Ok(network.end()?)
}

#[test]
fn a_party_is_in_sixteen_groups_at_most() -> Result<()> {
    let network = Network::on_loopback(&[])?;
    let mut groups = vec!["--name".to_owned(), "alice".to_owned()];
    groups.extend((0..17).flat_map(|n| ["--group".to_owned(), format!("g{n}")]));
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let refused = network.token(&groups).err().map(|error| format!("{error:#}"));
    ensure!(refused.as_ref().is_some_and(|why| why.contains("at most 16 groups")), "{refused:?}");
    network.token(&groups[..34])?;
    Ok(network.end()?)
}

#[test]
fn what_no_token_can_have_is_refused_by_name() -> Result<()> {
    let network = Network::on_loopback(&[])?;
    let alice = network.newcomer("alice")?;
    for (option, value, words) in [
        ("--hub", "https://hub.example.org", "host:port"),
        ("--hub", "a:1\nb:2", "host:port"),
        ("--hub", "hub.example.org:99999", "host:port"),
        ("--hub", "hub.example.org:0", "host:port"),
        ("--hub", "hub.example.org", "host:port"),
        ("--valid-for", "0s", "1s to 366days"),
        ("--valid-for", "999ms", "1s to 366days"),
        ("--valid-for", "18446744073709551615s", "1s to 366days"),
        ("--valid-for", "1000years", "1s to 366days"),
        ("--group", "a b", "«a b» is not a name"),
        ("--group", "", "is not a name"),
    ] {
        let mut command = alice.command();
        command.args(["ca", "token", "--name", "bob", "--hub", "hub.example.org:4747"]);
        let output = command.args([option, value]).output()?;
        let text = said(&output);
        ensure!(output.status.code() == Some(2), "{option} {value}: {text}");
        ensure!(text.contains(option) && text.contains(words), "{option} {value}: {text}");
    }
    Ok(network.end()?)
}

#[test]
fn a_token_that_could_not_be_written_is_none() -> Result<()> {
    let network = Network::on_loopback(&[])?;
    let full = network.directory().join("full");
    std::fs::create_dir(&full)?;
    // A disk without room, in mounts of its own.
    let script =
        "mount -t tmpfs -o size=4k,mode=700 tmpfs \"$1\"; head -c 4096 /dev/zero > \"$1/fill\"
        shift; exec \"$@\"";
    let mut command = std::process::Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-ec", script, "sh"]).arg(&full);
    command.arg(env!("CARGO_BIN_EXE_mpyc-party")).arg("--state").arg(network.hub_state());
    command.args(["ca", "token", "--name", "alice", "--hub", "hub.example.org:4747", "--output"]);
    let output = command.arg(full.join("alice.token")).output()?;
    let text = said(&output);
    if text.contains("unshare") {
        eprintln!("NOT TESTED: a full disk, for lack of user namespaces: {text}");
        return Ok(network.end()?);
    }
    ensure!(output.status.code() == Some(1), "{text}");
    ensure!(text.contains("no token") && text.contains("No space left on device"), "{text}");
    let listed = network.authority(&["ca", "list"])?;
    ensure!(!listed.contains("alice"), "nobody can have it: {listed}");
    Ok(network.end()?)
}

#[test]
fn a_hyphen_is_standard_output() -> Result<()> {
    let network = Network::on_loopback(&[])?;
    let token = network.token(&["--name", "alice", "--output", "-"])?;
    ensure!(token.starts_with("mpyc1"), "{token}");
    Ok(network.end()?)
}

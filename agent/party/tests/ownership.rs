//! Root in the directories of another user: it makes nothing there that locks their owner out, and where
//! it did, that is told with what to do. Only root can try this.

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Result, ensure};
use common::{SUM, demo, three};
use mpyc_party_lab::mpyc_party;
use mpyc_party_lab::party::{Network, Party};
use rustix::process::geteuid;

/// An ordinary user, whether or not anybody is called that here.
const OWNER: u32 = 1234;

/// Everything below `place`, with its owner.
fn owners(place: &Path) -> Result<Vec<(PathBuf, u32)>> {
    let mut all = vec![(place.to_owned(), fs::symlink_metadata(place)?.uid())];
    if fs::symlink_metadata(place)?.is_dir() {
        for entry in fs::read_dir(place)? {
            all.extend(owners(&entry?.path())?);
        }
    }
    all.sort();
    Ok(all)
}

fn give(place: &Path, owner: u32) -> Result<()> {
    for (path, _) in owners(place)? {
        std::os::unix::fs::lchown(path, Some(owner), Some(owner))?;
    }
    Ok(())
}

/// Three parties with a session, of which alice is the ordinary user's; none where this is not root.
fn network() -> Result<Option<Network>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let network = three()?;
    network.declare(&demo(SUM))?;
    let alice = network.party("alice");
    fs::set_permissions(network.directory(), Permissions::from_mode(0o755))?;
    fs::copy(mpyc_party()?, alice.directory().join("mpyc-party"))?;
    give(alice.directory(), OWNER)?;
    Ok(Some(network))
}

fn as_owner(alice: &Party, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "1234", "--regid", "1234", "--clear-groups"]);
    command.arg(alice.directory().join("mpyc-party")).current_dir(alice.directory());
    command.arg("--config").arg(alice.config()).arg("--state").arg(alice.state());
    command.env("HOME", alice.directory()).env_remove("XDG_CACHE_HOME");
    Ok(command.args(arguments).output()?)
}

fn says(output: &Output, status: i32, words: &[&str]) -> Result<()> {
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(status), "{output:?}");
    for word in words {
        ensure!(text.contains(word), "no «{word}» in {text}");
    }
    Ok(())
}

#[test]
fn root_makes_nothing_that_locks_the_owner_out() -> Result<()> {
    let Some(network) = network()? else { return Ok(()) };
    let alice = network.party("alice");
    let before = owners(&alice.state())?;
    for arguments in [
        &["session", "run", "demo"][..],
        &["session", "check", "demo"],
        &["session", "import", "nosuch", "--yes"],
        &["session", "remove", "demo"],
        &["session", "export", "demo"],
        &["enroll"],
        &["ping", "bob", "--wait", "1s"],
        &["connect", "bob", "22", "--wait", "1s"],
        &["doctor", "--wait", "1s"],
        &["ca", "init", "--network", "own"],
        &["agent"],
        &["hub"],
        &["expose"],
        &["python"],
        &["demo"],
    ] {
        let output = alice.command().args(arguments).output()?;
        let place = alice.state().display().to_string();
        let remedies = ["sudo -u '#1234' mpyc-party", "--state DIR", "chown -R root /"];
        says(&output, 2, &[&[&*place, "user 1234"], &remedies[..]].concat())?;
    }
    for arguments in
        [&["status"][..], &["session", "list"], &["session", "show", "demo"], &["peers"]]
    {
        says(&alice.command().args(arguments).output()?, 0, &[])?;
    }
    ensure!(owners(&alice.state())? == before, "{:?}", owners(&alice.state())?);
    // A token is handed over to the owner.
    let dave = network.newcomer("dave")?;
    fs::create_dir(dave.state())?;
    give(dave.directory(), OWNER)?;
    let (given, taken) = (network.directory().join("token"), dave.state().join("token"));
    fs::write(&given, network.token(&["--name", "dave"])?)?;
    let mut take = dave.command();
    take.arg("agent").arg("--token-file").arg(&given).arg("--take-token").arg(&taken);
    says(&take.output()?, 0, &["moved a token"])?;
    ensure!(fs::metadata(&taken)?.uid() == OWNER);
    // What is not there yet would be made below a directory of theirs.
    let mut command = Command::new(mpyc_party()?);
    command.env("HOME", alice.directory()).args(["ca", "init", "--network", "own"]);
    let output = command.env_remove("XDG_STATE_HOME").env_remove("STATE_DIRECTORY").output()?;
    says(&output, 2, &["is for user 1234, to whom", "choose another directory (--state DIR)"])?;
    ensure!(!alice.directory().join(".local").exists());
    // Their home, which is what there is of it, is not for root to take.
    ensure!(!String::from_utf8_lossy(&output.stderr).contains("chown"), "{output:?}");
    Ok(network.end()?)
}

/// As `sudo` does where it keeps `HOME`.
#[test]
fn root_with_a_state_of_its_own_needs_the_cache_for_programs_alone() -> Result<()> {
    let Some(network) = network()? else { return Ok(()) };
    let alice = network.party("alice");
    let state = network.directory().join("of-root");
    let as_root = |arguments: &[&str]| {
        let mut command = Command::new(mpyc_party()?);
        command.env("HOME", alice.directory()).env_remove("XDG_CACHE_HOME");
        command.env_remove("CACHE_DIRECTORY").arg("--state").arg(&state).args(arguments);
        anyhow::Ok(command.output()?)
    };
    says(&as_root(&["ca", "init", "--network", "own"])?, 0, &["network own is made"])?;
    says(&as_root(&["ca", "token", "--name", "bob", "--hub", "localhost:4747"])?, 0, &[])?;
    says(&as_root(&["ping", "bob"])?, 1, &["not enrolled"])?;
    let python = as_root(&["python"])?;
    says(&python, 2, &[".cache/mpyc-party is for user 1234", "XDG_CACHE_HOME=DIR"])?;
    ensure!(!alice.directory().join(".cache").exists());
    Ok(network.end()?)
}

#[test]
fn what_root_left_there_is_told_with_the_remedy() -> Result<()> {
    let Some(network) = network()? else { return Ok(()) };
    let alice = network.party("alice");
    fs::create_dir_all(alice.state().join("runs"))?;
    for (name, arguments) in [
        ("identity", &["session", "run", "demo"][..]),
        ("identity", &["ping", "bob", "--wait", "1s"]),
        ("identity", &["status"]),
        ("runs", &["session", "run", "demo"]),
        ("runs", &["session", "list"]),
        ("runs", &["status"]),
    ] {
        let place = alice.state().join(name);
        give(alice.directory(), OWNER)?;
        chown(&place, Some(0), Some(0))?;
        fs::set_permissions(&place, Permissions::from_mode(0o700))?;
        let remedy = format!("sudo chown -R 1234 {}", place.display());
        says(&as_owner(alice, arguments)?, 1, &["belongs to user 0", &remedy])?;
    }
    give(alice.directory(), OWNER)?;
    says(&as_owner(alice, &["status"])?, 0, &[])?;
    Ok(network.end()?)
}

//! `doctor`: each thing that a run needs is broken once, and told of by the check that is for it.

mod certify;
mod common;
mod false_hub;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use certify::certify;
use common::{LIMIT, SUM, demo, three};
use false_hub::{Behaviours, FalseHub};
use mpyc_party_core::lighthouse::Answer;
use mpyc_party_core::name::PartyName;
use mpyc_party_lab::party::Party;
use serde_json::Value;
use time::Duration;

/// What the doctor finds, and whether it says that nothing is broken.
struct Checkup {
    healthy: bool,
    findings: Vec<Value>,
}

impl Checkup {
    /// What the command that runs the doctor with `--json` answers.
    fn of(mut command: Command) -> Result<Self> {
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let answer: Value = serde_json::from_slice(&output.stdout).context(said.into_owned())?;
        let findings = answer["findings"].as_array().cloned().unwrap_or_default();
        for finding in &findings {
            let keys: Vec<_> = finding.as_object().context("no object")?.keys().collect();
            ensure!(keys == ["check", "remedy", "state", "text"], "{keys:?}");
        }
        let healthy = answer["healthy"] == true;
        let broken = findings.iter().any(|finding| finding["state"] == "bad");
        let expected = if broken { Some(1) } else { Some(0) };
        ensure!(healthy != broken && output.status.code() == expected, "{answer:#}");
        Ok(Self { healthy, findings })
    }

    /// The finding of `check` is in this state and says this.
    fn says(&self, check: &str, state: &str, text: &str) -> Result<()> {
        let told = |finding: &&Value| {
            let text_of = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
            finding["check"] == check && (text_of("text") + &text_of("remedy")).contains(text)
        };
        let found = self.findings.iter().find(told);
        let found = found.with_context(|| format!("{check} does not say «{text}»: {self}"))?;
        ensure!(found["state"] == state, "{found}");
        Ok(())
    }

    /// Nothing but these checks has found anything broken.
    fn only(&self, checks: &[&str]) -> Result<()> {
        let bad = self.findings.iter().filter(|finding| finding["state"] == "bad");
        let bad: Vec<&str> = bad.filter_map(|finding| finding["check"].as_str()).collect();
        ensure!(bad == checks, "broken are {bad:?}: {self}");
        Ok(())
    }
}

impl std::fmt::Display for Checkup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", Value::from(self.findings.clone()))
    }
}

/// The doctor's command line at `party`.
fn doctor(party: &Party) -> Command {
    let mut command = party.command();
    command.args(["doctor", "--wait", "1s", "--json"]);
    command
}

fn checkup(party: &Party) -> Result<Checkup> {
    Checkup::of(doctor(party))
}

#[test]
fn where_all_is_well_nothing_is_broken() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    let others = [network.party("bob").run("demo")?, network.party("carol").run("demo")?];
    for run in &others {
        run.wait_for("linked", LIMIT)?;
    }
    let alice = network.party("alice");
    let mut patient = alice.command();
    patient.args(["doctor", "--wait", "30s", "--json"]);
    let found = Checkup::of(patient)?;
    ensure!(found.healthy, "{found}");
    for (check, text) in [
        ("configuration", "is in order; sessions: 1"),
        ("session", "demo: its files are there"),
        ("disk", "MiB are free"),
        ("sandbox", "a program is alone in it"),
        ("Python", "MPyC"),
        ("certificate", "alice of the network example: valid for"),
        ("hub over TCP", "sees this party at 127.0.0.1"),
        ("hub over UDP", "sees this party at 127.0.0.1"),
        ("NAT", "none"),
        ("clock", "the same time as the hubs"),
        ("party", "bob (demo) answers at"),
        ("party", "carol (demo) answers at"),
    ] {
        found.says(check, "good", text)?;
    }
    ensure!(!others[0].said().contains("alice\",\"missing"), "it was taken for a party of the run");
    let shown = alice.command().args(["doctor", "--wait", "1s", "--session", "demo"]).output()?;
    let shown = String::from_utf8(shown.stdout)?;
    for text in ["✓ hub over UDP: ", "nothing is broken"] {
        ensure!(shown.contains(text), "no «{text}»:\n{shown}");
    }
    let unknown = alice.command().args(["doctor", "--session", "nosuch"]).output()?;
    ensure!(unknown.status.code() == Some(2), "a session that is not declared");
    drop(others);
    Ok(network.end()?)
}

#[test]
fn parties_that_are_not_there_break_nothing() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    let found = checkup(network.party("alice"))?;
    found.only(&[])?;
    let nowhere = "not there (demo): bob, carol: nothing says where it is (configuration, local network, hub): it has not";
    found.says("party", "doubtful", nowhere)?;
    found.says("party", "doubtful", "only a party that runs the session can be seen")?;
    Ok(network.end()?)
}

#[test]
fn a_hub_that_is_down_is_told_once() -> Result<()> {
    let mut network = three()?;
    network.kill_hub();
    let found = checkup(network.party("alice"))?;
    found.only(&["hub over TCP"])?;
    found.says("hub over TCP", "bad", &network.hub_address().to_string())?;
    found.says("hub over TCP", "bad", "mpyc-party hub runs there")?;
    Ok(network.end()?)
}

#[test]
fn a_hub_that_turns_the_revoked_away_says_so() -> Result<()> {
    let network = three()?;
    network.authority(&["ca", "revoke", "alice"])?;
    let found = checkup(network.party("alice"))?;
    found.only(&["hub over TCP"])?;
    found.says(
        "hub over TCP",
        "bad",
        "the authority does not count this party among the members",
    )?;
    found.says("hub over TCP", "bad", "enrol anew")?;
    checkup(network.party("bob"))?.only(&[])?;
    Ok(network.end()?)
}

#[test]
fn an_expired_certificate_is_renewed_or_broken() -> Result<()> {
    let mut network = three()?;
    let alice = network.party("alice");
    certify(&network, alice, Duration::days(3))?;
    let found = checkup(alice)?;
    found.only(&[])?;
    found.says("certificate", "good", "valid for")?;
    certify(&network, alice, Duration::days(3))?;
    network.kill_hub();
    let found = checkup(network.party("alice"))?;
    found.only(&["certificate", "hub over TCP"])?;
    found.says("certificate", "bad", "it expired 2 days ago; it cannot be renewed")?;
    let alice = network.party("alice");
    alice.declare(&demo(SUM))?;
    let export = ["session", "export", "demo", "--offline", "--output", "-"];
    for (arguments, told) in [
        (&["ping", "bob"][..], "this machine's certificate has expired, and cannot be renewed"),
        (
            &["session", "run", "demo"],
            "this machine's certificate cannot be used: it expired 2 days",
        ),
        (
            &export,
            "ago. Check this machine's clock; a hub with the authority renews the certificate",
        ),
    ] {
        let output = alice.command().args(arguments).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1) && said.contains(told), "{arguments:?}: {said}");
    }
    Ok(network.end()?)
}

#[test]
fn a_certificate_that_will_soon_expire_and_cannot_be_renewed_is_doubtful() -> Result<()> {
    let mut network = three()?;
    certify(&network, network.party("alice"), Duration::hours(23))?;
    network.kill_hub();
    let found = checkup(network.party("alice"))?;
    found.only(&["hub over TCP"])?;
    found.says("certificate", "doubtful", "it should be renewed, and cannot be")?;
    Ok(network.end()?)
}

#[test]
fn a_clock_that_is_behind_is_told_from_what_was_made_later() -> Result<()> {
    let network = three()?;
    let alice = network.party("alice");
    certify(&network, alice, -Duration::hours(10))?;
    let found = checkup(alice)?;
    found
        .says("clock", "bad", "at least 9 h behind")
        .or_else(|_| found.says("clock", "bad", "at least 10 h behind"))?;
    found.says("clock", "bad", "timedatectl")?;
    found.says("certificate", "bad", "valid only in")?;
    Ok(network.end()?)
}

#[test]
fn a_clock_that_shows_another_time_than_the_hubs_is_told() -> Result<()> {
    for (shift, expected) in [
        (7200, "this machine's clock is 2 h behind the clock of"),
        (-7200, "this machine's clock is 2 h ahead of the clock of"),
        (-60, "the same time"),
    ] {
        let mut network = three()?;
        let shifted = move |_: &PartyName, answer: Answer| match answer {
            Answer::Welcome { observed, time } => {
                vec![Answer::Welcome { observed, time: time.saturating_add_signed(shift) }]
            }
            other => vec![other],
        };
        let hub = FalseHub::instead(&mut network, shifted, Behaviours::none())?;
        let found = checkup(network.party("alice"))?;
        let state = if shift.abs() > 120 { "doubtful" } else { "good" };
        found.says("clock", state, expected)?;
        found.only(&[])?;
        drop(hub);
        network.end()?;
    }
    Ok(())
}

#[test]
fn who_is_not_enrolled_is_told_how_to() -> Result<()> {
    let network = three()?;
    let found = checkup(&network.newcomer("dave")?)?;
    found.only(&["identity"])?;
    found.says("identity", "bad", "mpyc-party ca token --name NAME")?;
    Ok(network.end()?)
}

#[test]
fn files_that_others_can_touch_are_broken() -> Result<()> {
    let network = three()?;
    let alice = network.party("alice");
    let change = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
    change(&alice.config(), 0o666)?;
    let found = checkup(alice)?;
    found.only(&["configuration"])?;
    found.says("configuration", "bad", "chmod go-w")?;
    change(&alice.config(), 0o644)?;
    change(&alice.state().join("identity/key.pem"), 0o640)?;
    let found = checkup(alice)?;
    found.only(&["identity"])?;
    found.says("identity", "bad", "others can read this private key")?;
    Ok(network.end()?)
}

#[test]
fn a_program_that_others_can_replace_is_told_and_broken_where_it_starts_by_itself() -> Result<()> {
    let network = three()?;
    let alice = network.party("alice");
    let programs = alice.directory().join("programs");
    let others = format!("everybody may write to {}", programs.display());
    for (start, state) in [("\"manual\"", "doubtful"), ("\"on-proposal\"", "bad")] {
        network.declare(&demo(SUM).set("start", start))?;
        fs::set_permissions(&programs, Permissions::from_mode(0o777))?;
        let found = checkup(alice)?;
        found.only(if state == "bad" { &["session"] } else { &[] })?;
        found.says("session", state, &others)?;
        let check = alice.command().args(["config", "check"]).output()?;
        ensure!(check.status.success());
        ensure!(String::from_utf8_lossy(&check.stderr).contains(&others), "{check:?}");
        let mut check = alice.command();
        check.args(["session", "check", "demo", "--wait", "100ms", "--json"]);
        let answer: Value = serde_json::from_slice(&check.output()?.stdout)?;
        let findings = answer["findings"].as_array().context("no findings")?;
        let told = findings.iter().find(|finding| finding["what"] == "who can change it");
        let told = told.context("it is not told")?;
        ensure!(told["ok"] == (state == "doubtful"), "{told}");
        ensure!(told["text"].as_str().is_some_and(|text| text.contains(&others)), "{told}");
    }
    Ok(network.end()?)
}

#[test]
fn a_session_whose_program_is_gone_is_broken() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    let alice = network.party("alice");
    fs::remove_file(alice.directory().join("programs/demo/program.py"))?;
    let found = checkup(alice)?;
    found.only(&["session"])?;
    found.says("session", "bad", "program.py cannot be read")?;
    Ok(network.end()?)
}

#[test]
fn a_python_without_mpyc_is_broken() -> Result<()> {
    let network = three()?;
    let alice = network.party("alice");
    let bare = alice.directory().join("bare");
    let made = Command::new("python3").args(["-m", "venv", "--without-pip"]).arg(&bare).status()?;
    ensure!(made.success(), "no virtual environment");
    alice.use_python(&bare.join("bin/python"))?;
    let found = checkup(alice)?;
    found.only(&["Python"])?;
    found.says("Python", "bad", "cannot import mpyc")?;
    found.says("Python", "bad", "-m pip install mpyc")?;
    Ok(network.end()?)
}

#[test]
fn no_python_is_made_by_looking() -> Result<()> {
    let network = three()?;
    let alice = network.party("alice");
    alice.configure("network.local-discovery = false\n[listen]\nport = 0\n")?;
    let cache = alice.directory().join("cache");
    let mut command = doctor(alice);
    command.env("XDG_CACHE_HOME", &cache);
    let found = Checkup::of(command)?;
    found.only(&[])?;
    found.says("Python", "doubtful", "mpyc-party python makes it now")?;
    ensure!(!cache.exists(), "something was made");
    Ok(network.end()?)
}

/// The doctor at `party`, below `unshare` with these options, after the shell commands `before`.
fn apart(party: &Party, options: &[&str], before: &str) -> Command {
    let doctor = doctor(party);
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() && !options.contains(&"--map-root-user") {
        command.arg("--map-root-user");
    }
    let script = format!("set -e; {before}; shift; exec \"$@\"");
    command.args(options).args(["sh", "-c", &script, "sh"]).arg(party.state());
    command.arg(doctor.get_program()).args(doctor.get_args());
    command.envs(doctor.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

#[test]
fn a_machine_without_namespaces_is_broken() -> Result<()> {
    let network = three()?;
    let forbid = "echo 0 > /proc/sys/user/max_user_namespaces";
    let options = ["--user", "--map-root-user"];
    let found = Checkup::of(apart(network.party("alice"), &options, forbid))?;
    found.only(&["sandbox"])?;
    found.says("sandbox", "bad", "user.max_user_namespaces")?;
    Ok(network.end()?)
}

#[test]
fn a_disk_that_is_almost_full_is_broken() -> Result<()> {
    let network = three()?;
    let fill = "cp -a \"$1\" \"$1.saved\"; mount -t tmpfs -o size=SIZE none \"$1\"; cp -a \"$1.saved/.\" \"$1\"";
    for (size, state) in [("8m", "bad"), ("100m", "doubtful")] {
        let fill = fill.replace("SIZE", size);
        let found = Checkup::of(apart(network.party("alice"), &["--mount"], &fill))?;
        found.says("disk", state, "make room there")?;
    }
    Ok(network.end()?)
}

#[test]
fn a_machine_without_a_network_is_broken() -> Result<()> {
    let network = three()?;
    let found = Checkup::of(apart(network.party("alice"), &["--net"], "true"))?;
    found.only(&["addresses", "hub over TCP"])?;
    found.says("addresses", "bad", "connect it to a network")?;
    Ok(network.end()?)
}

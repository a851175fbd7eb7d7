//! The quickstart of the README, as written: its lines are read from there and typed, so to speak,
//! by a holder and three parties, each on a host and in a home directory of its own.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use mpyc_party_lab::{Host, Lab, TempState, hosts_for_tests};

/// Seconds after which a line that still runs is killed; far more than all of them together need.
const LIMIT: &str = "180";
/// The port of the hub in the README, which is also the default.
const PORT: u16 = 4747;
/// The others, who are handed bundles.
const OTHERS: [&str; 2] = ["bob", "carol"];
/// Runs `$3` where only this process sees `$0` as `/etc/hosts`, as the user `$1` of the group `$2`.
const WITH_HOSTS: &str = "mount --bind \"$0\" /etc/hosts && \
    exec unshare --user --map-user=\"$1\" --map-group=\"$2\" bash -c \"$3\"";

/// Somebody who follows the README.
struct Person {
    host: Host,
    home: PathBuf,
    names: PathBuf,
}

impl Person {
    fn new(name: &str, host: Host, state: &TempState, names: &Path) -> Result<Self> {
        Ok(Self { host, home: state.of(name)?, names: names.to_owned() })
    }

    /// A line for the shell, typed at home.
    fn types(&self, line: &str) -> Result<Command> {
        let mut command = self.host.command("timeout");
        command.args(["--foreground", LIMIT, "unshare", "--map-root-user", "--mount", "sh", "-c"]);
        command.arg(WITH_HOSTS).arg(&self.names);
        command.arg(rustix::process::getuid().to_string());
        command.arg(rustix::process::getgid().to_string()).arg(line);
        let built = Path::new(env!("CARGO_BIN_EXE_mpyc-party")).parent().context("no directory")?;
        let path = format!("{}:{}", built.display(), env::var("PATH")?);
        command.env_clear().env("PATH", path).env("HOME", &self.home);
        command.env("XDG_CACHE_HOME", cache()?).current_dir(&self.home);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }

    fn start(&self, line: &str) -> Result<Child> {
        Ok(self.types(line)?.spawn()?)
    }

    /// Runs a line that has to go well; returns what it printed.
    fn run(&self, line: &str) -> Result<String> {
        self.went_well(line, self.types(line)?.output()?)
    }

    fn went_well(&self, line: &str, output: Output) -> Result<String> {
        let printed = String::from_utf8(output.stdout)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: «{line}»\n{printed}\n{said}", self.host.name());
        Ok(printed)
    }

    /// Runs a line on a terminal, goes on through its pages and answers «y» to its question; returns
    /// what was on the screen.
    fn agrees(&self, line: &str) -> Result<String> {
        let on_terminal = format!("script --quiet --return --command '{line}' /dev/null");
        let mut script = self.types(&on_terminal)?.stdin(Stdio::piped()).spawn()?;
        let mut screen = script.stdout.take().context("no screen")?;
        let mut keyboard = script.stdin.take().context("no keyboard")?;
        let mut shown = Vec::new();
        let mut byte = [0];
        while !shown.ends_with(b"[y/N] ") {
            if screen.read(&mut byte)? == 0 {
                bail!("«{line}» never asked:\n{}", String::from_utf8_lossy(&shown));
            }
            shown.extend(byte);
            if shown.ends_with("to stop — ".as_bytes()) {
                keyboard.write_all(b"\n")?;
            }
        }
        keyboard.write_all(b"y\n")?;
        drop(keyboard);
        screen.read_to_end(&mut shown)?;
        let shown = String::from_utf8(shown)?;
        ensure!(script.wait()?.success(), "{}: «{line}»\n{shown}", self.host.name());
        Ok(shown)
    }

    /// Hands a file over, by means that are not the README's business.
    fn hands(&self, file: &str, other: &Self) -> Result<()> {
        fs::copy(self.home.join(file), other.home.join(file)).context(file.to_owned())?;
        Ok(())
    }
}

/// The cache of whoever runs this test, where the Python environment is.
fn cache() -> Result<PathBuf> {
    if let Some(cache) = env::var_os("XDG_CACHE_HOME") {
        return Ok(cache.into());
    }
    Ok(PathBuf::from(env::var_os("HOME").context("HOME is not set")?).join(".cache"))
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The indented blocks of the section «Use it».
fn blocks() -> Result<Vec<Vec<String>>> {
    let readme = fs::read_to_string(project().join("README.md"))?;
    let (_, rest) = readme.split_once("\n## Use it\n").context("no section «Use it»")?;
    let section = rest.split("\n## ").next().unwrap_or_default();
    let paragraphs = section.split("\n\n").map(|text| text.trim_matches('\n'));
    let lines = |text: &str| text.lines().map(|l| Some(l.strip_prefix("    ")?.into())).collect();
    Ok(paragraphs.filter_map(lines).collect())
}

/// The only line of a block.
fn one(block: &[String]) -> Result<&str> {
    let [line] = block else { bail!("not one line: {block:?}") };
    Ok(line)
}

#[test]
fn the_quickstart_works_as_written() -> Result<()> {
    if !hosts_for_tests()? {
        return Ok(());
    }
    let blocks = blocks()?;
    let [holder_types, enrol, config, export, import, run, look] = blocks.as_slice() else {
        bail!("the quickstart has other blocks now: {blocks:#?}");
    };
    let ready = Command::new(env!("CARGO_BIN_EXE_mpyc-party")).arg("python").output()?;
    ensure!(ready.status.success(), "the Python environment cannot be made");

    let (lab, state) = (Lab::new()?, TempState::new()?);
    let names = state.path().join("hosts");
    let hub = lab.host("hub")?;
    fs::write(&names, format!("127.0.0.1 localhost\n{} hub.example.org\n", hub.ip()))?;
    let holder = Person::new("holder", hub, &state, &names)?;
    let person = |name| Person::new(name, lab.host(name)?, &state, &names);
    let alice = person("alice")?;
    let others = [person(OTHERS[0])?, person(OTHERS[1])?];

    let (serve, before) = holder_types.split_last().context("the holder types nothing")?;
    for line in before {
        holder.run(line)?;
    }
    let _hub = holder.start(serve)?;
    holder.host.wait_for(PORT, Duration::from_secs(20))?;

    for party in others.iter().chain([&alice]) {
        let name = party.host.name();
        holder.hands(&format!("{name}.token"), party)?;
        party.run(&one(enrol)?.replace("alice", name))?;
    }

    let home = alice.home.to_str().context("the home directory has no readable name")?;
    let place = alice.home.join(".config/mpyc-party");
    fs::create_dir_all(&place)?;
    fs::write(place.join("config.toml"), config.join("\n").replace("/home/alice", home))?;
    fs::create_dir(alice.home.join("programs"))?;
    let program = "programs/secret_santa.py";
    fs::copy(project().join(program), alice.home.join(program))?;
    alice.run(one(export)?)?;
    for party in &others {
        alice.hands("santa.bundle", party)?;
        let shown = party.agrees(one(import)?)?;
        let named = ["alice", "bob", "carol"].iter().all(|name| shown.contains(name));
        ensure!(named, "no word on who takes part:\n{shown}");
    }

    let [check, logs] = look.as_slice() else { bail!("not two ways to look: {look:?}") };
    let run = one(run)?;
    let waiting = [others[0].start(run)?, others[1].start(run)?];
    let wait = format!("{check} --wait 60s");
    alice.run(&wait)?;
    let mut printed = vec![(&alice, alice.run(run)?)];
    for (party, child) in others.iter().zip(waiting) {
        printed.push((party, party.went_well(run, child.wait_with_output()?)?));
    }
    for (party, output) in printed {
        ensure!(output.contains("Your present goes to"), "no present: {output}");
        let again = party.run(logs)?;
        ensure!(output.contains(again.trim()), "«{again}» is not the output «{output}»");
    }
    Ok(())
}

//! The journal tells the story of a run: in sentences, with fields, and without what the program
//! wrote. A stand-in for journald listens where journald does, in a mount namespace of the runner.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mpyc_party_lab::party::{Network, Party};

use crate::common::{BOUND, READER_TIMEOUT, SUM, completes, demo, three};

/// One entry's fields.
type Entry = BTreeMap<String, String>;

/// Reads an entry as journald does (systemd.io/JOURNAL_NATIVE_PROTOCOL): a field a line, or its
/// name on a line, then the length of its value and the value.
fn entry(mut bytes: &[u8]) -> Result<Entry> {
    let mut fields = Entry::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|byte| *byte == b'\n').context("a whole line")?;
        let (line, rest) = (std::str::from_utf8(&bytes[..end])?, &bytes[end + 1..]);
        let (name, value, rest) = match line.split_once('=') {
            Some((name, value)) => (name, value.as_bytes(), rest),
            None => {
                let (length, rest) = rest.split_first_chunk::<8>().context("a length")?;
                let (value, rest) = rest.split_at(usize::try_from(u64::from_le_bytes(*length))?);
                (line, value, rest.get(1..).context("the end of a value")?)
            }
        };
        fields.insert(name.to_owned(), String::from_utf8(value.to_vec())?);
        bytes = rest;
    }
    Ok(fields)
}

/// `session run demo` of a party, whose standard error leads to the journal of `directory`.
fn in_journal(party: &Party, directory: &std::path::Path) -> Result<Command> {
    let log = File::create(directory.join("stderr"))?;
    let stream = log.metadata()?;
    let plain = party.command();
    let mut command = Command::new("unshare");
    let root = rustix::process::geteuid().is_root();
    command.arg(if root { "-m" } else { "-Urm" }).args(["sh", "-c"]);
    command.arg(
        "mount -t tmpfs none /run && mkdir -p /run/systemd/journal \
         && mount --bind \"$0\" /run/systemd/journal && exec \"$@\"",
    );
    command.arg(directory).arg(plain.get_program()).args(plain.get_args());
    for (name, value) in plain.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.args(["session", "run", "demo"]);
    command.env("JOURNAL_STREAM", format!("{}:{}", stream.dev(), stream.ino()));
    command.stdout(File::create(directory.join("stdout"))?).stderr(log);
    Ok(command)
}

/// What bob's journal says of a run of all three.
fn story(network: &Network) -> Result<Vec<Entry>> {
    let directory = tempfile::tempdir()?;
    let socket = UnixDatagram::bind(directory.path().join("socket"))?;
    let mut bob = in_journal(network.party("bob"), directory.path())?.spawn()?;
    let reader = std::thread::spawn(move || {
        let (mut entries, mut packet) = (Vec::new(), vec![0; 1 << 16]);
        socket.set_read_timeout(Some(Duration::from_secs(60)))?;
        loop {
            let length = socket.recv(&mut packet)?;
            // The first is empty: the logger sees whether anybody is there.
            let entry = entry(&packet[..length])?;
            let last = entry.get("MPYC_STAGE").is_some_and(|stage| stage == "end");
            entries.extend((!entry.is_empty()).then_some(entry));
            if last {
                return Ok::<_, anyhow::Error>(entries);
            }
        }
    });
    let others = [network.party("alice").run("demo")?, network.party("carol").run("demo")?];
    others.into_iter().try_for_each(completes)?;
    ensure!(bob.wait()?.success());
    let written = std::fs::read_to_string(directory.path().join("stdout"))?;
    ensure!(written.is_empty(), "standard output would be in the journal: {written}");
    reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?
}

#[test]
fn a_journal_that_takes_nothing_holds_nobody_up() -> Result<()> {
    let network = three()?;
    let lines = "for number in range(1000): print('line', number)\n";
    network.declare(&demo(&format!("{SUM}{lines}")).set("journal-output", "true"))?;
    let directory = tempfile::tempdir()?;
    let _asleep = UnixDatagram::bind(directory.path().join("socket"))?;
    let mut bob = in_journal(network.party("bob"), directory.path())?.spawn()?;
    let others = [network.party("alice").run("demo")?, network.party("carol").run("demo")?];
    others.into_iter().try_for_each(completes)?;
    let done = Instant::now();
    ensure!(bob.wait()?.success());
    ensure!(done.elapsed() < READER_TIMEOUT + BOUND, "bob stayed for {:?}", done.elapsed());
    Ok(network.end()?)
}

/// The entry that says this.
fn says<'a>(story: &'a [Entry], text: &str) -> Result<&'a Entry> {
    let found = story.iter().find(|entry| entry.get("MESSAGE").is_some_and(|m| m.contains(text)));
    found.with_context(|| format!("nothing says «{text}» in {story:#?}"))
}

#[test]
fn the_journal_tells_the_story_of_a_run_and_not_its_result() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM))?;
    let told = story(&network)?;
    let field = |entry: &Entry, name: &str| entry.get(name).cloned().unwrap_or_default();
    for entry in &told {
        ensure!(field(entry, "MPYC_SESSION") == "demo", "{entry:?}");
        ensure!(field(entry, "MPYC_PARTY") == "bob", "{entry:?}");
    }
    ensure!(field(says(&told, "looking for")?, "MPYC_STAGE") == "find");
    ensure!(field(says(&told, "linked to carol")?, "MPYC_PEER") == "carol");
    let agreed = says(&told, "agreed on run")?;
    let run = field(agreed, "MPYC_RUN");
    ensure!(!run.is_empty() && field(agreed, "MESSAGE").contains(&run), "{agreed:?}");
    let ended = says(&told, "completed")?;
    ensure!(field(ended, "MPYC_RUN") == run && field(ended, "PRIORITY") == "5", "{ended:?}");
    ensure!(says(&told, "sum 3").is_err(), "the result is in the journal");
    // Unless that is asked for.
    network.declare(&demo(SUM).set("journal-output", "true"))?;
    says(&story(&network)?, "sum 3")?;
    Ok(network.end()?)
}

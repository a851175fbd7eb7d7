//! Guarantee 7: private keys, tokens and private inputs are where they belong and nowhere else.

mod common;

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use common::{LIMIT, completes};
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use mpyc_party_core::token::Token;
use mpyc_party_lab::party::{Network, Party, Process, Session};
use rustix::process::geteuid;

/// Every party's input is a number behind a word that must not show up anywhere.
const PROGRAM: &str = "
import os
from mpyc.runtime import mpc
secint = mpc.SecInt()
with open(os.environ['MPYC_PARTY_INPUT']) as file:
    word, number = file.read().split()
mpc.run(mpc.start())
print('running')
input()
print('sum', mpc.run(mpc.output(mpc.sum(mpc.input(secint(int(number)))))))
mpc.run(mpc.shutdown())
";

/// A secret in every form in which it could be written.
struct Needle {
    what: String,
    forms: Vec<Vec<u8>>,
    /// Files that may hold it.
    home: Vec<PathBuf>,
}

impl Needle {
    fn new(what: &str, secret: &[u8], home: Vec<PathBuf>) -> Self {
        let texts =
            [BASE64.encode(secret), BASE64URL_NOPAD.encode(secret), HEXLOWER.encode(secret)];
        let mut forms: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
        forms.push(secret.to_vec());
        Self { what: what.into(), forms, home }
    }
}

/// Fails if one of `needles` is in `hay`.
fn refute<'a>(
    hay: &[u8],
    needles: impl IntoIterator<Item = &'a Needle>,
    place: impl std::fmt::Display,
) -> Result<()> {
    let mut by_first_byte = vec![Vec::new(); 256];
    for needle in needles {
        for form in &needle.forms {
            by_first_byte[usize::from(form[0])].push((form, &needle.what));
        }
    }
    for (at, byte) in hay.iter().enumerate() {
        for (form, what) in &by_first_byte[usize::from(*byte)] {
            ensure!(!hay[at..].starts_with(form), "{what} is in {place}");
        }
    }
    Ok(())
}

/// The private key in the file at `path`: in PEM as a party keeps it, or in DER as an authority
/// does.
fn private_key(path: PathBuf, what: &str) -> Result<Needle> {
    let content = fs::read(&path)?;
    let der = pem::parse(&content).map_or(content, pem::Pem::into_contents);
    // RFC 8410: the 32 bytes follow a header of 16.
    let seed = der.get(16..48).context("no Ed25519 key")?.to_vec();
    let mut needle = Needle::new(what, &seed, vec![path]);
    needle.forms.push(BASE64.encode(&der).into_bytes());
    Ok(needle)
}

fn secrets_of(party: &Party) -> Result<Vec<Needle>> {
    let home = vec![party.directory().join("programs/demo/private-input")];
    let input = fs::read(&home[0])?;
    let word = input.split(|byte| *byte == b' ').next().unwrap_or_default();
    let key = party.state().join("identity/key.pem");
    Ok(vec![
        private_key(key, &format!("the private key of {}", party.name()))?,
        Needle::new(&format!("the input of {}", party.name()), word, home),
    ])
}

fn look_in_files(dir: &Path, needles: &[Needle]) -> Result<usize> {
    let mut looked = 0;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            looked += look_in_files(&path, needles)?;
            continue;
        }
        looked += 1;
        let content = fs::read(&path)?;
        let foreign = needles.iter().filter(|needle| !needle.home.contains(&path));
        refute(&content, foreign, path.display())?;
    }
    Ok(looked)
}

/// A file of a process. None where not even a process of the same user may read it, as it should
/// be; root may.
fn open(process: Process, name: &str) -> Result<Option<File>> {
    match File::open(process.directory().join(name)) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied && !geteuid().is_root() => {
            Ok(None)
        }
        opened => Ok(Some(opened?)),
    }
}

/// What anybody on the machine, or anybody of the same user, can read of a process.
fn look_at_process(process: Process, needles: &[Needle]) -> Result<()> {
    for file in ["cmdline", "environ"] {
        let Some(mut opened) = open(process, file)? else { continue };
        let mut content = Vec::new();
        opened.read_to_end(&mut content)?;
        ensure!(!content.is_empty() || file == "environ", "nothing to look at");
        refute(&content, needles, format_args!("{file} of {}", process.id()))?;
    }
    Ok(())
}

/// The memory of a process in the sandbox, which began as a copy of the runner; None where it
/// cannot be read.
fn look_into_memory<'a>(
    process: Process,
    needles: impl Iterator<Item = &'a Needle> + Clone,
) -> Result<Option<usize>> {
    let Some(memory) = open(process, "mem")? else { return Ok(None) };
    let mut looked = 0;
    for line in process.read("maps").lines() {
        let (range, rest) = line.split_once(' ').context("a mapping")?;
        // Files that are mapped are looked at as files.
        if !rest.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').context("a range")?;
        let (from, to) = (u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?);
        let mut content = vec![0; usize::try_from(to - from)?];
        // What was never touched or is a device cannot be read.
        let Ok(length) = memory.read_at(&mut content, from) else { continue };
        looked += length;
        let place = format!("the memory of {}", process.id());
        refute(&content[..length], needles.clone(), place)?;
    }
    Ok(Some(looked))
}

#[test]
fn no_secret_is_anywhere_but_at_home() -> Result<()> {
    let mut network = Network::on_loopback(&["alice", "bob"])?;
    let (carol, text) = (network.newcomer("carol")?, network.token(&["--name", "carol"])?);
    let enrolled = carol.enroll(&text)?;
    ensure!(enrolled.status.success());
    network.add(carol);
    for (party, number) in network.parties().iter().zip(1..) {
        let input = format!("inputword{}{} {number}", party.name(), std::process::id());
        let session = Session::new("demo", PROGRAM).parties(&["alice", "bob", "carol"]);
        party.declare(&session.input(&input))?;
    }
    let mut needles = Vec::new();
    for party in network.parties() {
        needles.extend(secrets_of(party)?);
    }
    needles.push(Needle::new("the token", text.as_bytes(), Vec::new()));
    let token = Token::from_text(&text)?;
    needles.push(Needle::new("the token's secret", &token.secret.0, Vec::new()));
    needles.push(private_key(network.hub_state().join("ca/root.key"), "the authority's key")?);

    let mut runs = network.run("demo")?;
    for run in &mut runs {
        run.wait_for_line("running", LIMIT)?;
        for process in [run.runner()?, run.init()?, run.payload()?] {
            look_at_process(process, &needles)?;
        }
        // The input is there, it is the program's; keys and token must not be.
        let foreign = |needle: &&Needle| !needle.what.starts_with("the input");
        let looked = look_into_memory(run.init()?, needles.iter().filter(foreign))?;
        let enough = looked.is_none_or(|bytes| bytes > 100_000);
        ensure!(enough, "only {looked:?} bytes of memory were looked at");
        run.feed("go\n")?;
    }
    look_at_process(network.hub().context("a hub")?, &needles)?;
    for run in runs {
        run.wait_for_line("sum 6", LIMIT)?;
        refute(run.said().as_bytes(), &needles, "what was shown")?;
        completes(run)?;
    }
    let said = [&enrolled.stdout[..], &enrolled.stderr].concat();
    refute(&said, &needles, "what was shown at enrolment")?;
    ensure!(look_in_files(network.directory(), &needles)? > 20, "hardly any files");
    Ok(network.end()?)
}

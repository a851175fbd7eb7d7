//! What somebody agrees to before a session from somebody else is added: what would run, with whom,
//! and who could learn what.
//!
//! A [`Consent`] is a value, so that a terminal, a page or a script can show it. It holds everything
//! that a person needs, and nothing in it that others wrote hides or commands a terminal: it was made
//! [visible] before. [`text`] says it in plain words.
//!
//! Of what Python could import or run it holds every line. Other files are data, which it names.
//!
//! [visible]: super::words::visible

pub mod text;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mpyc_party_core::claims::PublicKey;
use mpyc_party_core::name::{NetworkName, PartyName, SessionName};
use mpyc_party_sandbox::Policy;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::bundle::{Opened, hash};
use super::code::{self, Kind};
use super::words::{in_ascii, quoted, visible};
use crate::config::{Session, Start};

/// What somebody agrees to, or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Consent {
    /// The session.
    pub session: SessionName,
    /// Its network.
    pub network: NetworkName,
    /// Who proposes it.
    pub from: PartyName,
    /// When that was signed, as the proposer says.
    #[serde(with = "time::serde::rfc3339")]
    pub signed: OffsetDateTime,
    /// The key by which it was signed.
    pub key: PublicKey,
    /// What would run.
    pub program: Program,
    /// The program's file, and the others that it reads.
    pub files: Vec<File>,
    /// Who takes part, in order: the position is the MPyC party index.
    pub roster: Vec<Member>,
    /// Who could learn what.
    pub privacy: Privacy,
    /// This party's own file that the program would read.
    pub input: Option<PathBuf>,
    /// Who may start it here.
    pub start: Start,
    /// How many runs may start here without anybody being asked.
    pub runs_without_asking: u32,
    /// What becomes of a run that cannot be confined in full.
    pub sandbox: Policy,
    /// Whom the program reaches; it has no other network.
    pub reaches: Vec<PartyName>,
    /// What it may use, and how long it waits.
    pub limits: Limits,
}

/// What would run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The name of its file.
    pub name: String,
    /// Its arguments, each as a JSON string: nothing else shows for certain where one ends.
    pub arguments: Vec<String>,
    /// Options of MPyC itself, each as a JSON string.
    pub options: Vec<String>,
    /// The Python version that all parties must have.
    pub python: Option<String>,
    /// The Python version that this machine would run it with, where that is known.
    pub python_here: Option<String>,
    /// Whether that is what all parties must have.
    pub python_fits: bool,
    /// Whether MPyC may be another than a release that is known here.
    pub unknown_mpyc: bool,
}

/// A file that travels with the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Its name in ASCII alone, where that differs: letters can look alike.
    pub exact_name: Option<String>,
    /// Whether it is the program.
    pub is_program: bool,
    /// Whether Python could import or run it.
    pub kind: Kind,
    /// The name by which Python imports it.
    pub module: Option<String>,
    /// What it is, where that is more than what its name says: an archive, machine code.
    pub disguise: Option<String>,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of its content, in hexadecimal.
    pub sha256: String,
    /// What it says, in full, where it is code.
    pub text: Option<Text>,
}

/// The content of a text file, in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// Its lines, without their ends.
    pub lines: Vec<String>,
    /// The numbers, from 1, of lines with characters that do not show as they are: those stand as
    /// `⟨U+…⟩`.
    pub with_hidden: Vec<usize>,
    /// The lines that are not ASCII alone, by their numbers from 1, with such characters as `⟨U+…⟩`:
    /// letters can look alike, and Python takes some for others (PEP 3131).
    pub exact: BTreeMap<usize, String>,
}

/// One party of the roster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub party: PartyName,
    /// The key that it must have; whoever the authority calls so where there is none.
    pub key: Option<PublicKey>,
    /// Whether it is this party.
    pub is_me: bool,
    /// Whether it proposes the session.
    pub proposes: bool,
}

/// Who could learn what, among parties that follow the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Privacy {
    /// So many parties may pool what they saw, and learn nothing but the result.
    pub threshold: usize,
    /// How many take part.
    pub parties: usize,
    /// So many together could learn every input: one more than the threshold, and one where MPyC masks
    /// too weakly.
    pub coalition: usize,
    /// Whether MPyC masks secrets as well as by its defaults; its options may weaken that.
    pub hides: bool,
    /// Of these, as many as the coalition would need to work together to learn this party's input.
    pub others: Vec<PartyName>,
}

/// What a run may use, and how long it waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Most memory in MiB; half of this machine's where none is given.
    pub memory_mib: Option<u64>,
    /// Most output in MiB.
    pub output_mib: u64,
    /// Most files in the private `/tmp` in MiB, which are gone after the run.
    pub tmp_mib: u64,
    /// How long a run waits for all parties. How long the program takes has no limit.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// How long an outage may last.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
}

impl Consent {
    /// What `me` is asked to agree to by the session of `opened`, with its own `input`, on a machine whose
    /// Python has the version `python_here`.
    #[must_use]
    pub fn of(
        opened: &Opened,
        me: &PartyName,
        input: Option<&Path>,
        python_here: Option<&str>,
    ) -> Self {
        let (bundle, proposal) = (&opened.bundle, &opened.bundle.proposal);
        let names = opened.names();
        // As it would be declared here.
        let settings = proposal.session(Path::new(""), &names, None);
        let content = |name: &&str| opened.files.iter().find(|(n, _)| n == name);
        let files = names.iter().filter_map(content);
        let others: Vec<_> = proposal.parties.iter().filter(|name| *name != me).cloned().collect();
        Self {
            session: bundle.session.clone(),
            network: bundle.network.clone(),
            from: bundle.from.clone(),
            signed: bundle.signed,
            key: opened.key,
            program: Program {
                name: visible(&proposal.program),
                arguments: proposal.arguments.iter().map(|text| quoted(text)).collect(),
                options: proposal.options.iter().map(|text| quoted(text)).collect(),
                python: proposal.python.clone().map(String::from),
                python_here: python_here.map(visible),
                python_fits: proposal
                    .python
                    .as_ref()
                    .is_none_or(|demand| python_here.is_none_or(|version| demand.met_by(version))),
                unknown_mpyc: proposal.allow_unknown_mpyc,
            },
            files: files
                .map(|(name, content)| File::of(name, content, *name == proposal.program))
                .collect(),
            roster: roster(opened, me),
            privacy: Privacy {
                threshold: proposal.threshold,
                parties: proposal.parties.len(),
                coalition: if settings.hides() { proposal.threshold + 1 } else { 1 },
                hides: settings.hides(),
                others: others.clone(),
            },
            input: input.map(|path| visible(&path.display().to_string()).into()),
            start: settings.start,
            runs_without_asking: runs_without_asking(&settings),
            sandbox: settings.sandbox,
            reaches: others,
            limits: Limits {
                memory_mib: settings.memory,
                output_mib: settings.output,
                tmp_mib: mpyc_party_sandbox::Limits::default().tmp_size >> 20,
                deadline: settings.deadline,
                grace: settings.grace,
            },
        }
    }
}

fn runs_without_asking(settings: &Session) -> u32 {
    match settings.start {
        Start::Manual => 0,
        Start::OnProposal => settings.max_runs,
    }
}

fn roster(opened: &Opened, me: &PartyName) -> Vec<Member> {
    let (proposal, from) = (&opened.bundle.proposal, &opened.bundle.from);
    let member = |name: &PartyName| {
        let proposes = name == from;
        let key = proposal.keys.get(name).copied().or(proposes.then_some(opened.key));
        Member { party: name.clone(), key, is_me: name == me, proposes }
    };
    proposal.parties.iter().map(member).collect()
}

impl File {
    fn of(name: &str, content: &[u8], is_program: bool) -> Self {
        let kind = code::kind(name, is_program);
        let is_code = kind == Kind::Code;
        let disguise = if is_code { None } else { code::disguise(content) };
        Self {
            name: visible(name),
            exact_name: Some(in_ascii(name)).filter(|exact| exact != name),
            is_program,
            kind,
            module: code::module(name).filter(|_| !is_program),
            disguise: disguise.map(str::to_owned),
            bytes: content.len() as u64,
            sha256: hash(content),
            // A bundle with code that is no text was refused.
            text: is_code.then(|| Text::of(&String::from_utf8_lossy(content))),
        }
    }
}

impl Text {
    /// The text of a file. Its lines end where Python ends them.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let lines: Vec<String> = text.lines().map(visible).collect();
        let hides = |(line, shown): (&str, &String)| line != shown;
        let hidden = text.lines().zip(&lines).enumerate().filter(|(_, pair)| hides(*pair));
        let with_hidden = hidden.map(|(index, _)| index + 1).collect();
        let exact = text.lines().zip(1..).filter(|(line, _)| !line.is_ascii());
        let exact = exact.map(|(line, number)| (number, in_ascii(line))).collect();
        Self { lines, with_hidden, exact }
    }
}

#[cfg(test)]
mod tests;

//! How a run ended, in words that name who, where and why.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::label::{Label, Words, difference};
use crate::name::PartyName;
use crate::roster::Roster;
use crate::text::excerpt;

/// Where in a session something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The definition, Python and the sandbox are made ready.
    Prepare,
    /// The parties of the roster are looked for.
    Find,
    /// All parties compare what will run.
    Agree,
    /// All parties are ready and wait for each other.
    Start,
    /// The program runs.
    Run,
    /// The program has ended here; the others' reports are awaited.
    End,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prepare => "prepare",
            Self::Find => "find",
            Self::Agree => "agree",
            Self::Start => "start",
            Self::Run => "run",
            Self::End => "end",
        })
    }
}

/// Text from a peer or a program that goes into messages: one line, bounded, nothing in it hidden.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Remark(String);

impl Remark {
    /// Longest remark in characters.
    pub const MAX_CHARS: usize = 300;
}

impl<T: AsRef<str>> From<T> for Remark {
    fn from(text: T) -> Self {
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let line: String = text.as_ref().chars().take(Self::MAX_CHARS).map(plain).collect();
        Self(excerpt(&line, Self::MAX_CHARS))
    }
}

impl From<Remark> for String {
    fn from(remark: Remark) -> Self {
        remark.0
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// It returned this status; 0 is success.
    Status(i32),
    /// This signal ended it.
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "ended with status {status}"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
        }
    }
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Not there when the observer's deadline was over.
    Missing,
    /// There, but it did not take the next step before the observer's deadline.
    Late,
    /// It would run something else; the labels of what differs.
    Differs(Vec<Label>),
    /// Two parties were told different things.
    Inconsistent(Remark),
    /// Nothing was heard from it for longer than the grace time.
    Silent(Duration),
    /// The link to it ended without a word.
    Lost(Remark),
    /// Somebody stopped the session there.
    Stopped,
    /// The program ended without success.
    Ended(Exit),
    /// The program was stopped (frozen) by a signal.
    Frozen,
    /// On a stream it claimed a party index that is not its own.
    ClaimedIndex(u16),
    /// It sent something to unpickle that is not on the allow-list.
    Pickle(Remark),
    /// It broke mpyc-party's protocol.
    Protocol(Remark),
    /// The program wrote more than the session allows.
    OutputLimit,
    /// Something failed on that machine itself.
    Local(Remark),
    /// Its program ended, or closed a connection, although more was awaited from it.
    Left,
    /// Two instances of it take part, in turns: its key is on two machines, or it was started twice.
    Twice,
    /// It names other parties than others do, or in another order: who has which roster.
    Rosters(Vec<HeldRoster>),
}

/// A roster, and who has it in its session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRoster {
    /// Those whose session names these parties in this order.
    pub parties: Vec<PartyName>,
    /// The roster.
    pub roster: Roster,
}

/// The most different rosters that a verdict tells of.
pub const MAX_ROSTERS: usize = 4;
/// Rosters of more parties are shown by what distinguishes them.
const MAX_SHOWN_PARTIES: usize = 8;

/// What differs, as in «the rosters differ: alice has alice, bob, dave; bob has alice, bob».
fn write_rosters(f: &mut fmt::Formatter<'_>, rosters: &[HeldRoster]) -> fmt::Result {
    f.write_str("the rosters differ")?;
    for (at, HeldRoster { parties, roster }) in rosters.iter().enumerate() {
        let verb = if parties.len() == 1 { "has" } else { "have" };
        write!(f, "{} {} {verb} ", if at == 0 { ":" } else { ";" }, list(parties))?;
        if roster.len() <= MAX_SHOWN_PARTIES {
            f.write_str(&list(roster.as_slice()))?;
        } else {
            write_distinction(f, roster, rosters)?;
        }
    }
    Ok(())
}

/// What distinguishes this long roster: whom not all have, else the first place in which they differ.
fn write_distinction(
    f: &mut fmt::Formatter<'_>,
    roster: &Roster,
    rosters: &[HeldRoster],
) -> fmt::Result {
    let all = |what: &dyn Fn(&Roster) -> bool| rosters.iter().all(|held| what(&held.roster));
    let in_all = |name: &&PartyName| all(&|roster| roster.index_of(name).is_some());
    let (common, own): (Vec<_>, Vec<_>) = roster.iter().partition(in_all);
    if !own.is_empty() {
        return write!(f, "{} beside {} that all have", list(own), common.len());
    }
    let same = |place: &usize| all(&|r| r.as_slice().get(*place) == roster.as_slice().get(*place));
    match roster.as_slice().iter().enumerate().find(|(place, _)| !same(place)) {
        Some((place, name)) if all(&|other| other.len() == roster.len()) => {
            write!(f, "{name} in place {} of {}", place + 1, roster.len())
        }
        _ => write!(f, "{} that all have", common.len()),
    }
}

fn list<'a>(names: impl IntoIterator<Item = &'a PartyName>) -> String {
    names.into_iter().map(PartyName::as_str).collect::<Vec<_>>().join(", ")
}

impl Reason {
    fn write(&self, f: &mut fmt::Formatter<'_>, words: Words) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("not there at the deadline"),
            Self::Late => f.write_str("there, but not ready at the deadline"),
            Self::Differs(labels) => {
                write!(f, "would run something else: {}", difference(labels, words))
            }
            Self::Inconsistent(remark) => write!(f, "contradictory statements: {remark}"),
            Self::Silent(time) => {
                write!(f, "not heard of for {} s", time.as_secs_f32().round())
            }
            Self::Lost(remark) => write!(f, "the link to it was lost: {remark}"),
            Self::Stopped => f.write_str("the session was stopped there"),
            Self::Ended(exit) => write!(f, "the program {exit}"),
            Self::Frozen => f.write_str("the program was stopped (frozen)"),
            Self::ClaimedIndex(index) => {
                write!(f, "claimed to be party {index}, which it is not")
            }
            Self::Pickle(what) => write!(f, "sent an object that is not allowed: {what}"),
            Self::Protocol(remark) => write!(f, "broke the protocol: {remark}"),
            Self::OutputLimit => f.write_str("the program wrote more output than allowed"),
            Self::Local(remark) => write!(f, "{remark}"),
            Self::Left => f.write_str(
                "left: its program ended or closed a connection while more was awaited from it",
            ),
            Self::Twice => {
                f.write_str("runs twice: two machines have its key, or it was started twice")
            }
            Self::Rosters(rosters) => write_rosters(f, rosters),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, PLAIN)
    }
}

/// A run that failed: who, where, why, and who says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Failure {
    /// The party or parties it is about.
    pub who: Vec<PartyName>,
    /// Where the observer was.
    pub stage: Stage,
    /// What happened.
    pub reason: Reason,
    /// The party that saw it.
    pub observer: PartyName,
    /// The party that passed the news on to this one, where that is not the observer.
    pub via: Option<PartyName>,
}

impl Failure {
    fn write(&self, f: &mut fmt::Formatter<'_>, words: Words) -> fmt::Result {
        let who: Vec<&str> = self.who.iter().map(PartyName::as_str).collect();
        write!(f, "{}: ", who.join(", "))?;
        self.reason.write(f, words)?;
        write!(f, " (stage {}, observed by {}", self.stage, self.observer)?;
        match &self.via {
            Some(via) => write!(f, ", as {via} reports)"),
            None => f.write_str(")"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, PLAIN)
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// All parties reported success.
    Completed,
    /// The program succeeded here, but the last report of these parties was lost.
    Unconfirmed(Vec<PartyName>),
    /// The run failed.
    Failed(Failure),
}

/// A verdict for people, in which an engine's parts have the engine's names.
#[derive(Clone, Copy, Debug)]
pub struct InWords<'a> {
    verdict: &'a Verdict,
    words: Words,
}

/// No words but those that labels have anyhow.
const PLAIN: Words = |_| None;

impl Verdict {
    /// The verdict for people, who know the parts of an engine by its `words`.
    #[must_use]
    pub fn in_words(&self, words: Words) -> InWords<'_> {
        InWords { verdict: self, words }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.in_words(PLAIN).fmt(f)
    }
}

impl fmt::Display for InWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.verdict {
            Verdict::Completed => f.write_str("completed"),
            Verdict::Unconfirmed(who) => {
                let who: Vec<&str> = who.iter().map(PartyName::as_str).collect();
                write!(f, "unconfirmed: done here, but no last report from {}", who.join(", "))
            }
            Verdict::Failed(failure) => {
                f.write_str("failed: ")?;
                failure.write(f, self.words)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(parties: &[&str], roster: &[String]) -> HeldRoster {
        let parties = parties.iter().map(|name| name.parse().unwrap()).collect();
        let roster: Vec<PartyName> = roster.iter().map(|name| name.parse().unwrap()).collect();
        HeldRoster { parties, roster: roster.try_into().unwrap() }
    }

    fn said(rosters: Vec<HeldRoster>) -> String {
        Reason::Rosters(rosters).to_string()
    }

    #[test]
    fn long_rosters_are_told_apart_by_what_is_different() {
        let long: Vec<String> = (0..20).map(|n| format!("p{n}")).collect();
        let with = |more: &str| [&long[..], &[more.to_owned()]].concat();
        let mut turned = long.clone();
        turned.swap(4, 6);
        assert_eq!(
            said(vec![held(&["p1"], &with("dave")), held(&["p2", "p3"], &long)]),
            "the rosters differ: p1 has dave beside 20 that all have; p2, p3 have 20 that all have"
        );
        assert_eq!(
            said(vec![held(&["p1"], &turned), held(&["p2"], &long)]),
            "the rosters differ: p1 has p6 in place 5 of 20; p2 has p4 in place 5 of 20"
        );
    }

    #[test]
    fn a_remark_hides_nothing_and_stays_as_it_is() {
        let remark = Remark::from("a\nb\u{1b}[2J\u{202e}c\u{200b}\u{2800}\u{a0}é");
        let shown = "a b [2J⟨U+202E⟩c⟨U+200B⟩⟨U+2800⟩⟨U+00A0⟩é";
        assert_eq!(remark.to_string(), shown);
        assert_eq!(Remark::from(shown), remark);
        let long = Remark::from("\u{202e}".repeat(Remark::MAX_CHARS));
        assert_eq!(long.to_string().chars().count(), Remark::MAX_CHARS);
        assert_eq!(Remark::from(long.to_string()), long);
    }
}

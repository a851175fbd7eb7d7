//! All parties compare what will run, so that nobody can tell two parties two things.
//!
//! Each party sends every other its [`Entry`], then the whole list of what it received. Only m
//! identical lists make an agreement: had a party sent two different entries, two lists would
//! differ. Whoever holds an agreement therefore knows that all parties agreed on the same program,
//! arguments, roster and versions, with nonces that make this run unlike any other.

use std::fmt;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::claims::{Fingerprint, PublicKey};
use crate::component::{Component, Components, Nonce, hash_list};
use crate::name::PartyName;
use crate::roster::Roster;
use crate::verdict::{Reason, Remark};

/// The name of one run, agreed by all its parties and never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId([u8; 32]);

impl RunId {
    /// The run id as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for RunId {
    /// The first 16 of 32 bytes in hexadecimal: enough to name a run in logs and files.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0[..16]))
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What one party would run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Whose entry this is.
    pub party: PartyName,
    /// That party's public key.
    pub key: PublicKey,
    /// Made afresh for this run; salts the digests.
    pub nonce: Nonce,
    /// The components' digests, in the order of [`Component::ALL`].
    pub digests: Vec<[u8; 32]>,
    /// Versions for people to read, as in «mpyc-party 0.1.0, CPython 3.12.4»; may differ.
    pub versions: Remark,
}

/// A peer's fault that ends the agreement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Roster indices of the parties it is about.
    pub who: Vec<usize>,
    /// What happened.
    pub reason: Reason,
}

/// The agreement of one run as one party sees it grow.
#[derive(Clone, Debug)]
pub struct Agreement {
    me: usize,
    roster: Roster,
    root: Fingerprint,
    components: Components,
    entries: Vec<Option<Entry>>,
    confirmed: Vec<bool>,
}

impl Agreement {
    /// Starts with this party's own entry.
    #[must_use]
    pub fn new(
        me: usize,
        roster: Roster,
        root: Fingerprint,
        components: Components,
        own: Entry,
    ) -> Self {
        let mut entries = vec![None; roster.len()];
        let mut confirmed = vec![false; roster.len()];
        entries[me] = Some(own);
        confirmed[me] = true;
        Self { me, roster, root, components, entries, confirmed }
    }

    /// Takes the entry of the peer at `from`, whose certificate showed `key`.
    ///
    /// # Errors
    /// A second, different entry, or one in another's name or under another key, is the peer's fault,
    /// and so is one with more digests than there are components: this party's list would hold it, and
    /// be too long for the others to read.
    pub fn on_entry(&mut self, from: usize, key: &PublicKey, entry: Entry) -> Result<(), Fault> {
        if self.roster.get(from) != Some(&entry.party) || *key != entry.key {
            return Err(protocol(from, "sent an entry that is not its own"));
        }
        if entry.digests.len() > Component::ALL.len() {
            return Err(protocol(
                from,
                "sent an entry with more digests than there are components",
            ));
        }
        match &self.entries[from] {
            // A link may be replaced just as the entry is sent: it then comes again on the new one.
            Some(known) if *known == entry => Ok(()),
            Some(_) => Err(protocol(from, "sent a second entry")),
            None => {
                self.entries[from] = Some(entry);
                Ok(())
            }
        }
    }

    /// Forgets the peer at `from`, whose runner has gone before this party sent its list.
    pub fn forget(&mut self, from: usize) {
        self.entries[from] = None;
        self.confirmed[from] = false;
    }

    /// The entry of the party at `index`, if it is there.
    #[must_use]
    pub fn entry(&self, index: usize) -> Option<&Entry> {
        self.entries[index].as_ref()
    }

    /// Whether the entry of the peer at `index` is there.
    #[must_use]
    pub fn has(&self, index: usize) -> bool {
        self.entries[index].is_some()
    }

    /// This party's own entry.
    #[must_use]
    pub fn own(&self) -> Option<&Entry> {
        self.entries[self.me].as_ref()
    }

    /// The entries that are there, in roster order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().flatten()
    }

    /// The peers that differ from this party, and in what.
    #[must_use]
    pub fn differences(&self) -> Vec<(usize, Vec<Component>)> {
        let of = |(index, entry): (usize, &Option<Entry>)| {
            let entry = entry.as_ref().filter(|_| index != self.me)?;
            let differs = self.components.differences(&entry.nonce, &entry.digests);
            (!differs.is_empty()).then_some((index, differs))
        };
        self.entries.iter().enumerate().filter_map(of).collect()
    }

    /// The difference as a verdict names it. Where all of several peers differ from this party in
    /// the same component, this party is the odd one out, and is the one named.
    #[must_use]
    pub fn verdict_on(&self, differences: &[(usize, Vec<Component>)]) -> Option<Fault> {
        let (_, first) = differences.first()?;
        let others = self.entries().count() - 1;
        let everyone = |c: &&Component| {
            others > 1
                && differences.len() == others
                && differences.iter().all(|(_, differs)| differs.contains(c))
        };
        let odd: Vec<Component> = first.iter().filter(everyone).copied().collect();
        if !odd.is_empty() {
            return Some(Fault { who: vec![self.me], reason: Reason::Differs(odd) });
        }
        let who = differences.iter().map(|(index, _)| *index).collect();
        let mut all: Vec<Component> = differences.iter().flat_map(|(_, d)| d.clone()).collect();
        all.sort_unstable();
        all.dedup();
        Some(Fault { who, reason: Reason::Differs(all) })
    }

    /// All entries in roster order, once they are there.
    #[must_use]
    pub fn list(&self) -> Option<Vec<Entry>> {
        self.entries.iter().cloned().collect()
    }

    /// Takes the list of the peer at `from`; this party's own list must be complete.
    ///
    /// # Errors
    /// A list that differs from this party's means that somebody said two different things.
    pub fn on_list(&mut self, from: usize, list: &[Entry]) -> Result<(), Fault> {
        if self.confirmed[from] {
            return Err(protocol(from, "sent a second list"));
        }
        let same = |(own, theirs): (&Option<Entry>, &Entry)| own.as_ref() == Some(theirs);
        if list.len() != self.entries.len() {
            return Err(protocol(from, "sent a list of another length"));
        }
        match self.entries.iter().zip(list).position(|pair| !same(pair)) {
            None => self.confirmed[from] = true,
            Some(index) => return Err(self.contradiction(from, index)),
        }
        Ok(())
    }

    /// The list of `from` holds another entry of `index` than this party received.
    fn contradiction(&self, from: usize, index: usize) -> Fault {
        let name = |i: usize| self.roster.get(i).map_or("?", PartyName::as_str);
        let (teller, subject, here) = (name(from), name(index), name(self.me));
        let mut who = vec![index, from];
        who.retain(|&i| i != self.me);
        who.dedup();
        let text = format!("{teller} holds another entry of {subject} than {here} does");
        Fault { who, reason: Reason::Inconsistent(text.into()) }
    }

    /// Whether the list of the peer at `index` was the same as this party's.
    #[must_use]
    pub fn confirmed(&self, index: usize) -> bool {
        self.confirmed[index]
    }

    /// The run's id, once all m lists were identical and nothing differs.
    #[must_use]
    pub fn run_id(&self) -> Option<RunId> {
        if !self.confirmed.iter().all(|c| *c) || !self.differences().is_empty() {
            return None;
        }
        let list = self.list()?;
        let mut items: Vec<Vec<u8>> = vec![b"mpyc-party run 1".to_vec(), self.root.0.to_vec()];
        for entry in &list {
            items.push(entry.party.as_str().into());
            items.push(entry.key.0.to_vec());
            items.push(entry.nonce.to_vec());
            items.push(entry.digests.concat());
            items.push(entry.versions.to_string().into_bytes());
        }
        Some(RunId(hash_list(&items)))
    }
}

fn protocol(from: usize, text: &str) -> Fault {
    Fault { who: vec![from], reason: Reason::Protocol(Remark::from(text)) }
}

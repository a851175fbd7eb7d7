//! All parties compare what will run, so that nobody can tell two parties two things.
//!
//! Each party sends every other its [`Entry`], then the whole list of what it received. Only m
//! identical lists make an agreement: had a party sent two different entries, two lists would
//! differ. Whoever holds an agreement therefore knows that all parties agreed on the same program,
//! arguments, roster and versions, with nonces that make this run unlike any other.
//!
//! Nothing of an entry is passed over. Components are compared by label, and one that only one of
//! two parties has is a difference; lists are compared, and the run's id is made, from the bytes of
//! the entries as they came, with whatever in them this version does not know.

mod entry;

use std::fmt;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::claims::{Fingerprint, PublicKey};
use crate::component::{Components, hash_list};
use crate::label::Label;
use crate::name::PartyName;
use crate::roster::{PeerIndex, PerParty, Roster};
use crate::verdict::{Reason, Remark};

pub use entry::{EncodedEntry, Entry, EntryError};

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

/// A peer's fault that ends the agreement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Roster indices of the parties it is about.
    pub who: Vec<PeerIndex>,
    /// What happened.
    pub reason: Reason,
}

/// An entry as it came, and what it says.
#[derive(Clone, Debug)]
struct Received {
    encoded: EncodedEntry,
    entry: Entry,
}

impl Received {
    fn read(encoded: EncodedEntry) -> Result<Self, EntryError> {
        Ok(Self { entry: encoded.decode()?, encoded })
    }
}

/// The agreement of one run as one party sees it grow.
#[derive(Clone, Debug)]
pub struct Agreement {
    me: PeerIndex,
    roster: Roster,
    root: Fingerprint,
    components: Components,
    entries: PerParty<Option<Received>>,
    confirmed: PerParty<bool>,
}

impl Agreement {
    /// Starts with this party's own entry.
    ///
    /// # Errors
    /// Where no peer could read that.
    pub fn new(
        me: PeerIndex,
        roster: Roster,
        root: Fingerprint,
        components: Components,
        own: EncodedEntry,
    ) -> Result<Self, EntryError> {
        let mut entries = PerParty::of(roster.len(), None);
        let mut confirmed = PerParty::of(roster.len(), false);
        entries[me] = Some(Received::read(own)?);
        confirmed[me] = true;
        Ok(Self { me, roster, root, components, entries, confirmed })
    }

    /// Takes the entry of the peer at `from`, whose certificate showed `key`.
    ///
    /// # Errors
    /// An entry that cannot be read, a second, different one, or one in another's name or under
    /// another key, is the peer's fault.
    pub fn on_entry(
        &mut self,
        from: PeerIndex,
        key: &PublicKey,
        encoded: EncodedEntry,
    ) -> Result<(), Fault> {
        let unreadable = |why| protocol(from, format!("sent an entry that cannot be read: {why}"));
        let received = Received::read(encoded).map_err(unreadable)?;
        let entry = &received.entry;
        if self.roster.get(from) != Some(&entry.party) || *key != entry.key {
            return Err(protocol(from, "sent an entry that is not its own"));
        }
        match &self.entries[from] {
            // A link may be replaced just as the entry is sent: it then comes again on the new one.
            Some(known) if known.encoded == received.encoded => Ok(()),
            Some(_) => Err(protocol(from, "sent a second entry")),
            None => {
                self.entries[from] = Some(received);
                Ok(())
            }
        }
    }

    /// Forgets the peer at `from`, whose runner has gone before this party sent its list.
    pub fn forget(&mut self, from: PeerIndex) {
        self.entries[from] = None;
        self.confirmed[from] = false;
    }

    /// The entry of the party at `index`, if it is there.
    #[must_use]
    pub fn entry(&self, index: PeerIndex) -> Option<&Entry> {
        self.entries[index].as_ref().map(|received| &received.entry)
    }

    /// The entry of the party at `index` as it came, if it is there.
    #[must_use]
    pub fn encoded(&self, index: PeerIndex) -> Option<&EncodedEntry> {
        self.entries[index].as_ref().map(|received| &received.encoded)
    }

    /// Whether the entry of the peer at `index` is there.
    #[must_use]
    pub fn has(&self, index: PeerIndex) -> bool {
        self.entries[index].is_some()
    }

    /// This party's own entry, as it is sent.
    #[must_use]
    pub fn own(&self) -> Option<&EncodedEntry> {
        self.encoded(self.me)
    }

    /// The peers that differ from this party, and in what.
    #[must_use]
    pub fn differences(&self) -> Vec<(PeerIndex, Vec<Label>)> {
        let of = |(index, received): (PeerIndex, &Option<Received>)| {
            let entry = &received.as_ref().filter(|_| index != self.me)?.entry;
            let differs = self.components.differences(&entry.nonce, &entry.digests);
            (!differs.is_empty()).then_some((index, differs))
        };
        self.entries.indexed().filter_map(of).collect()
    }

    /// The difference as a verdict names it. Where all of several peers differ from this party in
    /// the same component, this party is the odd one out, and is the one named.
    #[must_use]
    pub fn verdict_on(&self, differences: &[(PeerIndex, Vec<Label>)]) -> Option<Fault> {
        let (_, first) = differences.first()?;
        let others = self.entries.iter().flatten().count() - 1;
        let everyone = |label: &&Label| {
            others > 1
                && differences.len() == others
                && differences.iter().all(|(_, differs)| differs.contains(label))
        };
        let odd: Vec<Label> = first.iter().filter(everyone).cloned().collect();
        if !odd.is_empty() {
            return Some(Fault { who: vec![self.me], reason: Reason::Differs(odd) });
        }
        let who = differences.iter().map(|(index, _)| *index).collect();
        let mut all: Vec<Label> = differences.iter().flat_map(|(_, d)| d.clone()).collect();
        all.sort_unstable();
        all.dedup();
        Some(Fault { who, reason: Reason::Differs(all) })
    }

    /// All entries as they came, in roster order, once they are there.
    #[must_use]
    pub fn list(&self) -> Option<Vec<EncodedEntry>> {
        let encoded = |received: &Option<Received>| Some(received.as_ref()?.encoded.clone());
        self.entries.iter().map(encoded).collect()
    }

    /// Takes the list of the peer at `from`; this party's own list must be complete.
    ///
    /// # Errors
    /// A list that differs from this party's, by one byte of one entry, means that somebody said two
    /// different things.
    pub fn on_list(&mut self, from: PeerIndex, list: &[EncodedEntry]) -> Result<(), Fault> {
        if self.confirmed[from] {
            return Err(protocol(from, "sent a second list"));
        }
        if list.len() != self.roster.len() {
            return Err(protocol(from, "sent a list of another length"));
        }
        match self.disputed(list) {
            None => self.confirmed[from] = true,
            Some((index, _)) => return Err(self.contradiction(from, index)),
        }
        Ok(())
    }

    /// The first entry of a peer's list that is another than the one that this party received.
    #[must_use]
    pub fn disputed<'a>(&self, list: &'a [EncodedEntry]) -> Option<(PeerIndex, &'a EncodedEntry)> {
        let other = |(index, theirs): &(PeerIndex, &EncodedEntry)| {
            self.encoded(*index).is_none_or(|own| own != *theirs)
        };
        self.roster.indices().zip(list).find(other)
    }

    /// The list of `from` holds another entry of `index` than this party received.
    fn contradiction(&self, from: PeerIndex, index: PeerIndex) -> Fault {
        let name = |i: PeerIndex| self.roster.get(i).map_or("?", PartyName::as_str);
        let (teller, subject, here) = (name(from), name(index), name(self.me));
        let mut who = vec![index, from];
        who.retain(|&i| i != self.me);
        who.dedup();
        let text = format!("{teller} holds another entry of {subject} than {here} does");
        Fault { who, reason: Reason::Inconsistent(text.into()) }
    }

    /// Whether the list of the peer at `index` was the same as this party's.
    #[must_use]
    pub fn confirmed(&self, index: PeerIndex) -> bool {
        self.confirmed[index]
    }

    /// The run's id, once all m lists were identical and nothing differs.
    #[must_use]
    pub fn run_id(&self) -> Option<RunId> {
        if !self.confirmed.iter().all(|c| *c) || !self.differences().is_empty() {
            return None;
        }
        let list = self.list()?;
        let head: [&[u8]; 2] = [b"mpyc-party run 1", &self.root.0];
        let items: Vec<&[u8]> =
            head.into_iter().chain(list.iter().map(EncodedEntry::as_bytes)).collect();
        Some(RunId(hash_list(&items)))
    }
}

fn protocol(from: PeerIndex, text: impl AsRef<str>) -> Fault {
    Fault { who: vec![from], reason: Reason::Protocol(Remark::from(text)) }
}

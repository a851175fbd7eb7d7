//! Who takes part in a session, in which order.

use std::fmt;
use std::ops::{Index, IndexMut};

use serde::{Deserialize, Serialize};

use crate::name::PartyName;

/// The most parties of one session. MPyC's own set-up grows as C(m, t); this bound keeps messages
/// and memory bounded long before that.
pub const MAX_PARTIES: usize = 128;

/// The position of a party in the roster of its session, from 0: MPyC's party index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerIndex(usize);

impl PeerIndex {
    /// The party at this position.
    #[must_use]
    pub const fn new(position: usize) -> Self {
        Self(position)
    }

    /// The position, from 0.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0
    }
}

impl fmt::Display for PeerIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One value for each party of a roster, by its index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerParty<T>(Vec<T>);

impl<T> PerParty<T> {
    /// The same value for each of so many parties.
    #[must_use]
    pub fn of(parties: usize, value: T) -> Self
    where
        T: Clone,
    {
        Self(vec![value; parties])
    }

    /// The value of this party; none where the roster has no such index.
    #[must_use]
    pub fn get(&self, index: PeerIndex) -> Option<&T> {
        self.0.get(index.0)
    }

    /// All values, in roster order.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    /// All values with their indices, in roster order.
    pub fn indexed(&self) -> impl Iterator<Item = (PeerIndex, &T)> {
        self.0.iter().enumerate().map(|(position, value)| (PeerIndex(position), value))
    }
}

impl<T> Index<PeerIndex> for PerParty<T> {
    type Output = T;
    fn index(&self, index: PeerIndex) -> &T {
        &self.0[index.0]
    }
}

impl<T> IndexMut<PeerIndex> for PerParty<T> {
    fn index_mut(&mut self, index: PeerIndex) -> &mut T {
        &mut self.0[index.0]
    }
}

/// The ordered list of the parties of a session; the position is the MPyC party index.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<PartyName>", into = "Vec<PartyName>")]
pub struct Roster(Vec<PartyName>);

/// Why a list of names is not a roster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// MPyC with one party computes nothing jointly.
    #[error("a session needs at least 2 parties, and {0} is given")]
    TooFew(usize),
    /// More than [`MAX_PARTIES`].
    #[error("a session has at most {MAX_PARTIES} parties, and {0} are given")]
    TooMany(usize),
    /// One party cannot hold two indices.
    #[error("«{0}» is in the roster twice: each party has one place")]
    Twice(PartyName),
}

impl Roster {
    /// The position of `name`.
    #[must_use]
    pub fn index_of(&self, name: &PartyName) -> Option<PeerIndex> {
        self.0.iter().position(|party| party == name).map(PeerIndex)
    }

    /// The name at `index`.
    #[must_use]
    pub fn get(&self, index: PeerIndex) -> Option<&PartyName> {
        self.0.get(index.0)
    }

    /// All indices, in order.
    pub fn indices(&self) -> impl Iterator<Item = PeerIndex> + use<> {
        (0..self.0.len()).map(PeerIndex)
    }

    /// How many parties there are: MPyC's m.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a roster is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The names in roster order.
    pub fn iter(&self) -> std::slice::Iter<'_, PartyName> {
        self.0.iter()
    }

    /// The names in roster order.
    #[must_use]
    pub fn as_slice(&self) -> &[PartyName] {
        &self.0
    }

    /// MPyC's default threshold, ⌊(m−1)/2⌋: the largest with an honest majority.
    #[must_use]
    pub fn default_threshold(&self) -> usize {
        (self.0.len() - 1) / 2
    }
}

impl TryFrom<Vec<PartyName>> for Roster {
    type Error = RosterError;

    fn try_from(names: Vec<PartyName>) -> Result<Self, RosterError> {
        match names.len() {
            few @ 0..2 => return Err(RosterError::TooFew(few)),
            many if many > MAX_PARTIES => return Err(RosterError::TooMany(many)),
            _ => {}
        }
        for (at, name) in names.iter().enumerate() {
            if names[..at].contains(name) {
                return Err(RosterError::Twice(name.clone()));
            }
        }
        Ok(Self(names))
    }
}

impl From<Roster> for Vec<PartyName> {
    fn from(roster: Roster) -> Self {
        roster.0
    }
}

impl<'a> IntoIterator for &'a Roster {
    type Item = &'a PartyName;
    type IntoIter = std::slice::Iter<'a, PartyName>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster(names: &[&str]) -> Result<Roster, RosterError> {
        names.iter().map(|n| n.parse().unwrap()).collect::<Vec<PartyName>>().try_into()
    }

    #[test]
    fn a_roster_is_two_or_more_different_names() {
        assert_eq!(roster(&["a"]), Err(RosterError::TooFew(1)));
        assert_eq!(roster(&["a", "b", "a"]), Err(RosterError::Twice("a".parse().unwrap())));
        let three = roster(&["carol", "alice", "bob"]).unwrap();
        assert_eq!(three.index_of(&"alice".parse().unwrap()), Some(PeerIndex::new(1)));
        assert_eq!(three.default_threshold(), 1);
        let many: Vec<String> = (0..=MAX_PARTIES).map(|i| format!("p{i}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(roster(&many), Err(RosterError::TooMany(MAX_PARTIES + 1)));
    }
}

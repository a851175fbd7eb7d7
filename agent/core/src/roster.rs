//! Who takes part in a session, in which order.

use serde::{Deserialize, Serialize};

use crate::name::PartyName;

/// The most parties of one session. MPyC's own set-up grows as C(m, t); this bound keeps messages
/// and memory bounded long before that.
pub const MAX_PARTIES: usize = 128;

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
    /// The position of `name`: its MPyC party index.
    #[must_use]
    pub fn index_of(&self, name: &PartyName) -> Option<usize> {
        self.0.iter().position(|party| party == name)
    }

    /// The name at `index`.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&PartyName> {
        self.0.get(index)
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
        assert_eq!(three.index_of(&"alice".parse().unwrap()), Some(1));
        assert_eq!(three.default_threshold(), 1);
        let many: Vec<String> = (0..=MAX_PARTIES).map(|i| format!("p{i}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(roster(&many), Err(RosterError::TooMany(MAX_PARTIES + 1)));
    }
}

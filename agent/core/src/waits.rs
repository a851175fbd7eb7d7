//! What a party waits for, as it tells the others, for the people there. It is believed as that party's
//! own word and nothing more: no verdict comes of it.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::PartyName;
use crate::roster::{PeerIndex, Roster};

/// The most parties that are named as being waited for; the others are only counted.
pub const MAX_NAMES: usize = 8;

/// What a party waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Waits {
    /// Nothing that others would have to know of.
    #[default]
    Nothing,
    /// It makes itself ready.
    Preparing,
    /// For other parties.
    Parties {
        /// The first of them, at most [`MAX_NAMES`].
        names: Vec<PartyName>,
        /// How many there are beside these.
        more: u32,
    },
    /// Its program reads standard input, and nothing is there: somebody has to answer.
    Answer,
}

impl Waits {
    /// For these parties, if there are any.
    #[must_use]
    pub fn for_parties(mut names: Vec<PartyName>) -> Self {
        if names.is_empty() {
            return Self::Nothing;
        }
        let more = names.len().saturating_sub(MAX_NAMES);
        names.truncate(MAX_NAMES);
        Self::Parties { names, more: u32::try_from(more).unwrap_or(u32::MAX) }
    }

    /// The same as far as it can be true of `who`, a party of this roster, who said it.
    #[must_use]
    pub(crate) fn among(self, roster: &Roster, who: PeerIndex) -> Self {
        let Self::Parties { names, more } = self else { return self };
        let other = |name: &PartyName| roster.index_of(name).is_some_and(|index| index != who);
        let different: BTreeSet<PartyName> = names.into_iter().filter(other).collect();
        let names: Vec<_> = different.into_iter().take(MAX_NAMES).collect();
        let most = roster.len().saturating_sub(names.len() + 1);
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        match names.is_empty() {
            true => Self::Nothing,
            false => Self::Parties { names, more: more.min(most) },
        }
    }

    /// The same where `party` is known not to be waited for any more.
    #[must_use]
    pub fn without(&self, party: &PartyName) -> Self {
        let Self::Parties { names, more } = self else { return self.clone() };
        let names: Vec<PartyName> = names.iter().filter(|name| *name != party).cloned().collect();
        match names.is_empty() && *more == 0 {
            true => Self::Nothing,
            false => Self::Parties { names, more: *more },
        }
    }

    /// The same in words, of this party.
    #[must_use]
    pub fn of<'a>(&'a self, party: &'a PartyName) -> impl fmt::Display + 'a {
        Words(party, self)
    }
}

struct Words<'a>(&'a PartyName, &'a Waits);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(party, waits) = self;
        match waits {
            Waits::Nothing => write!(f, "{party} waits for nothing"),
            Waits::Preparing => write!(f, "{party} prepares"),
            Waits::Parties { names, more } if names.is_empty() => {
                write!(f, "{party} waits for {more} others")
            }
            Waits::Parties { names, more } => {
                let names: Vec<&str> = names.iter().map(PartyName::as_str).collect();
                write!(f, "{party} waits for {}", names.join(", "))?;
                if *more > 0 { write!(f, " and {more} more") } else { Ok(()) }
            }
            Waits::Answer => write!(f, "{party}'s program waits for an answer at its prompt"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<PartyName> {
        (0..count).map(|i| format!("p{i:03}").parse().unwrap()).collect()
    }

    #[test]
    fn what_somebody_waits_for_is_told_in_words() {
        let bob = "bob".parse().unwrap();
        for (waits, words) in [
            (Waits::Nothing, "bob waits for nothing"),
            (Waits::Preparing, "bob prepares"),
            (Waits::for_parties(names(0)), "bob waits for nothing"),
            (Waits::for_parties(names(2)), "bob waits for p000, p001"),
            (
                Waits::for_parties(names(MAX_NAMES + 3)),
                "bob waits for p000, p001, p002, p003, p004, p005, p006, p007 and 3 more",
            ),
            (Waits::Answer, "bob's program waits for an answer at its prompt"),
        ] {
            assert_eq!(waits.of(&bob).to_string(), words);
        }
    }

    #[test]
    fn who_is_there_is_not_waited_for() {
        let (bob, [p000, p001]) = ("bob".parse().unwrap(), [0, 1].map(|i| names(2)[i].clone()));
        let waits = Waits::for_parties(names(2)).without(&p000);
        assert_eq!(waits.of(&bob).to_string(), "bob waits for p001");
        assert_eq!(waits.without(&p001), Waits::Nothing);
        let more = Waits::Parties { names: names(1), more: 3 }.without(&p000);
        assert_eq!(more.of(&bob).to_string(), "bob waits for 3 others");
        assert_eq!(Waits::Answer.without(&bob), Waits::Answer);
    }

    #[test]
    fn what_cannot_be_true_is_not_kept() {
        let said = |names: Vec<PartyName>, more| Waits::Parties { names, more };
        let (three, p001) = (Roster::try_from(names(3)).unwrap(), names(2).split_off(1));
        let among = |waits: Waits| waits.among(&three, PeerIndex::new(0));
        assert_eq!(among(said(names(100), u32::MAX)), said(names(3).split_off(1), 0));
        assert_eq!(among(said(p001.clone(), u32::MAX)), said(p001.clone(), 1));
        assert_eq!(among(said(vec![p001[0].clone(); 100], 0)), said(p001, 0));
        for nobody in [vec!["x".parse().unwrap()], names(1), Vec::new()] {
            assert_eq!(among(said(nobody, 7)), Waits::Nothing, "unknown, the sender, or none");
        }
        let many = Roster::try_from(names(100)).unwrap();
        let all = said(names(100), 0).among(&many, PeerIndex::new(99));
        assert_eq!(all, said(names(MAX_NAMES), 0));
        assert_eq!(among(Waits::Answer), Waits::Answer);
    }
}

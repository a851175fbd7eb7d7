//! What must be the same at every party, cut into labelled components so that a difference can be
//! named.
//!
//! A party never shows its values, only a digest of each, keyed with the nonce it made for this
//! run. A peer recomputes the digest of its own value under that nonce: equal digests mean equal
//! values, and nothing can be compared with what was seen in another run.

use std::collections::{BTreeMap, BTreeSet};

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::label::Label;

/// A random value that a party makes afresh for each run.
pub type Nonce = [u8; 32];

/// One part of what a party would run: its label and its value, a list of byte strings.
pub type Part = (Label, Vec<Vec<u8>>);

/// This party's own components: the hash of each value, by label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Components(BTreeMap<Label, [u8; 32]>);

/// The components of one party as its entry shows them: a keyed digest of each, by label.
///
/// On the wire the labels ascend strictly, so that there is one way to write them and none comes
/// twice; there are at most [`Digests::MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(Label, [u8; 32])>", into = "Vec<(Label, [u8; 32])>")]
pub struct Digests(BTreeMap<Label, [u8; 32]>);

/// Why a list of digests is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestsError {
    /// More than [`Digests::MAX`].
    #[error("{0} digests, where at most {max} are allowed", max = Digests::MAX)]
    TooMany(usize),
    /// A label comes after one that is greater, or twice.
    #[error("the labels of the digests do not ascend")]
    Unsorted,
}

impl Components {
    /// Hashes the value of each label.
    ///
    /// A value is a list, so that neither «ab», «c» and «a», «bc» nor an empty list
    /// and an empty string are taken for each other. Where a label comes twice, its lists are one.
    pub fn new(parts: impl IntoIterator<Item = Part>) -> Self {
        let mut values: BTreeMap<Label, Vec<Vec<u8>>> = BTreeMap::new();
        for (label, value) in parts {
            values.entry(label).or_default().extend(value);
        }
        Self(values.into_iter().map(|(label, value)| (label, hash_list(&value))).collect())
    }

    /// The labels, in order.
    pub fn labels(&self) -> impl Iterator<Item = &Label> {
        self.0.keys()
    }

    /// The digests of all components under `nonce`, to be sent to the peers.
    #[must_use]
    pub fn salted(&self, nonce: &Nonce) -> Digests {
        let salt = |(label, value): (&Label, &[u8; 32])| {
            let digest =
                keyed(nonce, &[b"mpyc-party component 1", label.as_str().as_bytes(), value]);
            (label.clone(), digest)
        };
        Digests(self.0.iter().map(salt).collect())
    }

    /// The components in which the sender of `digests`, made under `nonce`, differs from this party:
    /// those with other values, and those that only one of both has.
    #[must_use]
    pub fn differences(&self, nonce: &Nonce, digests: &Digests) -> Vec<Label> {
        let own = self.salted(nonce).0;
        let labels: BTreeSet<&Label> = own.keys().chain(digests.0.keys()).collect();
        let differs = |label: &&Label| own.get(*label) != digests.0.get(*label);
        labels.into_iter().filter(differs).cloned().collect()
    }
}

impl Digests {
    /// The most labels of one party.
    pub const MAX: usize = 24;
}

impl TryFrom<Vec<(Label, [u8; 32])>> for Digests {
    type Error = DigestsError;

    fn try_from(digests: Vec<(Label, [u8; 32])>) -> Result<Self, DigestsError> {
        if digests.len() > Self::MAX {
            return Err(DigestsError::TooMany(digests.len()));
        }
        if !digests.is_sorted_by(|(one, _), (next, _)| one < next) {
            return Err(DigestsError::Unsorted);
        }
        Ok(Self(digests.into_iter().collect()))
    }
}

impl From<Digests> for Vec<(Label, [u8; 32])> {
    fn from(digests: Digests) -> Self {
        digests.0.into_iter().collect()
    }
}

/// SHA-256 over `items`, each with its length in front.
pub(crate) fn hash_list<T: AsRef<[u8]>>(items: &[T]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update((items.len() as u64).to_be_bytes());
    for item in items {
        hash.update((item.as_ref().len() as u64).to_be_bytes());
        hash.update(item.as_ref());
    }
    hash.finalize().into()
}

/// HMAC-SHA256 (RFC 2104) under `key` over the hash of the list `items`.
fn keyed(key: &Nonce, items: &[&[u8]]) -> [u8; 32] {
    // HMAC takes keys of any length: the error arm cannot be reached, and the hash itself is a
    // safe answer there.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return hash_list(items) };
    mac.update(&hash_list(items));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: Nonce = [7; 32];

    fn all(changed: Option<&Label>) -> Components {
        let value = |label| if Some(label) == changed { b"x" } else { b"y" };
        let parts = Label::KNOWN.iter().map(|(label, _)| (label, value(label)));
        Components::new(parts.map(|(label, value)| (label.clone(), vec![value.to_vec()])))
    }

    #[test]
    fn each_difference_is_named_and_nothing_else() {
        for (label, _) in Label::KNOWN {
            let theirs = all(Some(label)).salted(&NONCE);
            assert_eq!(&all(None).differences(&NONCE, &theirs)[..], std::slice::from_ref(label));
        }
        assert_eq!(all(None).differences(&NONCE, &all(None).salted(&NONCE)), []);
    }

    #[test]
    fn a_label_that_only_one_has_is_a_difference_for_both() {
        let (more, fewer) = (all(None), Components::new([]));
        let known = || Label::KNOWN.iter().map(|(label, _)| label.clone());
        let mut sorted: Vec<Label> = known().collect();
        sorted.sort();
        assert_eq!(more.differences(&NONCE, &fewer.salted(&NONCE)), sorted);
        assert_eq!(fewer.differences(&NONCE, &more.salted(&NONCE)), sorted);
        // Also where its value is empty.
        let empty = Components::new([(Label::FILES, Vec::new())]);
        assert_eq!(fewer.differences(&NONCE, &empty.salted(&NONCE)), [Label::FILES]);
    }

    #[test]
    fn digests_of_two_runs_cannot_be_compared() {
        let (one, two) = (all(None).salted(&[1; 32]), all(None).salted(&[2; 32]));
        assert!(one.0.values().all(|digest| !two.0.values().any(|other| other == digest)));
    }

    #[test]
    fn equal_values_of_two_components_do_not_show() {
        let digests = all(None).salted(&NONCE);
        let different: BTreeSet<_> = digests.0.values().collect();
        assert_eq!(different.len(), Label::KNOWN.len());
    }

    #[test]
    fn digests_have_one_order_and_no_label_twice() {
        let digests = |labels: &[&str]| -> Result<Digests, DigestsError> {
            let digest = |label: &&str| (label.parse().unwrap(), [0; 32]);
            labels.iter().map(digest).collect::<Vec<(Label, [u8; 32])>>().try_into()
        };
        assert!(digests(&["a", "b", "b2"]).is_ok());
        assert_eq!(digests(&["b", "a"]), Err(DigestsError::Unsorted));
        assert_eq!(digests(&["a", "a"]), Err(DigestsError::Unsorted));
        let many: Vec<String> = (0..=Digests::MAX).map(|i| format!("x{i:03}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(digests(&many[1..]).is_ok());
        assert_eq!(digests(&many), Err(DigestsError::TooMany(Digests::MAX + 1)));
    }

    #[test]
    fn lists_are_not_confused() {
        let lists: [&[&[u8]]; 4] = [&[], &[b""], &[b"ab", b"c"], &[b"a", b"bc"]];
        let hashes: BTreeSet<_> = lists.iter().map(|l| hash_list(l)).collect();
        assert_eq!(hashes.len(), lists.len());
    }
}

//! What must be the same at every party, cut into components so that a difference can be named.
//!
//! A party never shows its values, only a digest of each, keyed with the nonce it made for this
//! run. A peer recomputes the digest of its own value under that nonce: equal digests mean equal
//! values, and nothing can be compared with what was seen in another run.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A random value that a party makes afresh for each run.
pub type Nonce = [u8; 32];

/// One part of the computation that all parties must agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    /// Name and order of the parties, and the session's name.
    Roster,
    /// The program's file name and bytes.
    Program,
    /// Names and bytes of the other files the program reads.
    Files,
    /// The program's arguments.
    Arguments,
    /// How many parties may pool what they saw and still learn nothing.
    Threshold,
    /// MPyC's own options.
    Options,
    /// MPyC's version.
    Mpyc,
    /// Python's implementation and pointer width, and its version where the session demands one.
    Python,
    /// Whether numpy is there, and its major version.
    Numpy,
}

impl Component {
    /// Every component, in the order in which digests are sent.
    pub const ALL: [Self; 9] = [
        Self::Roster,
        Self::Program,
        Self::Files,
        Self::Arguments,
        Self::Threshold,
        Self::Options,
        Self::Mpyc,
        Self::Python,
        Self::Numpy,
    ];

    /// The component as a person would say it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Roster => "the roster",
            Self::Program => "the program",
            Self::Files => "the program's files",
            Self::Arguments => "the arguments",
            Self::Threshold => "the threshold",
            Self::Options => "MPyC's options",
            Self::Mpyc => "the MPyC version",
            Self::Python => "the Python",
            Self::Numpy => "the numpy version",
        }
    }
}

/// What differs, in words: «the roster differs», «the program, the threshold differ».
#[must_use]
pub fn difference(components: &[Component]) -> String {
    let names: Vec<&str> = components.iter().map(|component| component.text()).collect();
    let verb = if names.len() == 1 { "differs" } else { "differ" };
    format!("{} {verb}", names.join(", "))
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// This party's own components: the hash of each value, in the order of [`Component::ALL`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Components([[u8; 32]; Component::ALL.len()]);

impl Components {
    /// Hashes the values that `parts` gives for each component.
    ///
    /// A value is a list of byte strings, so that neither «ab», «c» and «a», «bc» nor an empty list
    /// and an empty string are taken for each other.
    pub fn new(mut parts: impl FnMut(Component) -> Vec<Vec<u8>>) -> Self {
        Self(Component::ALL.map(|component| hash_list(&parts(component))))
    }

    /// The digests of all components under `nonce`, to be sent to the peers.
    #[must_use]
    pub fn salted(&self, nonce: &Nonce) -> Vec<[u8; 32]> {
        let salt = |(component, value): (&Component, &[u8; 32])| {
            keyed(nonce, &[b"mpyc-party component 1", component.text().as_bytes(), value])
        };
        Component::ALL.iter().zip(&self.0).map(salt).collect()
    }

    /// The components in which the sender of `digests`, made under `nonce`, differs from this party.
    #[must_use]
    pub fn differences(&self, nonce: &Nonce, digests: &[[u8; 32]]) -> Vec<Component> {
        let own = self.salted(nonce);
        let differs = |&(at, _): &(usize, &Component)| digests.get(at) != own.get(at);
        Component::ALL.iter().enumerate().filter(differs).map(|(_, component)| *component).collect()
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

    fn with(changed: Option<Component>) -> Components {
        Components::new(|c| vec![if Some(c) == changed { b"x".to_vec() } else { b"y".to_vec() }])
    }

    #[test]
    fn each_difference_is_named_and_nothing_else() {
        let nonce = [7; 32];
        for component in Component::ALL {
            let theirs = with(Some(component)).salted(&nonce);
            assert_eq!(with(None).differences(&nonce, &theirs), [component]);
        }
        assert_eq!(with(None).differences(&nonce, &with(None).salted(&nonce)), []);
    }

    #[test]
    fn missing_digests_are_differences() {
        assert_eq!(with(None).differences(&[0; 32], &[]), Component::ALL);
    }

    #[test]
    fn digests_of_two_runs_cannot_be_compared() {
        let (one, two) = (with(None).salted(&[1; 32]), with(None).salted(&[2; 32]));
        assert!(one.iter().all(|digest| !two.contains(digest)));
    }

    #[test]
    fn equal_values_of_two_components_do_not_show() {
        let digests = with(None).salted(&[1; 32]);
        assert_ne!(digests[0], digests[1]);
    }

    #[test]
    fn lists_are_not_confused() {
        let lists: [&[&[u8]]; 4] = [&[], &[b""], &[b"ab", b"c"], &[b"a", b"bc"]];
        let hashes: std::collections::BTreeSet<_> = lists.iter().map(|l| hash_list(l)).collect();
        assert_eq!(hashes.len(), lists.len());
    }
}

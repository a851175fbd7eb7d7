//! Aliases: what a party of a session is called on a local network.
//!
//! Whatever is announced there, everybody on it hears. So an alias is a random salt, which is the
//! name, and a mark for each peer: HMAC-SHA256 keyed by the root's fingerprint over the
//! [tag](Tag::pair) of the two, the salt and the party's name. A peer that knows this party by name in
//! its own session tries the names of its roster and finds out who it is; one that this party does not
//! name finds no mark that is for it. For all others two aliases have nothing in common, not even two of
//! the same party: a tag itself would show that a session takes place again. Marks of no meaning hide
//! how many parties there are.
//!
//! An alias proves nothing: whoever hears one can repeat it with other addresses. Who is there, the
//! handshake shows.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;

use crate::key::Fingerprint;
use crate::name::PartyName;
use crate::roster::MAX_PARTIES;
use crate::sni::{Tag, keyed};

/// Bytes of a mark.
const MARK_BYTES: usize = 8;
/// There is always a multiple of so many marks.
const MARKS_STEP: usize = 8;
/// The most marks of an alias.
const MAX_MARKS: usize = MAX_PARTIES;

type Mark = [u8; MARK_BYTES];

/// What a party is called while it takes part once.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Salt(pub [u8; 8]);

/// By what the peers of a party recognise it, beside the [`Salt`]: sorted, and bytes of no meaning to
/// all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks(Vec<Mark>);

/// A text that is not the salt of an alias.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not the salt of an alias: 16 hexadecimal digits")]
pub struct SaltError;

fn mark(root: &Fingerprint, tag: &Tag, party: &PartyName, salt: Salt) -> Mark {
    let label = b"mpyc-party alias 2".as_slice();
    let parts = [label, tag.bytes(), &salt.0, party.as_str().as_bytes()];
    cut(keyed(root, parts.into_iter()))
}

fn cut(bytes: [u8; 16]) -> Mark {
    std::array::from_fn(|i| bytes[i])
}

impl Marks {
    /// The marks of `party` in the network of `root` for the peers with which it has these `tags`, one
    /// each; `salt` is fresh randomness.
    #[must_use]
    pub fn new(
        root: &Fingerprint,
        tags: impl Iterator<Item = Tag>,
        party: &PartyName,
        salt: Salt,
    ) -> Self {
        let mut marks: Vec<Mark> =
            tags.take(MAX_MARKS).map(|tag| mark(root, &tag, party, salt)).collect();
        for number in marks.len()..marks.len().next_multiple_of(MARKS_STEP) {
            let parts = [b"mpyc-party no mark 1".as_slice(), &salt.0, &number.to_be_bytes()];
            marks.push(cut(keyed(root, parts.into_iter())));
        }
        marks.sort_unstable();
        Self(marks)
    }

    /// Whether `party`, with which the one who asks has this `tag`, goes by these marks and `salt`.
    #[must_use]
    pub fn are(&self, root: &Fingerprint, tag: &Tag, party: &PartyName, salt: Salt) -> bool {
        self.0.contains(&mark(root, tag, party, salt))
    }

    /// The marks one after the other, as many at a time as fit into `most` bytes.
    pub fn chunks(&self, most: usize) -> impl Iterator<Item = Vec<u8>> {
        self.0.chunks((most / MARK_BYTES).max(1)).map(<[Mark]>::concat)
    }

    /// The marks in `chunks`, which come from anybody.
    #[must_use]
    pub fn read<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Self {
        let marks = chunks.flat_map(|chunk| chunk.as_chunks().0);
        Self(marks.take(MAX_MARKS).copied().collect())
    }
}

impl fmt::Display for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Salt {
    type Err = SaltError;
    fn from_str(text: &str) -> Result<Self, SaltError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| SaltError)?;
        bytes.try_into().map(Self).map_err(|_| SaltError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: Salt = Salt([7; 8]);

    fn root(n: u8) -> Fingerprint {
        Fingerprint([n; 32])
    }

    fn name(text: &str) -> PartyName {
        text.parse().unwrap()
    }

    fn tag(session: &str, other: &str) -> Tag {
        Tag::pair(&root(1), &session.parse().unwrap(), &name("alice"), &name(other))
    }

    /// What alice announces for these peers.
    fn alice(peers: &[&str], salt: Salt) -> Marks {
        Marks::new(&root(1), peers.iter().map(|peer| tag("demo", peer)), &name("alice"), salt)
    }

    #[test]
    fn only_a_peer_that_is_named_can_tell_whose_it_is() {
        let marks = alice(&["bob", "carol"], SALT);
        let (bob, carol, dave) = (tag("demo", "bob"), tag("demo", "carol"), tag("demo", "dave"));
        assert!(marks.are(&root(1), &bob, &name("alice"), SALT));
        assert!(marks.are(&root(1), &carol, &name("alice"), SALT));
        assert!(!marks.are(&root(1), &dave, &name("alice"), SALT), "alice does not name dave");
        assert!(!marks.are(&root(1), &bob, &name("bob"), SALT), "another party");
        assert!(!marks.are(&root(1), &bob, &name("alice"), Salt([8; 8])), "another salt");
        assert!(!marks.are(&root(1), &tag("other", "bob"), &name("alice"), SALT), "session");
        assert!(!marks.are(&root(2), &bob, &name("alice"), SALT), "who saw the tag, not the root");
    }

    #[test]
    fn two_aliases_of_a_party_share_nothing() {
        let [one, two] = [1, 2].map(|n| alice(&["bob"], Salt([n; 8])));
        assert!(one.0.iter().all(|mark| !two.0.contains(mark)));
    }

    #[test]
    fn how_many_peers_there_are_does_not_show() {
        let few = alice(&["bob"], SALT);
        let more = alice(&["bob", "carol", "erin", "frank"], SALT);
        assert_eq!((few.0.len(), more.0.len()), (MARKS_STEP, MARKS_STEP));
        assert!(few.0.is_sorted(), "nor which of them is real");
    }

    #[test]
    fn marks_come_back_and_are_bounded() {
        let peers: Vec<String> = (1..MAX_PARTIES).map(|n| format!("p{n}")).collect();
        let peers: Vec<&str> = peers.iter().map(String::as_str).collect();
        let marks = alice(&peers, SALT);
        let chunks: Vec<Vec<u8>> = marks.chunks(250).collect();
        assert!(chunks.iter().all(|chunk| chunk.len() <= 250), "a string of TXT (RFC 6763, 6.1)");
        assert_eq!(Marks::read(chunks.iter().map(Vec::as_slice)), marks);
        let flood = vec![[0; 255]; 1000];
        assert_eq!(Marks::read(flood.iter().map(|c| &c[..])).0.len(), MAX_MARKS);
        assert_eq!(Marks::read([&b"short"[..], b""].into_iter()).0.len(), 0);
    }

    #[test]
    fn salts_come_back() {
        let text = SALT.to_string();
        assert_eq!(text.parse(), Ok(SALT));
        let (cut, upper) = (&text[1..], "AB".repeat(8));
        for bad in ["", "-", cut, upper.as_str(), "alice", &format!("{text}0")] {
            assert_eq!(bad.parse::<Salt>(), Err(SaltError), "{bad}");
        }
    }
}

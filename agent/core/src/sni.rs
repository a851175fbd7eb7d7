//! Tags: opaque values that stand for a session, or for a network's hub, in a TLS server name and
//! at the lighthouse.
//!
//! Names never show on the wire. A tag is HMAC-SHA256 keyed by the root's fingerprint over what it
//! stands for, so that who does not know the root can neither read nor guess it. A hub shows no
//! certificate before it has heard its own tag, so that probing it does not tell the root either.
//!
//! A session has a tag for [each pair](Tag::pair) of its parties, by which the two ask for each other:
//! both compute the same one where each names the other, whoever else either of them names. That is
//! for the agreement to compare. At the hubs, which themselves compare who may know of whom, a session
//! has [one tag](Tag::session).

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::key::Fingerprint;
use crate::name::{PartyName, SessionName};
use crate::role::SUFFIX;

/// What stands for a session or a hub in public.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tag([u8; 16]);

/// A server name that holds no tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server name holds no session's tag")]
pub struct TagError;

impl Tag {
    /// The tag under which parties of `session` are at the hubs of the network of `root`.
    #[must_use]
    pub fn session(root: &Fingerprint, session: &SessionName) -> Self {
        Self::derive(root, "mpyc-party session tag 2", std::iter::once(session.as_str()))
    }

    /// The tag by which two parties of `session` in the network of `root` ask for each other; the
    /// order does not count.
    #[must_use]
    pub fn pair(
        root: &Fingerprint,
        session: &SessionName,
        one: &PartyName,
        other: &PartyName,
    ) -> Self {
        let texts = [session.as_str(), one.min(other).as_str(), one.max(other).as_str()];
        Self::derive(root, "mpyc-party pair tag 1", texts.into_iter())
    }

    /// The tag of every hub and of the authority in the network of `root`.
    #[must_use]
    pub fn hub(root: &Fingerprint) -> Self {
        Self::derive(root, "mpyc-party hub tag 1", std::iter::empty())
    }

    /// The tag under which only the agent of `party` is at the hubs of the network of `root`.
    #[must_use]
    pub fn agent(root: &Fingerprint, party: &PartyName) -> Self {
        Self::derive(root, "mpyc-party agent tag 1", std::iter::once(party.as_str()))
    }

    /// The tag under which `party` of the network of `root` is found and reached by those to whom it
    /// exposes ports.
    #[must_use]
    pub fn exposed(root: &Fingerprint, party: &PartyName) -> Self {
        Self::derive(root, "mpyc-party expose tag 1", std::iter::once(party.as_str()))
    }

    fn derive<'a>(
        root: &Fingerprint,
        label: &'a str,
        texts: impl Iterator<Item = &'a str>,
    ) -> Self {
        Self(keyed(root, std::iter::once(label).chain(texts).map(str::as_bytes)))
    }

    /// The bytes that a value derived from this tag covers.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The TLS server name of this tag: 32 hexadecimal digits under `mpyc.internal`.
    #[must_use]
    pub fn server_name(&self) -> String {
        format!("{self}.{SUFFIX}")
    }

    /// The tag in a TLS server name.
    ///
    /// # Errors
    /// When the name is not one that [`Tag::server_name`] writes.
    pub fn from_server_name(name: &str) -> Result<Self, TagError> {
        let label = name.strip_suffix(SUFFIX).and_then(|rest| rest.strip_suffix('.'));
        label.ok_or(TagError)?.parse()
    }
}

/// HMAC-SHA256 keyed by the root's fingerprint over `parts`, each with its length before it; the
/// first half of it.
pub(crate) fn keyed<'a>(root: &Fingerprint, parts: impl Iterator<Item = &'a [u8]>) -> [u8; 16] {
    // HMAC takes keys of any length, so this arm is never taken.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&root.0) else { return [0; 16] };
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    let digest = mac.finalize().into_bytes();
    std::array::from_fn(|i| digest[i])
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Tag {
    type Err = TagError;
    fn from_str(text: &str) -> Result<Self, TagError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| TagError)?;
        bytes.try_into().map(Self).map_err(|_| TagError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(root: u8, session: &str, one: &str, other: &str) -> Tag {
        let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
        Tag::pair(&Fingerprint([root; 32]), &session.parse().unwrap(), &one, &other)
    }

    #[test]
    fn every_part_but_the_order_counts() {
        let base = pair(1, "demo", "a", "b");
        let others = [
            pair(2, "demo", "a", "b"),
            pair(1, "dem", "oa", "b"),
            pair(1, "demo", "ab", "b"),
            pair(1, "demo", "a", "c"),
            Tag::session(&Fingerprint([1; 32]), &"demo".parse().unwrap()),
        ];
        assert!(others.iter().all(|other| *other != base));
        assert_eq!(base, pair(1, "demo", "b", "a"), "each asks for the other by the same");
        assert_ne!(Tag::hub(&Fingerprint([1; 32])), Tag::hub(&Fingerprint([2; 32])));
        let (root, a) = (Fingerprint([1; 32]), "a".parse().unwrap());
        assert_ne!(Tag::exposed(&root, &a), Tag::agent(&root, &a));
        assert_ne!(Tag::exposed(&root, &a), Tag::exposed(&root, &"b".parse().unwrap()));
    }

    #[test]
    fn server_names_come_back() {
        let tag = pair(1, "demo", "a", "b");
        assert_eq!(Tag::from_server_name(&tag.server_name()), Ok(tag));
        for bad in ["", "hub.mpyc.internal", "00.mpyc.internal", &tag.to_string()] {
            assert_eq!(Tag::from_server_name(bad), Err(TagError), "{bad}");
        }
    }
}

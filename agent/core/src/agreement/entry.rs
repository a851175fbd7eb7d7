//! What one party would run, as it says so, and the bytes in which that travels.
//!
//! Every party reads an entry for itself, but passes it on, compares and hashes the bytes as they
//! came: nothing that it does not know is lost on the way. There are two places for what later
//! versions say more. What all parties must have the same gets a [label](crate::label) of its own,
//! which is a difference where another party does not have it. What may differ from party to party
//! stands behind the fields known here: it takes no part in the comparison of two parties, yet all
//! must have been told the same of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::claims::PublicKey;
use crate::component::{Digests, Nonce};
use crate::name::PartyName;
use crate::verdict::Remark;

/// What one party would run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Whose entry this is.
    pub party: PartyName,
    /// That party's public key.
    pub key: PublicKey,
    /// Made afresh for this run; salts the digests.
    pub nonce: Nonce,
    /// The components' digests.
    pub digests: Digests,
    /// Versions for people to read, as in «mpyc-party 0.2.0, CPython 3.12.4»; may differ.
    pub versions: Remark,
}

/// An entry in the bytes in which it travels: the fields of [`Entry`] in postcard's format, and
/// behind them whatever later versions say more. Not read yet, and of any length.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EncodedEntry(Vec<u8>);

/// Why an entry cannot be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Longer than [`EncodedEntry::MAX_BYTES`].
    #[error("it has {0} bytes, where at most {max} are allowed", max = EncodedEntry::MAX_BYTES)]
    TooLong(usize),
    /// A field is missing or not what it should be.
    #[error("it is malformed")]
    Malformed,
}

impl EncodedEntry {
    /// Longest entry in bytes: one with everything in it that [`Entry`] allows fits.
    pub const MAX_BYTES: usize = 3 * 1024;

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads the fields that this version knows.
    ///
    /// # Errors
    /// Where it is too long, or its beginning is no entry. What follows may be anything.
    pub fn decode(&self) -> Result<Entry, EntryError> {
        if self.0.len() > Self::MAX_BYTES {
            return Err(EntryError::TooLong(self.0.len()));
        }
        let read = postcard::take_from_bytes(&self.0);
        read.map(|(entry, _later)| entry).map_err(|_| EntryError::Malformed)
    }
}

impl Entry {
    /// The entry as it is sent.
    ///
    /// # Errors
    /// Where it is too long.
    pub fn encode(&self) -> Result<EncodedEntry, EntryError> {
        let bytes = postcard::to_allocvec(self).map_err(|_| EntryError::Malformed)?;
        if bytes.len() > EncodedEntry::MAX_BYTES {
            return Err(EntryError::TooLong(bytes.len()));
        }
        Ok(EncodedEntry(bytes))
    }
}

impl From<Vec<u8>> for EncodedEntry {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for EncodedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncodedEntry({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::Components;
    use crate::label::Label;

    fn entry() -> Entry {
        let nonce = [1; 32];
        let digests = Components::new([(Label::PROGRAM, vec![b"x".to_vec()])]).salted(&nonce);
        let (party, key) = ("alice".parse().unwrap(), PublicKey([2; 32]));
        Entry { party, key, nonce, digests, versions: "test".into() }
    }

    #[test]
    fn what_follows_is_kept_and_not_read() {
        let mut bytes = entry().encode().unwrap().as_bytes().to_vec();
        bytes.extend_from_slice(b"of a later version");
        let encoded = EncodedEntry::from(bytes.clone());
        assert_eq!(encoded.decode(), Ok(entry()));
        assert_eq!(encoded.as_bytes(), bytes);
        assert_ne!(encoded, entry().encode().unwrap());
    }

    #[test]
    fn the_bound_counts_what_follows() {
        let mut bytes = entry().encode().unwrap().as_bytes().to_vec();
        bytes.resize(EncodedEntry::MAX_BYTES, 0);
        assert!(EncodedEntry::from(bytes.clone()).decode().is_ok());
        bytes.push(0);
        let error = EncodedEntry::from(bytes).decode();
        assert_eq!(error, Err(EntryError::TooLong(EncodedEntry::MAX_BYTES + 1)));
    }

    #[test]
    fn an_entry_cut_short_is_malformed() {
        let bytes = entry().encode().unwrap().as_bytes().to_vec();
        for end in 0..bytes.len() {
            let cut = EncodedEntry::from(bytes[..end].to_vec());
            assert_eq!(cut.decode(), Err(EntryError::Malformed), "{end}");
        }
    }

    #[test]
    fn labels_that_are_none_twice_or_out_of_order_are_malformed() {
        let write = |labels: &[&str]| {
            let digests: Vec<(&str, [u8; 32])> =
                labels.iter().map(|label| (*label, [0; 32])).collect();
            let Entry { party, key, nonce, versions, .. } = entry();
            let fields = (party, key, nonce, digests, versions);
            EncodedEntry::from(postcard::to_allocvec(&fields).unwrap())
        };
        assert!(write(&["files", "program"]).decode().is_ok());
        let long = "x".repeat(Label::MAX_BYTES + 1);
        for bad in [&["program", "files"][..], &["files", "files"], &["Files"], &[&long]] {
            assert_eq!(write(bad).decode(), Err(EntryError::Malformed), "{bad:?}");
        }
        let many: Vec<String> = (0..=Digests::MAX).map(|i| format!("x{i:03}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(write(&many[1..]).decode().is_ok());
        assert_eq!(write(&many).decode(), Err(EntryError::Malformed));
    }

    #[test]
    fn the_fullest_entry_fits() {
        let full = "x".repeat(Label::MAX_BYTES - 2);
        let labels = (10..10 + Digests::MAX).map(|i| format!("{full}{i}").parse().unwrap());
        let digests = Components::new(labels.map(|label| (label, Vec::new()))).salted(&[0; 32]);
        let party = "x".repeat(63).parse().unwrap();
        let versions = "\u{1f600}".repeat(Remark::MAX_CHARS).into();
        let entry = Entry { party, digests, versions, ..entry() };
        assert_eq!(entry.encode().unwrap().decode(), Ok(entry));
    }
}

//! Public keys and fingerprints: 32 bytes with a text form that people compare and configurations
//! hold.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::text::excerpt;

/// Why a text is not a key or a fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("«{text}» is not a {what}: expected «{prefix}» and 43 letters, digits, «-» or «_»")]
pub struct KeyError {
    text: String,
    what: &'static str,
    prefix: &'static str,
}

/// 32 bytes behind a prefix: text where people read (TOML, JSON), plain bytes on the wire.
macro_rules! bytes32 {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, BASE64URL_NOPAD.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = KeyError;
            fn from_str(text: &str) -> Result<Self, KeyError> {
                text.strip_prefix($prefix)
                    .and_then(|body| BASE64URL_NOPAD.decode(body.as_bytes()).ok())
                    .and_then(|bytes| bytes.try_into().ok())
                    .map(Self)
                    .ok_or_else(|| KeyError {
                        text: excerpt(text, 64),
                        what: $what,
                        prefix: $prefix,
                    })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
                } else {
                    <[u8; 32]>::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

bytes32!(
    /// The Ed25519 public key of a party, a hub or the authority.
    PublicKey, "ed25519:", "public key"
);
bytes32!(
    /// SHA-256 of a root certificate's DER: what a token carries to recognise its network by.
    Fingerprint, "sha256:", "fingerprint"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_come_back() {
        let key = PublicKey([7; 32]);
        assert_eq!(key.to_string().parse(), Ok(key));
        let wire = postcard::to_allocvec(&key).unwrap();
        assert_eq!(wire.len(), 32);
        assert_eq!(postcard::from_bytes::<PublicKey>(&wire).unwrap(), key);
    }

    #[test]
    fn other_texts_are_refused() {
        let good = PublicKey([7; 32]).to_string();
        for bad in ["", "ed25519:", "ed25519:AAAA", &good[8..], &good[..50], &format!("{good}A")] {
            assert!(bad.parse::<PublicKey>().is_err(), "{bad}");
        }
        assert!(good.parse::<Fingerprint>().is_err());
    }
}

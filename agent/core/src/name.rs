//! Names of networks, parties and sessions: lower-case DNS labels (RFC 1123, section 2.1).
//!
//! One alphabet for all three keeps names safe wherever they travel: certificates, SPIFFE ids,
//! file names, systemd instances, journal fields.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::excerpt;

/// Longest DNS label (RFC 1035, section 2.3.4).
const MAX_LABEL_BYTES: usize = 63;

/// Names that no party has: in a sentence, such as a verdict or a consent, each would mean somebody else.
pub const RESERVED_PARTY_NAMES: [&str; 16] = [
    "all",
    "and",
    "any",
    "anybody",
    "everybody",
    "everyone",
    "me",
    "no-one",
    "nobody",
    "none",
    "or",
    "others",
    "somebody",
    "someone",
    "this",
    "you",
];

/// Why a string is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is no label.
    #[error(
        "«{0}» is not a name: use 1 to 63 lower-case letters, digits and inner hyphens, as in «alice» or «pi-2»"
    )]
    Label(String),
    /// It means somebody else in a sentence.
    #[error(
        "no party can be called «{0}»: in a sentence that would mean somebody else. Choose another name, as in «alice» or «pi-2»"
    )]
    Reserved(String),
}

fn check(text: &str) -> Result<(), NameError> {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let edges = !text.starts_with('-') && !text.ends_with('-');
    if (1..=MAX_LABEL_BYTES).contains(&text.len()) && edges && text.bytes().all(inner) {
        return Ok(());
    }
    Err(NameError::Label(excerpt(text, MAX_LABEL_BYTES + 1)))
}

fn check_party(text: &str) -> Result<(), NameError> {
    check(text)?;
    if RESERVED_PARTY_NAMES.contains(&text) {
        return Err(NameError::Reserved(text.to_owned()));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                $check(&text).map(|()| Self(text))
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}

name!(
    /// The name of a network: one trust domain, one authority.
    NetworkName, check
);
name!(
    /// The name of a party, unique in its network.
    PartyName, check_party
);
name!(
    /// The name of a session, the same at all its parties.
    SessionName, check
);
name!(
    /// The name of a group, as certificates list them.
    GroupName, check
);
name!(
    /// The name of a port that a party exposes: for its configuration and log.
    PortName, check
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "alice", "pi-2", "0", &"x".repeat(63)] {
            assert!(good.parse::<PartyName>().is_ok(), "{good}");
        }
        for bad in
            ["", "-a", "a-", "Alice", "a.b", "a/b", "a b", "é", "\u{1b}[31m", &"x".repeat(64)]
        {
            assert!(bad.parse::<PartyName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn no_party_is_called_like_a_word_of_a_sentence() {
        for word in RESERVED_PARTY_NAMES {
            assert_eq!(word.parse::<PartyName>(), Err(NameError::Reserved(word.to_owned())));
            // Sentences do not have these in the place of a party.
            assert!(word.parse::<SessionName>().is_ok() && word.parse::<GroupName>().is_ok());
            assert!(format!("{word}-1").parse::<PartyName>().is_ok());
        }
    }

    #[test]
    fn a_refusal_carries_no_control_characters() {
        let error = "\u{1b}[31mred".parse::<SessionName>().unwrap_err().to_string();
        assert!(!error.contains('\u{1b}'), "{error:?}");
    }
}

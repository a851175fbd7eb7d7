//! Aliases: what a party of a session is called on a local network.
//!
//! Whatever is announced there, everybody on it hears. So an alias is a random salt and a mark,
//! HMAC-SHA256 keyed by the root's fingerprint over the session's [`Tag`], the salt and the party's
//! name. The parties of the session try the names of their roster and find out who it is. For all
//! others two aliases have nothing in common, not even two of the same party: the tag itself would
//! show that a session takes place again.
//!
//! An alias proves nothing: whoever hears one can repeat it with other addresses. Who is there, the
//! handshake shows.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;

use crate::key::Fingerprint;
use crate::name::PartyName;
use crate::sni::{Tag, keyed};

/// What a party is called while it takes part once.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Alias {
    salt: [u8; 8],
    mark: [u8; 16],
}

/// A text that is no alias.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not an alias: 16 and 32 hexadecimal digits with a hyphen between them")]
pub struct AliasError;

impl Alias {
    /// The alias of `party` in the session of `tag` and the network of `root`; `salt` is fresh
    /// randomness.
    #[must_use]
    pub fn new(root: &Fingerprint, tag: &Tag, party: &PartyName, salt: [u8; 8]) -> Self {
        let label = b"mpyc-party alias 1".as_slice();
        let parts = [label, tag.bytes(), &salt, party.as_str().as_bytes()];
        Self { salt, mark: keyed(root, parts.into_iter()) }
    }

    /// Whether this is an alias of `party`.
    #[must_use]
    pub fn is(&self, root: &Fingerprint, tag: &Tag, party: &PartyName) -> bool {
        *self == Self::new(root, tag, party, self.salt)
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", HEXLOWER.encode(&self.salt), HEXLOWER.encode(&self.mark))
    }
}

impl fmt::Debug for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Alias {
    type Err = AliasError;
    fn from_str(text: &str) -> Result<Self, AliasError> {
        let (salt, mark) = text.split_once('-').ok_or(AliasError)?;
        let bytes = |digits: &str| HEXLOWER.decode(digits.as_bytes()).map_err(|_| AliasError);
        let salt = bytes(salt)?.try_into().map_err(|_| AliasError)?;
        Ok(Self { salt, mark: bytes(mark)?.try_into().map_err(|_| AliasError)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(n: u8) -> Fingerprint {
        Fingerprint([n; 32])
    }

    fn tag(session: &str) -> Tag {
        let roster = ["alice", "bob"].map(|name| name.parse().unwrap());
        Tag::new(&root(1), &session.parse().unwrap(), &roster)
    }

    #[test]
    fn only_the_session_can_tell_whose_it_is() {
        let (alice, bob): (PartyName, PartyName) =
            ("alice".parse().unwrap(), "bob".parse().unwrap());
        let alias = Alias::new(&root(1), &tag("demo"), &alice, [7; 8]);
        assert!(alias.is(&root(1), &tag("demo"), &alice));
        assert!(!alias.is(&root(1), &tag("demo"), &bob), "another party");
        assert!(!alias.is(&root(1), &tag("other"), &alice), "another session");
        assert!(!alias.is(&root(2), &tag("demo"), &alice), "who saw the tag, and not the root");
    }

    #[test]
    fn two_aliases_of_a_party_share_nothing() {
        let alice: PartyName = "alice".parse().unwrap();
        let texts = [1, 2].map(|n| Alias::new(&root(1), &tag("demo"), &alice, [n; 8]).to_string());
        let marks = texts.each_ref().map(|text| text.split_once('-').unwrap().1);
        assert_ne!(marks[0], marks[1]);
        assert!(texts.iter().all(|text| !text.contains(&tag("demo").to_string())));
    }

    #[test]
    fn texts_come_back_and_fit_a_label() {
        let alias = Alias::new(&root(1), &tag("demo"), &"alice".parse().unwrap(), [0xab; 8]);
        let text = alias.to_string();
        assert_eq!(text.parse(), Ok(alias));
        assert!(text.len() <= 63, "a DNS label (RFC 1035, section 2.3.4)");
        let (cut, upper) = (&text[1..], text.to_uppercase());
        for bad in ["", "-", cut, upper.as_str(), "alice", &format!("{text}0")] {
            assert_eq!(bad.parse::<Alias>(), Err(AliasError), "{bad}");
        }
    }
}

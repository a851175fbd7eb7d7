//! Enrolment tokens: one string that takes a new party into its network.
//!
//! A token holds where the hub is, how to recognise the network's root, and a secret. The
//! authority keeps only [`TokenHash`]. The proof works as in SCRAM (RFC 5802, section 3): the hash
//! keys an HMAC over the TLS exporter and the new public key, and the secret is sent masked by it.
//! So a proof is worth nothing on another connection or for another key, and whoever steals the
//! authority's records cannot enrol with them.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::addr::is_host_port;
use crate::key::{Fingerprint, PublicKey};
use crate::name::NetworkName;
use crate::text::is_hidden;

/// What every token begins with.
const TEXT_PREFIX: &str = "mpyc1";
/// Bytes of checksum at a token's end.
const CHECKSUM_BYTES: usize = 4;
/// Bytes of length at a token's beginning: three, which are four whole characters.
const LENGTH_BYTES: usize = 3;
/// The longest token, in bytes before encoding.
const MAX_BODY_BYTES: usize = 2048;
/// The most hubs in a token.
pub const MAX_HUBS: usize = 8;
/// The longest «host:port» of a hub, in bytes: a domain name (RFC 1035, 2.3.4) and a port.
const MAX_HUB_BYTES: usize = 260;

/// What only the holder of a token knows.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop, PartialEq, Eq)]
pub struct Secret(pub [u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// What the authority keeps of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenHash(pub [u8; 32]);

impl Secret {
    /// What the authority keeps of this secret.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        let digest = Sha256::new().chain_update(b"mpyc-party token 1").chain_update(self.0);
        TokenHash(digest.finalize().into())
    }

    /// The proof of knowing this secret, on the connection of `exporter` and for `key` only.
    #[must_use]
    pub fn proof(&self, exporter: &[u8; 32], key: &PublicKey) -> [u8; 32] {
        self.hash().mask(&self.0, exporter, key)
    }
}

impl TokenHash {
    /// By what name the authority finds this token again; tells nothing about the secret.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        let digest = Sha256::new().chain_update(b"mpyc-party token id 1").chain_update(self.0);
        let digest = digest.finalize();
        std::array::from_fn(|i| digest[i])
    }

    /// Whether `proof` was made with the secret behind this hash, for this connection and key.
    #[must_use]
    pub fn accepts(&self, proof: &[u8; 32], exporter: &[u8; 32], key: &PublicKey) -> bool {
        // Plain comparison of hashes: the time it takes tells nothing about the preimage.
        Secret(self.mask(proof, exporter, key)).hash() == *self
    }

    /// `bytes` XOR HMAC(hash, exporter and key), its own inverse.
    fn mask(&self, bytes: &[u8; 32], exporter: &[u8; 32], key: &PublicKey) -> [u8; 32] {
        // HMAC takes keys of any length; were this arm ever taken, no proof would pass.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return [0; 32] };
        mac.update(b"mpyc-party enrolment 1");
        mac.update(exporter);
        mac.update(&key.0);
        let mask = mac.finalize().into_bytes();
        std::array::from_fn(|i| bytes[i] ^ mask[i])
    }
}

/// An enrolment token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The network it leads into.
    pub network: NetworkName,
    /// Where the authority answers: «host:port».
    pub hubs: Vec<String>,
    /// The network's root.
    pub root: Fingerprint,
    /// What proves the right to enrol.
    pub secret: Secret,
}

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Something else.
    #[error("this is no enrolment token: one begins with «{TEXT_PREFIX}»")]
    Foreign,
    /// The end is missing.
    #[error("the end of the token is missing: copy all of it")]
    Truncated,
    /// There is more after its end.
    #[error("something follows the token's end: copy the token alone")]
    Trailing,
    /// A character is wrong.
    #[error("the token has a typing mistake: copy it again")]
    Typo,
    /// No hubs, too many, or one that is no place.
    #[error("a token holds 1 to {MAX_HUBS} hubs of the form «host:port»")]
    Hubs,
}

impl Token {
    /// The token as one string, wiped from memory when dropped.
    ///
    /// # Errors
    /// When there are no hubs, too many, or one is not «host:port».
    pub fn to_text(&self) -> Result<Zeroizing<String>, TokenError> {
        let fine = (1..=MAX_HUBS).contains(&self.hubs.len())
            && self.hubs.iter().all(|hub| hub.len() <= MAX_HUB_BYTES && is_host_port(hub));
        if !fine {
            return Err(TokenError::Hubs);
        }
        // One buffer of fixed size: a growing one would leave copies of the secret behind.
        let mut bytes = Zeroizing::new([0; LENGTH_BYTES + MAX_BODY_BYTES + CHECKSUM_BYTES]);
        let body =
            postcard::to_slice(self, &mut bytes[LENGTH_BYTES..LENGTH_BYTES + MAX_BODY_BYTES]);
        let length = body.map_err(|_| TokenError::Hubs)?.len();
        bytes[..LENGTH_BYTES]
            .copy_from_slice(&length.to_be_bytes()[size_of::<usize>() - LENGTH_BYTES..]);
        let (end, whole) = (LENGTH_BYTES + length, LENGTH_BYTES + length + CHECKSUM_BYTES);
        let sum = checksum(&bytes[..end]);
        bytes[end..whole].copy_from_slice(&sum);
        let length = TEXT_PREFIX.len() + BASE64URL_NOPAD.encode_len(whole);
        let mut text = Zeroizing::new(String::with_capacity(length));
        text.push_str(TEXT_PREFIX);
        BASE64URL_NOPAD.encode_append(&bytes[..whole], &mut text);
        Ok(text)
    }

    /// Reads a token. What mail, editors and shells put around or into it does not matter: white space and
    /// line ends, quotes, a byte order mark.
    ///
    /// # Errors
    /// Tells a truncated token from a mistyped one and from something else.
    pub fn from_text(text: &str) -> Result<Self, TokenError> {
        let bare = bare(text);
        let body = bare.strip_prefix(TEXT_PREFIX).ok_or(TokenError::Foreign)?;
        let header = body.get(..4).ok_or(TokenError::Truncated)?;
        let header = BASE64URL_NOPAD.decode(header.as_bytes()).map_err(|_| TokenError::Typo)?;
        let length = header.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        if length > MAX_BODY_BYTES {
            return Err(TokenError::Typo);
        }
        let whole = LENGTH_BYTES + length + CHECKSUM_BYTES;
        match body.len().cmp(&BASE64URL_NOPAD.encode_len(whole)) {
            std::cmp::Ordering::Less => return Err(TokenError::Truncated),
            std::cmp::Ordering::Greater => return Err(TokenError::Trailing),
            std::cmp::Ordering::Equal => {}
        }
        let bytes = BASE64URL_NOPAD.decode(body.as_bytes());
        let bytes = Zeroizing::new(bytes.map_err(|_| TokenError::Typo)?);
        let (bytes, sum) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
        if checksum(bytes) != sum {
            return Err(TokenError::Typo);
        }
        match postcard::take_from_bytes(&bytes[LENGTH_BYTES..]) {
            Ok((token, [])) => Ok(token),
            _ => Err(TokenError::Foreign),
        }
    }
}

/// The text without what is no part of any token.
fn bare(text: &str) -> Zeroizing<String> {
    // Of full size at once: a growing one would leave copies of the secret behind.
    let mut bare = Zeroizing::new(String::with_capacity(text.len()));
    bare.extend(text.chars().filter(|c| !(c.is_whitespace() || is_hidden(*c) || is_quote(*c))));
    bare
}

/// Quotes of shells and of typographers, and the mark of quoted lines in mail.
fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '`' | '<' | '>' | '«' | '»' | '‹' | '›' | '\u{2018}'..='\u{201f}')
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest = Sha256::digest(bytes);
    std::array::from_fn(|i| digest[i])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token() -> Token {
        Token {
            network: "example".parse().unwrap(),
            hubs: vec!["hub.example.org:4747".to_owned()],
            root: Fingerprint([3; 32]),
            secret: Secret([5; 32]),
        }
    }

    #[test]
    fn a_token_comes_back() {
        let text = token().to_text().unwrap();
        assert_eq!(Token::from_text(&format!(" {}\n", *text)), Ok(token()));
    }

    #[test]
    fn what_mail_and_editors_add_is_no_mistake() {
        let text = token().to_text().unwrap();
        let wrapped: Vec<&str> =
            text.as_bytes().chunks(40).map(|c| std::str::from_utf8(c).unwrap()).collect();
        for (between, before, after) in [
            ("", "\u{feff}", "\r\n"),
            ("\n", "", "\n"),
            ("\r\n> ", "> ", "\r\n"),
            ("", "\"", "\""),
            ("", "'", "'\n"),
            ("\n    ", "«", "»"),
            ("\u{200b}", "“", "”"),
        ] {
            let received = format!("{before}{}{after}", wrapped.join(between));
            assert_eq!(Token::from_text(&received), Ok(token()), "{received:?}");
        }
    }

    #[test]
    fn mistakes_are_told_apart() {
        let text = token().to_text().unwrap();
        assert_eq!(Token::from_text("hello"), Err(TokenError::Foreign));
        assert_eq!(Token::from_text(&format!("{}x", *text)), Err(TokenError::Trailing));
        for end in TEXT_PREFIX.len()..text.len() {
            assert_eq!(Token::from_text(&text[..end]), Err(TokenError::Truncated), "{end}");
        }
        for at in TEXT_PREFIX.len() + 4..text.len() {
            let mut wrong: Vec<u8> = text.bytes().collect();
            wrong[at] = if wrong[at] == b'A' { b'B' } else { b'A' };
            let wrong = String::from_utf8(wrong).unwrap();
            assert_eq!(Token::from_text(&wrong), Err(TokenError::Typo), "{at}");
        }
    }

    #[test]
    fn debug_output_holds_no_secret() {
        assert!(format!("{:?}", token()).contains("[secret]"));
        assert!(!format!("{:?}", token()).contains("5, 5"));
    }

    #[test]
    fn hubs_are_bounded() {
        for hubs in [
            vec![],
            vec!["h:1".to_owned(); MAX_HUBS + 1],
            vec!["host".to_owned()],
            vec![":1".to_owned()],
        ] {
            assert_eq!(Token { hubs, ..token() }.to_text(), Err(TokenError::Hubs));
        }
    }

    #[test]
    fn a_proof_holds_for_one_connection_one_key_one_secret() {
        let (secret, key) = (Secret([5; 32]), PublicKey([1; 32]));
        let proof = secret.proof(&[9; 32], &key);
        assert!(secret.hash().accepts(&proof, &[9; 32], &key));
        assert!(!secret.hash().accepts(&proof, &[8; 32], &key));
        assert!(!secret.hash().accepts(&proof, &[9; 32], &PublicKey([2; 32])));
        assert!(!Secret([6; 32]).hash().accepts(&proof, &[9; 32], &key));
        // The hash alone makes no proof.
        let stolen = Secret(secret.hash().0).proof(&[9; 32], &key);
        assert!(!secret.hash().accepts(&stolen, &[9; 32], &key));
    }

    proptest! {
        #[test]
        fn random_text_never_panics(text: String, tail in "[A-Za-z0-9_-]{0,300}") {
            prop_assert!(Token::from_text(&text).is_err());
            let prefixed = [TEXT_PREFIX, &tail].concat();
            prop_assert!(Token::from_text(&prefixed).is_err());
        }
    }
}

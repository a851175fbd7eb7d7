//! What a newcomer or a member asks of the authority, and what it answers: one request and one reply
//! on each connection.

use serde::{Deserialize, Serialize};

use crate::name::PartyName;

/// The most bytes of one request.
pub const MAX_REQUEST_BYTES: usize = 16 * 1024;
/// The most bytes of one reply: a directory of [`MAX_DIRECTORY_NAMES`] certificates fits.
pub const MAX_REPLY_BYTES: usize = 256 * 1024;
/// The most parties that one request may ask about.
pub const MAX_DIRECTORY_NAMES: usize = 64;

/// The authority's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply<T> {
    /// As asked.
    Granted(T),
    /// No, and why.
    Refused(String),
}

/// What a newcomer sends; the reply is its certificate in DER.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// Which token it has.
    pub token: [u8; 16],
    /// That it knows the token's secret, bound to the connection and to its new key.
    pub proof: [u8; 32],
    /// A certificate request in DER (RFC 2986), which shows that it holds the key.
    pub csr: Vec<u8>,
}

/// What a member asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// A fresh certificate for the key that it has.
    pub renew: bool,
    /// The certificates of these parties.
    pub directory: Vec<PartyName>,
}

/// What a member gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewed {
    /// Its fresh certificate in DER, where it asked for one.
    pub certificate: Option<Vec<u8>>,
    /// The certificates of the parties that are enrolled among those asked about, in DER.
    pub directory: Vec<Vec<u8>>,
}

//! The relay: two parties that cannot reach each other meet at a hub, which carries their bytes.
//!
//! Either end opens a connection of its own to the hub, a *pipe*. One calls, and is told nothing
//! that the [`lighthouse`](crate::lighthouse) would not tell it; the other is told of the call over
//! its presence, and joins. From then on what one pipe brings goes out of the other. The parties do
//! their handshake with each other inside: the hub forwards ciphertext.
//!
//! [`Calls`] knows who waits for whom and bounds it; [`FairQueue`] says whose bytes are next.

mod calls;
mod fair_queue;

use std::fmt;
use std::time::Duration;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::name::PartyName;
use crate::sni::Tag;

pub use calls::{Calls, PipeId};
pub use fair_queue::FairQueue;

/// The most bytes of one request or reply.
pub const MAX_MESSAGE_BYTES: usize = 1024;
/// How long a call waits for the called party.
pub const JOIN_TIMEOUT: Duration = Duration::from_secs(5);

/// One call: drawn at random by the hub, told to the called party alone, good for joining once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallId(pub [u8; 16]);

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// The first message on a pipe, from the party.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// «Connect me with this party.»
    Call {
        /// The session in which both are.
        tag: Tag,
        /// The party.
        party: PartyName,
    },
    /// «I am the one who is called.»
    Join {
        /// As the hub has told.
        call: CallId,
    },
}

/// The only message of the hub on a pipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The other end is there; everything behind this is its.
    Connected,
    /// There will be no connection.
    Refused(Refusal),
}

/// Why the relay does not connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Nobody who may be called: which of the two is not told.
    #[error("the party is not at this hub, or does not allow this one to call")]
    Absent,
    /// The called party did not join.
    #[error("the party did not answer the call in time")]
    Unanswered,
    /// Never made, joined before, given up, or for somebody else: which of these is not told.
    #[error("there is no such call, or not any more")]
    NoSuchCall,
    /// No room for one more pipe of this party.
    #[error("the relay has as many connections of this party as it allows")]
    PartyFull,
    /// No room for anybody.
    #[error("the relay is full")]
    Full,
}

/// What a relay holds at most. At a limit newcomers are refused and those that are there stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pipes in all; a pair has two.
    pub pipes: usize,
    /// Pipes of one party: the pairs it may be part of.
    pub per_party: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pipes: 4096, per_party: 256 }
    }
}

#[cfg(test)]
mod tests;

//! The lighthouse: who is where, told only to those who may know.
//!
//! A connection is one instance of a party. It announces under which tags (see
//! [`Tag`]) it takes part, where it can be reached and which parties may know, and it says whom it
//! wants to hear of. [`Lighthouse`] compares, after every event, what each watcher may see with
//! what it was told last and sends the difference. A party that is absent and one that does not
//! allow the asker are the same: nothing is sent for either.
//!
//! That is the introduction as well: when both have announced and watch each other, both hear of
//! each other in the same moment, dial, and so punch from both sides at once.

mod index;
mod state;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::addr::{Address, Reflexive};
use crate::name::{GroupName, PartyName};
use crate::relay::CallId;
use crate::sni::Tag;

pub use state::Lighthouse;

/// How often a party speaks to a lighthouse when there is nothing to say (keepalive).
pub const KEEPALIVE: Duration = Duration::from_secs(10);
/// The most bytes of one message, in either direction.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024;

/// One instance of a party, drawn at random by itself: a runner, an agent. When it connects anew,
/// its older connection is over, whatever the hub has heard of that so far.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Instance(pub [u8; 16]);

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

/// What an instance of a party says. The version is the ALPN's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// «I take part under this tag, am reached there, and these may know.» Replaces what the
    /// instance announced under the tag before.
    Announce {
        /// The session.
        tag: Tag,
        /// Who speaks; the same in every announcement of a connection.
        instance: Instance,
        /// Where this instance accepts connections; may be empty for one that only dials.
        addresses: Vec<Address>,
        /// Addresses that the lighthouse completes by what it sees of this connection.
        reflexive: Vec<Reflexive>,
        /// Who may know, and call.
        allow: Vec<PartyName>,
    },
    /// «Tell me about these parties under this tag, from now on.» Replaces earlier requests.
    Watch {
        /// The session.
        tag: Tag,
        /// The parties.
        parties: Vec<PartyName>,
    },
    /// «Are you there?» The answer comes after everything that was asked before.
    Ping,
    /// «Under this tag, whoever is in one of these groups may know and call as well.» Replaces
    /// earlier ones, and outlives announcements under the tag.
    Admit {
        /// What was announced before.
        tag: Tag,
        /// The groups, as the certificates of those who ask list them.
        groups: Vec<GroupName>,
    },
}

/// Who is at the other end of a connection, as its certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The party.
    pub party: PartyName,
    /// Its groups.
    pub groups: Vec<String>,
}

impl From<PartyName> for Member {
    /// One that is in no group.
    fn from(party: PartyName) -> Self {
        Self { party, groups: Vec::new() }
    }
}

/// What the lighthouse says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// First of all, and again when it changes: how the lighthouse sees this connection.
    Welcome {
        /// The connection's other end.
        observed: SocketAddr,
        /// What the lighthouse's clock shows, in Unix seconds.
        time: u64,
    },
    /// A party one watches can be reached there; replaces what was said before.
    Present {
        /// The party.
        party: PartyName,
        /// The session.
        tag: Tag,
        /// Where to try.
        addresses: Vec<Address>,
    },
    /// A party said to be present is not any more.
    Gone {
        /// The party.
        party: PartyName,
        /// The session.
        tag: Tag,
    },
    /// A party calls over the relay and waits for a few seconds.
    Call {
        /// The party.
        from: PartyName,
        /// The session.
        tag: Tag,
        /// What to join.
        call: CallId,
    },
    /// «I am here.»
    Pong,
    /// The last of all: why the lighthouse ends the connection.
    Goodbye(Reason),
}

/// Why the lighthouse turns a connection away or ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Reason {
    /// No room for anybody.
    #[error("the hub is full")]
    Full,
    /// No room for one more of this party.
    #[error("the hub has as many connections of this party as it allows")]
    PartyFull,
    /// No room for one more from this address.
    #[error("the hub has as many connections from this address as it allows")]
    AddressFull,
    /// The same instance has come back on another connection.
    #[error("the same instance has a newer connection to the hub")]
    Replaced,
    /// More than [`Limits`] allow.
    #[error("more announcements or watches than the hub allows")]
    TooMuch,
    /// It announced two instances, or watches or admits before it has announced any.
    #[error("a connection to the hub is one instance of a party, and announces it first")]
    Instance,
    /// The authority beside the lighthouse has revoked the party, or does not know its key.
    #[error(
        "the authority does not count this party among the members, at least not any more: ask its holder for a new token"
    )]
    NotMember,
    /// The authority beside the lighthouse cannot tell.
    #[error("the hub cannot read its authority's records")]
    Records,
}

/// What a connection to the lighthouse runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TLS: the address seen is that of a connection, and of no use to others.
    Tcp,
    /// QUIC on the socket that speaks to peers as well: the address seen is a candidate.
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// What a lighthouse holds at most, so that nobody fills it. At a limit newcomers are turned away
/// and those that are there stay.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections of one party.
    pub per_party: usize,
    /// Connections from one address (IPv6: from one /64, which is what one customer has).
    pub per_address: usize,
    /// Tags of one connection.
    pub tags: usize,
    /// Parties allowed or watched, and groups admitted, under one tag.
    pub parties: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 25_000, per_party: 16, per_address: 512, tags: 16, parties: 64 }
    }
}

/// One connection; numbers rise and are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

/// What the sockets around a lighthouse have to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this.
    Send(ConnectionId, Answer),
    /// End this connection, for this reason; then report it with [`Lighthouse::disconnect`].
    Close(ConnectionId, Reason),
}

#[cfg(test)]
mod tests;

//! Why a bundle cannot be made or accepted.

use std::fmt;

use mpyc_party_core::claims::{ClaimsError, Fingerprint, PublicKey};
use mpyc_party_core::name::{NetworkName, PartyName};
use mpyc_party_core::role::Role;
use mpyc_party_core::roster::Roster;
use mpyc_party_transport::PeerError;
use time::OffsetDateTime;

use super::super::proposal::ProposalError;
use super::super::words;
use super::{FORMAT_VERSION, MAX_BYTES, minute};

/// So many characters of what a parser says are shown: others chose the names in it.
const MAX_SHOWN_CHARS: usize = 500;

/// Why a bundle cannot be made or accepted.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// More than [`MAX_BYTES`].
    #[error(
        "the bundle is larger than {} MiB: hand large files over another way, and declare the session in each configuration",
        MAX_BYTES >> 20
    )]
    TooLarge,
    /// No signature at its end.
    #[error(
        "this is no whole bundle: it does not end with a certificate and a signature. It may have been cut off or changed on its way: ask for it again"
    )]
    Torn,
    /// The signature belongs to other bytes.
    #[error(
        "the signature does not fit: the bundle was changed after it was signed, or damaged on its way. Ask for it again"
    )]
    Signature,
    /// Another format.
    #[error(
        "this is a bundle of version {0}, and this mpyc-party knows version {FORMAT_VERSION}: use the same version everywhere"
    )]
    Version(u32),
    /// The content is not what a bundle holds.
    #[error("the bundle cannot be read: {0}")]
    Content(#[from] ContentError),
    /// From another network.
    #[error(
        "this bundle is of the network {network} ({root}), and this party is in {own_network} ({own_root})"
    )]
    OtherNetwork {
        /// The bundle's network.
        network: NetworkName,
        /// The bundle's root.
        root: Fingerprint,
        /// This party's network.
        own_network: NetworkName,
        /// This party's root.
        own_root: Fingerprint,
    },
    /// It calls this network by another name.
    #[error(
        "the bundle says that it is of the network «{network}», but its root is that of the network «{own_network}»: whoever made it gave the network a false name. Do not import it, and ask who sent it"
    )]
    NetworkName {
        /// What the bundle says.
        network: NetworkName,
        /// What the root says.
        own_network: NetworkName,
    },
    /// The signer is not a party of this network.
    #[error("the bundle was not signed by a party of this network: {0}")]
    Signer(PeerError),
    /// Signed by another party than it says, or by none of the roster.
    #[error("the bundle is signed by {signer}, {fault}")]
    OtherSigner {
        /// Who signed.
        signer: Role,
        /// What is wrong with that.
        fault: SignerFault,
    },
    /// Signed at a time that cannot be.
    #[error(
        "the bundle says that it was signed at {}, which is still to come: check the clocks",
        minute(*.0)
    )]
    Future(OffsetDateTime),
    /// Signed too long ago.
    #[error("the bundle was signed too long ago: {0}. Ask for a new one")]
    Old(ClaimsError),
    /// What it proposes cannot be.
    #[error("what the bundle proposes is not acceptable: {0}")]
    Proposal(#[from] ProposalError),
    /// This party is not asked.
    #[error("the session is for {}, and this party is {party}", words::names(roster.as_slice()))]
    NotForThisParty {
        /// The parties.
        roster: Roster,
        /// This party.
        party: PartyName,
    },
    /// One key for two parties.
    #[error(
        "{first} and {second} would have the same key, and whoever has it could speak as both: ask each of them for their own key, by another channel"
    )]
    SameKey {
        /// One of them.
        first: PartyName,
        /// The other.
        second: PartyName,
    },
    /// Another key of this party, or of one that is pinned here.
    #[error(
        "the bundle says that the key of {party} is {found}, but {known} is known here. Ask {party} by another channel which one is right"
    )]
    Key {
        /// Whose key.
        party: PartyName,
        /// The key in the bundle.
        found: PublicKey,
        /// The key known here.
        known: PublicKey,
    },
}

/// Why the content of a bundle is none.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// It is no TOML, or another one; what the parser says, made safe to show.
    #[error("{0}")]
    Read(String),
    /// More than any bundle has.
    #[error("it has more values in it than a session needs: ask for another one")]
    TooManyTokens,
    /// It cannot be written as TOML.
    #[error(transparent)]
    Write(#[from] toml::ser::Error),
    /// The time has no date.
    #[error(transparent)]
    Time(#[from] time::error::ComponentRange),
    /// What was written is not what is read.
    #[error("the files do not come back as they were")]
    Files,
}

impl From<toml::de::Error> for ContentError {
    /// Keeps the message alone: the error holds all of the text, and shows the line that is wrong.
    fn from(error: toml::de::Error) -> Self {
        let shown = words::visible(error.message());
        Self::Read(shown.chars().take(MAX_SHOWN_CHARS).collect())
    }
}

/// What is wrong with the signer of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignerFault {
    /// A hub or an authority.
    NotAParty,
    /// Not the party that the bundle says it is from.
    SomebodyElse,
    /// Not of the roster.
    NotInRoster,
}

impl fmt::Display for SignerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAParty => "who is not a party",
            Self::SomebodyElse => "and says that it is from somebody else",
            Self::NotInRoster => "who is not among the session's parties",
        })
    }
}

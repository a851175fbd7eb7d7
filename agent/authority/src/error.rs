//! Why the authority cannot do something, in words for the one who asked.

use std::io;
use std::path::PathBuf;

use ipnet::IpNet;
use mpyc_party_core::claims::{ClaimsError, RootError};
use mpyc_party_core::role::{Role, RoleError};
use mpyc_party_core::token::TokenError;

use crate::local_signer::KeyError;
use crate::profile::ProfileError;
use crate::signer::SignerError;

/// What helps against `error` with a file of the authority.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => " (run this as the owner of the authority's directory)",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => " (make room there)",
        _ => "",
    }
}

/// Why the authority cannot do something.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file could not be read or written.
    #[error("{path}: {source}{}", advice(source))]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is an authority already.
    #[error("{0} exists: there is an authority here already")]
    Exists(PathBuf),
    /// The records fail.
    #[error(
        "the authority's records cannot be used: {0}. See whether there is room on the disk, and whether this user may write there"
    )]
    Records(#[from] rusqlite::Error),
    /// A certificate cannot be made.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A newer version of mpyc-party has changed the records.
    #[error("the authority's records are those of a newer version of mpyc-party: use that one")]
    NewerRecords,
    /// The root's or an own private key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The signer does not sign.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The signer's signature is none of the root's over what it was asked to sign.
    #[error(
        "the authority's signer made a signature that does not fit: tell whoever runs the network"
    )]
    WrongSignature,
    /// A certificate says something else than was decided.
    #[error(
        "the certificate would not say what the authority has decided: tell whoever runs the network"
    )]
    Mismatch,
    /// The records have lost a serial number while it was being signed.
    #[error("the authority's records do not know this certificate any more: ask again")]
    Unreserved,
    /// The root is damaged or expired.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A certificate that was just made cannot be read again.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    /// Others than the owner may read the root's private key.
    #[error(
        "others can read {0}: chmod 600 it, and make a new authority if they may have, for they could make anybody a party"
    )]
    Exposed(PathBuf),
    /// A signer that is not the root's.
    #[error("the signer's key is not the one of the network's root")]
    OtherSigner,
    /// The private key in the directory is not the root's.
    #[error("{0} is not the private key of the root beside it")]
    OtherKey(PathBuf),
    /// A name that no party may have.
    #[error(transparent)]
    Role(#[from] RoleError),
    /// A time for which no token is good.
    #[error("a token is good for 1 second to 366 days: give another time with --valid-for")]
    TokenLifetime,
    /// A token that cannot be written.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The pool is too small to hold anybody.
    #[error(
        "the pool {0} is too small or its prefix has further bits: use at least a /30 (IPv4) or a /126 (IPv6)"
    )]
    Pool(IpNet),
    /// The pool is used up.
    #[error("the pool {0} has no address left; an address is never given out twice")]
    Exhausted(IpNet),
    /// A name that is in use.
    #[error("{0} is enrolled already; to enrol it with a new key, revoke it first")]
    Taken(Role),
    /// A name that is not in use.
    #[error("there is no member «{0}» to revoke, and no token for it that could still be used")]
    Unknown(String),
    /// A token that is not known, or a proof that does not fit it.
    #[error("this token is not known here: ask for a new one")]
    UnknownToken,
    /// A token past its time.
    #[error("this token has expired: ask for a new one")]
    ExpiredToken,
    /// A token that somebody has used.
    #[error("this token was used before, with another key: ask for a new one, and ask who used it")]
    UsedToken,
    /// A request that is no proper one.
    #[error(
        "the certificate request is not acceptable: an Ed25519 key and its own signature are needed"
    )]
    Request,
    /// A key that belongs to somebody else, or did before it was revoked.
    #[error("this key was enrolled before: make a new one")]
    KnownKey,
    /// Somebody who is no member any more.
    #[error("{0} has been revoked")]
    Revoked(String),
    /// Somebody whose key is not in the records.
    #[error("{0} is not enrolled here with this key; enrol again")]
    NotEnrolled(Role),
}

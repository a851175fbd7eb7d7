//! The interface to whoever holds the root's private key.
//!
//! A signer may be a key in this process, or several machines that sign together and have to talk
//! to each other first (threshold signing). It is told what it signs and what for, and not bytes
//! alone, so that each of them can apply a policy of its own before it takes part.

use std::fmt;
use std::time::Duration;

use ipnet::IpNet;
use mpyc_party_core::claims::{Claims, ClaimsError, PublicKey};
use mpyc_party_core::name::NetworkName;

use crate::tbs;

/// How long a signer may take, rounds over a network included.
pub const SIGNING_TIMEOUT: Duration = Duration::from_secs(30);

/// Signs with the root's private key.
///
/// [`sign`](Signer::sign) blocks the thread that calls it. It is called outside of any transaction
/// and lock, by several threads at once. It may be asked again for what it has signed or is signing
/// already, with the same bytes: after a crash, or when a requester asks again.
pub trait Signer: fmt::Debug + Send + Sync {
    /// The root's public key.
    fn public_key(&self) -> PublicKey;

    /// Signs the to-be-signed bytes of `request` with Ed25519 (RFC 8032).
    ///
    /// # Errors
    /// When it cannot or will not sign; at the latest after [`SIGNING_TIMEOUT`].
    fn sign(&self, request: &SigningRequest) -> Result<Signature, SignerError>;
}

/// An Ed25519 signature (RFC 8032, section 5.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

/// Why a signer does not sign, in words for the one who asked for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignerError {
    /// The signer, or too many of those who sign together, cannot be reached.
    #[error("the authority's signer cannot be reached now: ask again later")]
    Unavailable,
    /// The signer's own policy forbids it.
    #[error(
        "the authority's signer refuses to sign this certificate: ask whoever runs the network"
    )]
    Declined,
    /// The signature did not come in time.
    #[error("the authority's signer did not sign in time: ask again later")]
    TimedOut,
}

/// What a member's certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A newcomer with a token becomes a member.
    Enrolment,
    /// A member gets a fresh certificate for the key that it has.
    Renewal,
    /// The authority's own server or the hub beside it gets one for a fresh key.
    Own,
}

/// What a network's root says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootClaims {
    /// The network.
    pub network: NetworkName,
    /// The addresses that it may give out.
    pub pool: IpNet,
    /// First second of validity, Unix time.
    pub not_before: u64,
    /// Last second of validity, Unix time.
    pub not_after: u64,
}

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// A network's root, signed by itself; once, when the network is made.
    Root(RootClaims),
    /// A member's certificate.
    Member(Purpose, Claims),
}

/// What a signer is asked to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningRequest {
    statement: Statement,
    tbs: Vec<u8>,
}

impl SigningRequest {
    /// A request for a member's certificate; its claims are read from the to-be-signed bytes, so
    /// that the two cannot differ.
    ///
    /// # Errors
    /// When the bytes are not those of a member's certificate.
    pub fn member(purpose: Purpose, tbs: Vec<u8>) -> Result<Self, ClaimsError> {
        Ok(Self { statement: Statement::Member(purpose, tbs::claims(&tbs)?), tbs })
    }

    /// A request for a root.
    pub(crate) fn root(claims: RootClaims, tbs: Vec<u8>) -> Self {
        Self { statement: Statement::Root(claims), tbs }
    }

    /// What the bytes say.
    #[must_use]
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The bytes to sign: a `TBSCertificate` in DER (RFC 5280, section 4.1.2).
    #[must_use]
    pub fn tbs(&self) -> &[u8] {
        &self.tbs
    }
}

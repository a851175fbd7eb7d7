//! What mpyc-party issues: who is a member of a network, which address is whose, and the
//! certificates that say so.
//!
//! An [`Authority`] lives in a directory: root certificate, the root's private key and the records.
//! A [token](mpyc_party_core::token) makes somebody a member once; from then on certificates are
//! made from the records alone. Bytes and the time come in, DER and keys go out: there is no socket,
//! clock or runtime here. Every method may block.
//!
//! A certificate comes about in four steps (`authority/issue.rs`):
//!
//! 1. **Policy** (`policy.rs`) decides from the records and the time what the certificate would
//!    say, or why there is none. The [`Claims`](mpyc_party_core::claims::Claims) that it decides on
//!    are all that the certificate says.
//! 2. **To-be-signed bytes** (`tbs.rs`, `profile.rs`): the `TBSCertificate` of RFC 5280 in DER. It
//!    is recorded, and with it serial number, address and token are taken: the *reservation*.
//! 3. The **signer** ([`Signer`]) signs these bytes, knowing what they say and what for. It may take
//!    seconds and it may fail, so no lock and no transaction is held meanwhile. The one signer
//!    that there is ([`LocalSigner`]) has the key in this process.
//! 4. **Record** (`records.rs`): what was signed is read again and compared with what was decided.
//!    If the member is not revoked meanwhile, the reservation is *confirmed*, and only then the
//!    certificate is handed out.
//!
//! A crash between the steps gives nothing twice. What was reserved stays reserved and visible in the
//! records, and the same request leads on from there.
//!
//! Signing code lives in this crate only.

#![forbid(unsafe_code)]

mod authority;
mod date;
mod error;
mod files;
mod local_signer;
mod policy;
mod pool;
mod profile;
mod records;
mod signer;
mod tbs;

pub use authority::{
    Authority, EnrolmentRequest, Member, Revoked, TOKEN_LIFETIME, TOKEN_LIFETIMES,
};
pub use date::date;
pub use error::AuthorityError;
pub use local_signer::{KeyError, LocalSigner};
pub use pool::random_pool;
pub use profile::{BACKDATING, CERTIFICATE_LIFETIME, ProfileError};
pub use records::tokens::UnusedToken;
pub use records::trail::TrailEntry;
pub use signer::{
    Purpose, RootClaims, SIGNING_TIMEOUT, Signature, Signer, SignerError, SigningRequest, Statement,
};

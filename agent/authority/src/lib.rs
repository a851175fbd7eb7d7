//! What mpyc-party issues: who is a member of a network, which address is whose, and the
//! certificates that say so.
//!
//! An [`Authority`] lives in a directory: root certificate, the root's private key and the records.
//! A [token](mpyc_party_core::token) makes somebody a member once; from then on certificates are
//! made from the records alone. What comes in are bytes and the time, what goes out is DER and keys:
//! there is no socket, clock or runtime here.
//!
//! Signing code lives in this crate only.

#![forbid(unsafe_code)]

mod authority;
mod date;
mod error;
mod files;
mod pool;
mod profile;
mod records;
mod signer;

pub use authority::{Authority, Member, Revoked, TOKEN_LIFETIME};
pub use date::date;
pub use error::AuthorityError;
pub use pool::random_pool;
pub use profile::{LIFETIME, ProfileError, SET_BACK};
pub use records::TrailEntry;
pub use signer::SignerError;

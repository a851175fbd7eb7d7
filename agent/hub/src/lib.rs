//! What mpyc-party serves: the authority that makes members, enrolment and renewal, the
//! lighthouse at which parties find each other, and the relay through which those talk that cannot
//! reach each other. The parties' side of each is here as well.
//!
//! Signing code lives in this crate only. A hub without an [`Authority`] gets nobody into a
//! network: it answers «where is bob?» to those whom bob allows, passes ciphertext on between
//! them, and that is all.

#![forbid(unsafe_code)]

mod authority;
mod beacon;
mod clock;
pub mod enrol;
mod exchange;
mod files;
pub mod lighthouse;
mod pool;
pub mod probe;
mod profile;
mod records;
mod refusal;
pub mod relay;
pub mod renew;
mod server;
mod signer;
mod standing;
mod strain;
mod turns;
mod wire;

pub use authority::{Authority, Member, Revoked, TOKEN_LIFETIME};
pub use clock::{date, now};
pub use pool::random_pool;
pub use profile::{LIFETIME, ProfileError, SET_BACK};
pub use records::TrailEntry;
pub use refusal::AuthorityError;
pub use server::{HubConfig, Limits, serve};
pub use signer::{SignerError, generate_key};
pub use wire::RequestError;

//! What mpyc-party serves: the lighthouse at which parties find each other, the relay through which
//! those talk that cannot reach each other, and, where the authority lives beside it, enrolment and
//! renewal.
//!
//! A hub without an authority gets nobody into a network. It answers «where is bob?» to those whom
//! bob allows, passes ciphertext on between them, and does nothing else.
//!
//! A connection is admitted while the hub keeps up with its work (`load_shedding.rs`, admission
//! control), and its ALPN says what it is for (`handshake.rs`). The lighthouse server
//! (`lighthouse.rs`) keeps a party's connection for as long as keepalives come; the relay server
//! (`relay.rs`) forwards bytes in the order of a fair queue (`fair_queue.rs`) and within a rate limit.
//! Enrolment and renewal (`enrol.rs`, `renew.rs`) wait in a queue of their own (`signing.rs`) for the
//! authority's signer. A member that is revoked loses its connections (`membership.rs`).
//!
//! Each connection has one task; if it panics, that connection ends and nothing else. The services
//! behind them are supervised: the hub ends with an error when one fails.

#![forbid(unsafe_code)]

mod enrol;
mod error;
mod fair_queue;
mod handshake;
mod lighthouse;
mod load_shedding;
mod membership;
mod own_identity;
mod relay;
mod renew;
mod reply;
mod server;
mod signing;

pub use error::HubError;
pub use server::{HubConfig, Limits, serve};

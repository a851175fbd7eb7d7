//! What mpyc-party serves: the lighthouse at which parties find each other, the relay through which
//! those talk that cannot reach each other, and, where the authority lives beside it, enrolment and
//! renewal.
//!
//! A hub without an authority gets nobody into a network: it answers «where is bob?» to those whom
//! bob allows, passes ciphertext on between them, and that is all.

#![forbid(unsafe_code)]

mod enrol;
mod fair_queue;
mod lighthouse;
mod load_shedding;
mod membership;
mod relay;
mod renew;
mod reply;
mod server;

pub use server::{HubConfig, Limits, serve};

//! QUIC over real sockets.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod flood;
#[path = "../forge/mod.rs"]
mod forge;
mod handshake;
mod nat;
mod pair;
mod raw;
mod streams;
#[path = "../trusting/mod.rs"]
mod trusting;

//! QUIC (RFC 9000): many streams on one connection, over one UDP socket, through most NATs.
//!
//! An [`Endpoint`] dials and accepts on the same socket. Two parties behind NATs dial each other at
//! once: the first packets of each open its own NAT for those of the other, and one of the two
//! connections is closed again. Handshakes, certificates and refusals are those of TLS over TCP.

mod config;
mod connection;
mod endpoint;
mod error;
mod incoming;

pub use crate::quic_stream::QuicStream;
pub use connection::Connection;
pub use endpoint::Endpoint;
pub use incoming::QuicIncoming;

//! What mpyc-party carries: authenticated, encrypted connections between members of a network, and
//! messages on them.
//!
//! An [`Identity`] and an [`Expect`] go in, and a [`Secure`] connection comes out, over TCP, [`quic`] or
//! any other stream of bytes. The handshake (mutual TLS) has checked who is at its other end. TLS 1.3
//! only, no resumption, no tickets, no early data, one ALPN per [`Protocol`]. Messages are [frames](frame)
//! that can carry extensions. A stream of MPyC goes over a succession of connections ([`resume`]); an
//! exposed port goes over a single one ([`pipe`]).

#![forbid(unsafe_code)]

mod accept;
mod clock;
mod dial;
mod error;
mod expect;
pub mod forward;
pub mod frame;
pub mod handshake_limiter;
mod identity;
mod key_pair;
pub mod peek;
pub mod pipe;
mod provider;
pub mod quic;
mod quic_stream;
pub mod rate_limit;
mod raw;
pub mod resume;
mod secure;
pub mod segment;
pub mod task;
mod traffic;
mod verify;

pub use accept::{Incoming, accept};
pub use clock::now;
pub use dial::{connect, connect_to_enrol};
pub use error::{TransportError, is_tampering};
pub use expect::{Expect, Protocol, RENEWAL_GRACE};
pub use identity::{Identity, IdentityError, verify};
pub use key_pair::{KeyError, KeyPair, generate_key};
pub use raw::{ByteStream, RawStream};
pub use secure::{Enrolment, HANDSHAKE_TIMEOUT, Secure, SecureStream};
pub use traffic::Traffic;
pub use verify::{PeerError, certified, verify_issued};

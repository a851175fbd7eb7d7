//! What mpyc-party decides. No sockets, clocks, files or runtime: time and events come in, actions
//! go out.

pub mod candidate;
pub mod claims;
mod key;
pub mod lighthouse;
pub mod name;
pub mod role;
mod root;
pub mod sni;
pub mod token;

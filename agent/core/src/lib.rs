//! What mpyc-party decides. No sockets, clocks, files or runtime: time and events come in, actions
//! go out.

pub mod agreement;
pub mod candidate;
pub mod claims;
pub mod component;
pub mod control;
mod key;
pub mod lighthouse;
pub mod name;
pub mod role;
mod root;
pub mod roster;
pub mod run;
pub mod sni;
pub mod token;
pub mod verdict;

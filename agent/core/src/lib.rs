//! What mpyc-party decides. No sockets, clocks, files or runtime: time and events come in, actions
//! go out.

pub mod name;

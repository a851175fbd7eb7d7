//! How mpyc-party reaches: the paths and links to peers, who is found where, and the party's side of
//! what a hub and an authority serve.

#![forbid(unsafe_code)]

pub mod discovery;
pub mod enrol;
pub mod lighthouse;
pub mod link;
pub mod probe;
pub mod relay;
pub mod renew;
mod request;

pub use request::RequestError;

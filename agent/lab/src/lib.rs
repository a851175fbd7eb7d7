//! Hosts in network namespaces, for end-to-end tests and benchmarks of mpyc-party.
//!
//! A [`Lab`] is a switch with [`Host`]s on it. Each host is a network namespace with addresses of
//! its own, in which [`Host::command`] starts ordinary programs. Links fail on demand: one way
//! ([`Host::drop_to`]), both ways ([`Lab::cut`]), or by pulling the plug ([`Host::down`]).
//!
//! Namespaces have no names and no mounts: an open descriptor of this process keeps each alive.
//! When the process ends, however it ends, the kernel closes the descriptors and takes namespaces,
//! interfaces and rules away, and the parent-death signal takes the programs started there. So
//! nothing is left behind that somebody would have to sweep up, and any number of labs run side by
//! side with the same addresses.
//!
//! Root is not needed where ordinary users may make user namespaces; [`Lab::available`] tells.

mod child;
mod error;
mod host;
mod leftovers;
mod namespace;
pub mod party;
mod setting;
mod sockets;
mod switch;
mod tool;

pub use error::LabError;
pub use host::{Host, Lab};
pub use setting::{TempState, mpyc_party, python};

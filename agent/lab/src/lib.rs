//! Hosts in network namespaces, for end-to-end tests and benchmarks of mpyc-party.
//!
//! A [`Lab`] is a switch with [`Host`]s on it. Each host is a network namespace with addresses of
//! its own, in which [`Host::command`] starts ordinary programs. Links fail on demand: one way
//! ([`Host::drop_to`]), both ways ([`Lab::cut`]), or by pulling the plug ([`Host::down`]).
//!
//! A [`Topology`] is data: an internet with public hosts, and [`Router`]s with NATs and firewalls
//! that have others behind them, over cables or WAN lines with delay, jitter, loss and a rate. What
//! is built from it can be cut, slowed, renumbered and rebound while programs run.
//!
//! Namespaces have no names and no mounts: an open descriptor of this process keeps each alive.
//! When the process ends, however it ends, the kernel closes the descriptors and takes namespaces,
//! interfaces and rules away, and the parent-death signal takes the programs started there. So
//! nothing is left behind that somebody would have to sweep up, and any number of labs run side by
//! side with the same addresses.
//!
//! Root is not needed where ordinary users may make user namespaces; [`Lab::available`] tells.

mod child;
mod destinations;
mod environment;
mod error;
pub mod exchange;
mod host;
mod lab;
mod leftovers;
mod namespace;
pub mod party;
pub mod programs;
pub mod reach;
mod router;
mod sockets;
mod switch;
mod tool;
pub mod topology;
mod uplink;
mod wan;

pub use environment::{TempState, hosts_for_tests, mpyc_party, python};
pub use error::LabError;
pub use host::Host;
pub use lab::Lab;
pub use router::{Firewall, Nat, Router};
pub use topology::Topology;
pub use uplink::Families;
pub use wan::Wan;

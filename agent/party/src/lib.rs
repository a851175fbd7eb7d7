//! What a party does: the `mpyc-party` binary.
//!
//! A module imports only from its left: [`config`] < [`identity`] < [`session`] < [`runner`] <
//! [`agent`] < [`command`].
//!
//! The configuration declares sessions; others come in signed bundles. The identity is this party's key
//! and certificate on disk. `mpyc-party session run` is the runner: it makes engine and sandbox ready,
//! meets the other parties, carries the program's connections, and writes down how the run ended. The
//! agent is the daemon of a machine: it holds the public port and starts runners that others propose.
//! Each command is one file below `command`.
//!
//! What reaches and finds the others is in [`mpyc_party_net`]; [`command::main`] is given its
//! [`Stack`](mpyc_party_net::Stack). What computes is behind [`runner::engine`].

#![forbid(unsafe_code)]

pub mod agent;
pub mod command;
pub mod config;
pub mod identity;
pub mod runner;
pub mod session;

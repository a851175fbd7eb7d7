//! What a party does: configuration, discovery, links, sessions and their runs, command line.

#![forbid(unsafe_code)]

pub mod agent;
pub mod command;
pub mod config;
pub mod identity;
pub mod runner;
pub mod session;

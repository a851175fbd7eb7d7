//! What a party does: configuration, discovery, links, sessions and their runs, command line.

pub mod config;
pub mod link;
pub mod runner;

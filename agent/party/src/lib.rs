//! What the `mpyc-party` binary does, as modules that tests can reach one by one.

pub mod runner;

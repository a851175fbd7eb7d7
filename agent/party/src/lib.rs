//! What the `mpyc-party` binary is made of.

pub mod runner;

//! Runs one session: the process that holds the party's key, its links and the sandboxed MPyC.

pub mod sandbox;

//! Runs one MPyC process for one party of one session.

pub mod python;

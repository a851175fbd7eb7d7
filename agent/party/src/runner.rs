//! Runs a session: prepares engine and sandbox, meets the other parties, lets the program run, and
//! writes down how it ended.
//!
//! The order matters. [`prepare`] is synchronous and single-threaded: it makes the sandbox before
//! any key is in memory, for the sandboxed process begins as a copy of this one. Only then the
//! identity is loaded and tokio started, and [`run_to_verdict`] feeds the [run's machine] with what happens.
//!
//! [run's machine]: mpyc_party_core::run::Run

pub(crate) mod background;
mod dry_run;
pub mod engine;
pub mod handover;
pub mod inspect;
mod launch;
mod outages;
mod output;
pub mod report;
mod run_loop;
pub mod seqpacket;
mod streams;
pub mod view;

pub use crate::config::stop;
pub use dry_run::{DryRunError, dry_run};
pub use launch::{Launch, PrepareError, input_is_there, prepare, start};
pub use run_loop::{Outcome, run_to_verdict};

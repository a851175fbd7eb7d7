//! A kind of path and a discovery that come from outside of `agent/net`, by its public interface
//! alone: the real binary with one more row in each table.
//!
//! This program is three things. Started by a person it is the tests; before they run it starts
//! itself anew with the environment that they need; and started by a test, with the options of the
//! binary first, it is `mpyc-party` with the rows added.
#![expect(clippy::expect_used, reason = "this is how tests fail")]

mod common;
#[path = "stack/directory.rs"]
mod directory;
#[path = "agent/machine.rs"]
#[allow(dead_code, reason = "an exposing process is watched like an agent")]
mod machine;
#[path = "connect/service.rs"]
#[allow(dead_code, reason = "no group is made here")]
mod service;
#[path = "stack/trials.rs"]
mod trials;
#[path = "stack/unix.rs"]
mod unix;

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use mpyc_party_net::Stack;

/// Where the sockets of the kind and the notes of the discovery are.
pub(crate) const DIRECTORY: &str = "MPYC_PARTY_TEST_STACK";
/// What `mpyc_party_lab` starts as the binary.
const BINARY: &str = "MPYC_PARTY_BIN";

/// The directory that all processes of the tests share.
pub(crate) fn shared() -> PathBuf {
    env::var_os(DIRECTORY).expect("the directory").into()
}

fn main() -> ExitCode {
    if env::args().nth(1).is_some_and(|first| first == "--config") {
        let stack = Stack::default()
            .with_kind(unix::Unix::new(shared()))
            .and_then(|stack| stack.with_discovery(directory::Directory::new(shared())))
            .expect("rows of their own");
        return mpyc_party::command::main(stack);
    }
    if env::var_os(DIRECTORY).is_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let program = env::current_exe().expect("own path");
        let mut tests = Command::new(&program);
        tests.args(env::args_os().skip(1)).env(DIRECTORY, directory.path()).env(BINARY, program);
        let status = tests.status().expect("the tests");
        return ExitCode::from(u8::from(!status.success()));
    }
    let arguments = libtest_mimic::Arguments::from_args();
    libtest_mimic::run(&arguments, trials::trials()).exit_code()
}

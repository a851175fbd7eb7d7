//! Tries every way out of the sandbox, with a real Python inside.
#![expect(clippy::expect_used, clippy::panic, reason = "this is how tests fail")]

fn main() {
    let mut arguments = std::env::args().skip(1);
    if let (Some(runner::ROLE), Some(spec)) = (arguments.next().as_deref(), arguments.next()) {
        runner::run(&spec);
    }
}

#[path = "sandbox/runner.rs"]
mod runner;

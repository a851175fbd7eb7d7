//! Tries every way out of the sandbox, with a real Python inside; and how programs in it live and
//! end. Run by root, everything is tried once more as an ordinary user.
#![expect(clippy::expect_used, clippy::panic, reason = "this is how tests fail")]

#[path = "sandbox/escapes.rs"]
mod escapes;
#[path = "sandbox/host.rs"]
mod host;
#[path = "sandbox/life.rs"]
mod life;
#[path = "sandbox/refusals.rs"]
mod refusals;
#[path = "sandbox/runner.rs"]
mod runner;

fn main() {
    let mut words = std::env::args().skip(1);
    if let (Some(runner::ROLE), Some(spec)) = (words.next().as_deref(), words.next()) {
        runner::run(&spec);
    }
    let directory = host::prepare();
    let arguments = libtest_mimic::Arguments::from_args();
    let trials = [escapes::trials(), life::trials(), refusals::trials()];
    let conclusion = libtest_mimic::run(&arguments, trials.into_iter().flatten().collect());
    drop(directory);
    conclusion.exit();
}

//! `mpyc-party python`.

use std::process::ExitCode;

use super::{Common, Outcome, output};
use crate::runner::engine::mpyc::python::{Environment, Error, Progress, Python};

/// Makes the Python ready and prints its path.
pub(super) fn run(common: &Common) -> Outcome {
    let (dirs, config) = common.load()?;
    let python = prepare(&Python::new(config.python.interpreter, &dirs.cache))?;
    if common.json {
        output::json(&serde_json::json!({
            "interpreter": python.interpreter, "version": python.version,
            "implementation": python.implementation, "mpyc": python.mpyc,
            "extras": python.extras,
        }))?;
    } else {
        output::line(python.interpreter.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Prepares `python` and tells of the steps.
pub(super) fn prepare(python: &Python) -> Result<Environment, Error> {
    python.prepare(&mut |progress| match progress {
        Progress::LeftOut(_) => output::warn(progress),
        _ => output::step(progress),
    })
}

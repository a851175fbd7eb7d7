//! `mpyc-party session list`.

use std::process::ExitCode;

use serde_json::json;

use super::super::{Common, Outcome, output};
use super::runs;
use crate::session::words::{names, visible};
use crate::session::{self, Definition};

/// Lists all declared sessions; one that cannot be used is told and does not hide the others.
pub(super) fn list(common: &Common) -> Outcome {
    let (dirs, config) = common.load()?;
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    let mut status = ExitCode::SUCCESS;
    for (name, found) in session::all(&config, &dirs)? {
        let definition = match found {
            Ok(definition) => definition,
            Err(error) => {
                values.push(json!({ "name": name, "error": error.to_string() }));
                if !common.json {
                    output::warn(format!("session {name} is left out: {error}"));
                }
                status = ExitCode::FAILURE;
                continue;
            }
        };
        let Definition { name, settings, imported } = &definition;
        let last = runs::of(&dirs, name)?.pop();
        let (t, m) = (settings.threshold(), settings.parties.len());
        let from = if *imported { "imported" } else { "configured" };
        values.push(json!({
            "name": name, "program": settings.program, "parties": settings.parties,
            "threshold": t, "hides": settings.hides(), "start": settings.start, "from": from,
            "last": last.as_ref().map(runs::Run::json),
        }));
        let program = settings.program.file_name().unwrap_or_default();
        rows.push([
            name.to_string(),
            visible(&program.to_string_lossy()),
            names(settings.parties.as_slice()),
            if t > 0 && settings.hides() {
                format!("{t} of {m}")
            } else {
                // Whatever the threshold, where MPyC masks too weakly.
                format!("{t} of {m}: no privacy")
            },
            settings.start.to_string(),
            from.to_owned(),
            last.map_or_else(|| "never run".to_owned(), |run| run.verdict()),
        ]);
    }
    if common.json {
        output::json(&values)?;
    } else if values.is_empty() {
        output::step(
            "no session is declared here: add one with mpyc-party session import FILE, or in the configuration",
        );
    } else if !rows.is_empty() {
        let head = ["SESSION", "PROGRAM", "PARTIES", "THRESHOLD", "START", "FROM", "LAST RUN"];
        output::table(head, &rows);
    }
    Ok(status)
}

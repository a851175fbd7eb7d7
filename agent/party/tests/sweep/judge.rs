//! What is expected of every command, whatever the condition.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::process::Output;

use serde_json::Value;

use super::conditions::below;
use super::trial::Trial;

/// What others could change, by its mode.
const OTHERS_WRITE: u32 = 0o022;

/// What a system says, with what an error that tells it says to do: one of these.
const REMEDIES: [(&str, &[&str]); 7] = [
    (
        "Permission denied",
        &[
            "run as its owner",
            "run this as",
            "let this user",
            "chown -R",
            "Mend it",
            "Make it writable",
            "who may",
        ],
    ),
    ("No space left", &["make room", "Make room", "room on the disk"]),
    ("database or disk is full", &["room on the disk"]),
    ("Too many open files", &["ulimit -n"]),
    ("File too large", &["ulimit -f"]),
    ("File is too large", &["ulimit -f"]),
    ("Read-only file system", &["--state DIR"]),
];

/// How an error begins that has no subject.
const WITHOUT_SUBJECT: [&str; 9] =
    ["it ", "its ", "is ", "Permission", "No such", "No space", "Too many", "File too", "Not a "];

/// What is wrong with how `trial` ended.
pub(crate) fn problems(trial: &Trial, output: &Output) -> Vec<String> {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    let mut told = Vec::new();
    let mut tell = |what: String| told.push(format!("{what}\n  out: {out}\n  err: {err}"));
    let status = output.status.code();
    if !matches!(status, Some(0..=2)) {
        tell(format!("it ended with {}", output.status));
    }
    if out.contains("panicked") || err.contains("panicked") {
        tell("it panicked".to_owned());
    }
    if trial.condition.readable {
        match errors(trial, status, &out, &err) {
            Ok(errors) => errors.iter().flat_map(|error| faults(error)).for_each(&mut tell),
            Err(problem) => tell(problem),
        }
    }
    let exposed = |path: &std::path::PathBuf| {
        fs::symlink_metadata(path).is_ok_and(|found| {
            let kind = found.file_type();
            !kind.is_symlink()
                && !kind.is_socket()
                && found.permissions().mode() & OTHERS_WRITE != 0
        })
    };
    for path in below(&trial.directory).unwrap_or_default().iter().filter(|path| exposed(path)) {
        tell(format!("others can write to {}", path.display()));
    }
    told
}

/// Why the command failed: its errors as they were told, in the form that was asked for.
fn errors(trial: &Trial, status: Option<i32>, out: &str, err: &str) -> Result<Vec<String>, String> {
    let failed = status != Some(0);
    if !trial.json {
        // It may have several lines, and is the last that is said.
        let told: Vec<String> =
            err.split_once("error: ").map(|(_, told)| told.to_owned()).into_iter().collect();
        // A run, a check or a search that fails says so by a mark, as an answer.
        let marked = || out.contains('✗') || err.contains('✗');
        return match failed && told.is_empty() && !marked() && !trial.command.serves {
            true => Err("it fails and does not say why".to_owned()),
            false => Ok(told),
        };
    }
    let values: Vec<Value> = if trial.command.carries {
        err.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    } else {
        let all: Result<Vec<Value>, _> =
            serde_json::Deserializer::from_str(out).into_iter().collect();
        all.map_err(|error| format!("what it answers is no JSON: {error}"))?
    };
    let told: Vec<&Value> = values.iter().filter(|value| value["error"].is_string()).collect();
    if failed && values.is_empty() && !trial.command.serves {
        return Err("it fails and does not say so in JSON".to_owned());
    }
    if let Some(value) = told.iter().find(|value| value["status"] != status.unwrap_or_default()) {
        return Err(format!("{value} tells another exit status than {status:?}"));
    }
    Ok(told.iter().filter_map(|value| value["error"].as_str().map(str::to_owned)).collect())
}

/// What an error lacks.
fn faults(error: &str) -> Vec<String> {
    let mut told = Vec::new();
    if WITHOUT_SUBJECT.iter().any(|begin| error.starts_with(begin)) {
        told.push(format!("this has no subject: {error}"));
    }
    let lacks = |(said, remedies): &&(&str, &[&str])| {
        error.contains(said) && !remedies.iter().any(|remedy| error.contains(remedy))
    };
    if let Some((said, _)) = REMEDIES.iter().find(lacks) {
        told.push(format!("nothing helps against «{said}»: {error}"));
    }
    told
}

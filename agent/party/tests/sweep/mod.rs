//! The sweep: every command, as text and as JSON, in one bad condition.

pub(crate) mod clock;
pub(crate) mod commands;
pub(crate) mod conditions;
mod judge;
mod trial;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::thread;

use anyhow::{Result, ensure};
use mpyc_party_lab::mpyc_party;
use mpyc_party_lab::party::{Network, Session};
use rustix::process::geteuid;

use crate::common::SUM;
use commands::COMMANDS;
use conditions::Condition;
use judge::problems;
use trial::{Template, Trial};

/// Trials at once: most of each is waiting.
const TRIALS_AT_ONCE: usize = 6;

/// Tries every command in `condition`; all that is wrong is told at once.
pub(crate) fn sweep(condition: &Condition) -> Result<()> {
    if condition.needs_root && !geteuid().is_root() {
        return Ok(());
    }
    let network = Network::on_loopback(&["alice"])?;
    let alice = network.party("alice");
    let session = Session::new("sum", SUM).parties(&["alice", "bob", "carol"]);
    alice.declare(&session.set("deadline", "\"1s\""))?;
    // Another user needs a way to the files that are theirs.
    fs::set_permissions(network.directory(), Permissions::from_mode(0o755))?;
    fs::set_permissions(network.directory().join("tmp"), Permissions::from_mode(0o1777))?;
    let program = network.directory().join("mpyc-party");
    fs::copy(mpyc_party()?, &program)?;
    let template = Template::make(&network, &program)?;
    let forms = COMMANDS.iter().flat_map(|command| [(command, false), (command, true)]);
    let left = Mutex::new(forms.enumerate());
    let found = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..TRIALS_AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = left.lock().ok().and_then(|mut left| left.next());
                    let Some((number, (command, json))) = next else { break };
                    let told = Trial::make(&template, number, command, json, condition)
                        .and_then(|mut trial| {
                            let output = trial.run()?;
                            Ok(problems(&trial, &output))
                        })
                        .unwrap_or_else(|error| vec![format!("no trial: {error:#}")]);
                    let form = if json { " --json" } else { "" };
                    let told = told.iter().map(|what| format!("{}{form}: {what}", command.name));
                    found.lock().map(|mut found| found.extend(told)).ok();
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_default();
    found.sort();
    ensure!(found.is_empty(), "{}:\n{}", condition.name, found.join("\n"));
    Ok(network.end()?)
}

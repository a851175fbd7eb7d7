//! One trial: a command on a copy of a party's files, in a condition.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mpyc_party_lab::party::Network;
use rustix::process::{Pid, Signal, kill_process};

use super::commands::{self, Place};
use super::conditions::Condition;
use crate::common::LIMIT;

/// How long a command serves.
const SERVES: Duration = Duration::from_millis(700);
/// How often a process is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// What every trial begins with.
pub(crate) struct Template<'a> {
    pub(crate) network: &'a Network,
    pub(crate) program: &'a Path,
    /// The state of the hub, which no process uses.
    hub: PathBuf,
    /// For those that enrol: as text, and as JSON.
    tokens: [String; 2],
}

impl<'a> Template<'a> {
    /// Everything that trials with `program` have in common.
    pub(crate) fn make(network: &'a Network, program: &'a Path) -> Result<Self> {
        let token = |name| network.token(&["--name", name]);
        let tokens = [token("text")?, token("json")?];
        let hub = network.directory().join("hub-at-rest");
        copy(&network.hub_state(), &hub)?;
        Ok(Self { network, program, hub, tokens })
    }
}

/// A command, ready to be started.
pub(crate) struct Trial<'a> {
    pub(crate) command: &'static commands::Command,
    pub(crate) json: bool,
    pub(crate) condition: &'a Condition,
    /// Its files.
    pub(crate) directory: PathBuf,
    started: Command,
    /// What it reads.
    input: String,
}

impl<'a> Trial<'a> {
    /// Copies the files, and makes the condition.
    pub(crate) fn make(
        template: &Template<'a>,
        number: usize,
        command: &'static commands::Command,
        json: bool,
        condition: &'a Condition,
    ) -> Result<Self> {
        let network = template.network;
        let own = network.newcomer(&format!("trial-{number}"))?;
        let (directory, alice) = (own.directory().to_owned(), network.party("alice"));
        match command.place {
            Place::Hub => copy(&template.hub, &directory.join("state"))?,
            Place::Party => copy(&alice.state(), &directory.join("state"))?,
            Place::Empty => fs::create_dir(directory.join("state"))?,
        }
        copy(&alice.directory().join("programs"), &directory.join("programs"))?;
        for name in ["home", "pages"] {
            fs::create_dir(directory.join(name))?;
        }
        let [old, new] = [alice.directory(), &directory].map(|path| path.display().to_string());
        let config = fs::read_to_string(alice.config())?.replace(&old, &new);
        let exposed = "[expose.web]\nport = 8080\ngroups = [\"admins\"]\n";
        fs::write(own.config(), config + exposed)?;
        (condition.prepare)(&directory)?;

        let usual = own.command();
        let mut words: Vec<OsString> = (condition.way)(&directory);
        words.push(template.program.into());
        if condition.named {
            words.extend(usual.get_args().map(Into::into));
        }
        words.extend(json.then(|| "--json".into()));
        words.extend(command.words.iter().map(Into::into));
        let mut started = Command::new(&words[0]);
        started.args(&words[1..]).current_dir(&directory);
        started.envs(usual.get_envs().filter_map(|(name, value)| Some((name, value?))));
        started.env("HOME", directory.join("home"));
        for variable in ["XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "STATE_DIRECTORY"] {
            started.env_remove(variable);
        }
        let input = match command.name {
            "enroll" => template.tokens[usize::from(json)].clone(),
            _ => String::new(),
        };
        Ok(Self { command, json, condition, directory, started, input })
    }

    /// Starts the command and waits for its end; one that serves is told to end.
    pub(crate) fn run(&mut self) -> Result<Output> {
        let command = &mut self.started;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that ends early says why.
            let _ = stdin.write_all(self.input.as_bytes());
        }
        let pid = Pid::from_child(&child);
        let ended = thread::spawn(move || child.wait_with_output());
        let begun = Instant::now();
        let mut asked = false;
        while !ended.is_finished() {
            thread::sleep(POLL_INTERVAL);
            if self.command.serves && !asked && begun.elapsed() > SERVES {
                asked = true;
                // It may have ended just now.
                let _ = kill_process(pid, Signal::TERM);
            }
            if begun.elapsed() > LIMIT {
                kill_process(pid, Signal::KILL)?;
                bail!("it hangs");
            }
        }
        Ok(ended.join().ok().context("the reader panicked")??)
    }
}

/// Copies a directory with everything below it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let done = Command::new("cp").arg("-a").arg("-T").args([from, to]).output()?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

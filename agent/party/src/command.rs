//! The command line: what can be asked for, and how answers and errors are shown.

mod agent;
mod authority;
mod completing;
mod connect;
mod demo;
mod diagnose;
mod doctor;
mod enroll;
mod exit;
mod expose;
mod hub;
mod journal;
mod locate;
mod logging;
mod output;
mod pager;
mod peers;
mod ping;
mod python;
mod reference;
mod running;
mod session;
mod settings;
mod status;
mod stop;
mod style;
mod terminal;
mod times;
mod view;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use mpyc_party_core::name::PartyName;
use mpyc_party_net::Stack;
use mpyc_party_sandbox::kernel;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::config::{Config, ConfigError, Directories};
use crate::identity::Store;
use crate::session::SessionError;
use exit::Purpose;
use output::Complaints;
use terminal::Stream;

/// The name of this program.
const NAME: &str = "mpyc-party";

/// Secure ad hoc sessions for multiparty computation with MPyC.
#[derive(Debug, Parser)]
#[command(
    name = NAME,
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  mpyc-party demo                          a hub and three parties on this machine, one real run
  mpyc-party enroll < token                become a party of a network
  mpyc-party session import demo.bundle    look at a proposed session, and accept it
  mpyc-party session run demo              meet the others and run it
  mpyc-party doctor                        what is wrong here, and what to do

Exit status: 0 completed, 1 failed run or operation, 2 wrong usage or configuration."
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    /// End when the process that started this one, of this id, ends
    #[arg(long, global = true, hide = true, value_name = "PID")]
    die_with: Option<i32>,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
struct Common {
    /// Configuration file [default: /etc/mpyc-party/config.toml, else ~/.config/mpyc-party/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// State directory [default: $STATE_DIRECTORY, else ~/.local/state/mpyc-party]
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Answer in JSON, for scripts
    #[arg(long, global = true)]
    json: bool,
    /// Show more; repeat for every detail
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// What this process can reach by, and find by
    #[arg(skip)]
    stack: Arc<Stack>,
}

impl Common {
    fn dirs(&self) -> Result<Directories, ConfigError> {
        Directories::find(self.config.clone(), self.state.clone())
    }

    fn load(&self) -> Result<(Directories, Config), ConfigError> {
        let dirs = self.dirs()?;
        let config = dirs.load()?;
        Ok((dirs, config))
    }

    /// The same, the store of this party's identity, and its name, for what it does with the party
    /// `other`.
    fn other(&self, other: &PartyName) -> anyhow::Result<(Directories, Config, Store, PartyName)> {
        let (dirs, config) = self.load()?;
        let store = Store::new(&dirs.state);
        let me = store.party()?;
        if me == *other {
            bail!("«{me}» is this party itself: name another one");
        }
        Ok((dirs, config, store, me))
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a hub and several parties on this machine, and do one real MPyC run
    Demo(demo::Demo),
    /// Manage the certificate authority of a network
    #[command(subcommand)]
    Ca(authority::Ca),
    /// Run a hub: lighthouse, relay, and enrolment where the authority is
    Hub(hub::Hub),
    /// Run the daemon that takes part in sessions by itself
    Agent(agent::Agent),
    /// Become a party of a network, with a token from its authority
    Enroll(enroll::Enroll),
    /// Run, check, list, show and share sessions
    #[command(subcommand)]
    Session(session::Session),
    /// Show who this party is, what runs here, and how the last runs ended
    Status(status::Status),
    /// Show the other parties of running sessions: the path to each, how fast it is, and why it is not direct
    Peers(peers::Peers),
    /// Look for another party, connect to it, and measure how long an answer takes
    Ping(ping::Ping),
    /// Connect standard input and output to a port that another party exposes, for example for SSH
    Connect(connect::Connect),
    /// Let chosen parties connect to ports of this machine
    Expose(expose::Expose),
    /// Check everything that a run needs, and say what is wrong and what to do
    Doctor(doctor::Doctor),
    /// Prepare the Python that runs MPyC, and print its path
    Python,
    /// Check or show the configuration
    #[command(subcommand)]
    Config(settings::Settings),
    /// Print a completion script for a shell
    Completions(reference::Completions),
    /// Write the manual pages into a directory
    Man(reference::Man),
}

/// Exit status of an operation that failed.
const FAILED: u8 = 1;
/// Exit status of wrong usage or configuration.
const WRONG_USAGE: u8 = 2;

/// What a command leads to.
type Outcome = anyhow::Result<ExitCode>;

/// Runs the command line of this process, which reaches others by the kinds of path and the
/// discoveries of `stack`.
#[must_use]
pub fn main(stack: Stack) -> ExitCode {
    if let Some(status) = completing::answer() {
        return status;
    }
    // It fails only for signals that cannot be handled.
    let _ = stop::settle_inherited();
    let (status, purpose, form) = match Cli::try_parse() {
        Ok(mut cli) => {
            cli.common.stack = Arc::new(stack);
            let purpose = Purpose::of(&cli.command);
            let form = exit::complaints(&cli.command, cli.common.json);
            (run(cli, form), purpose, form)
        }
        Err(told) => {
            let status = u8::try_from(told.exit_code()).unwrap_or(WRONG_USAGE);
            let json = std::env::args_os().any(|argument| argument == "--json");
            let form = if json { Complaints::Json(Stream::Output) } else { Complaints::Text };
            tell_usage(&told, status, form);
            (status.into(), Purpose::Answer, form)
        }
    };
    exit::settle(status, &purpose, form)
}

/// Says what is wrong with the command line, or the help that it asks for.
fn tell_usage(told: &clap::Error, status: u8, form: Complaints) {
    let rendered = told.render();
    if told.use_stderr() && matches!(form, Complaints::Json(_)) {
        let text = rendered.to_string();
        let text = text.trim().trim_start_matches("error: ").to_owned();
        return output::error(&anyhow::Error::msg(text), status, form);
    }
    let stream = if told.use_stderr() { Stream::Errors } else { Stream::Output };
    terminal::print(stream, rendered.ansi().to_string());
}

fn run(cli: Cli, form: Complaints) -> ExitCode {
    // What a daemon does is for its log to tell.
    let daemon = matches!(cli.command, Command::Agent(_) | Command::Expose(_));
    logging::start(cli.common.verbose.max(u8::from(daemon)));
    let common = &cli.common;
    if let Err(error) = kernel::has_threads() {
        let error = anyhow::anyhow!("{error}. {}", error.remedy());
        output::error(&error, FAILED, form);
        return ExitCode::from(FAILED);
    }
    if let Some(parent) = cli.die_with
        && !stop::die_with(parent)
    {
        return ExitCode::FAILURE;
    }
    let outcome = may_write(&cli.command, common).and_then(|()| perform(cli.command, common));
    outcome.unwrap_or_else(|error| {
        let status = status_of(&error);
        output::error(&error, status, form);
        ExitCode::from(status)
    })
}

/// Fails where `command` may write, and its directories are not for this user to write to.
fn may_write(command: &Command, common: &Common) -> anyhow::Result<()> {
    use session::Session::{List, Logs, Show};
    match command {
        Command::Session(List | Show { .. } | Logs(_))
        | Command::Status(_)
        | Command::Peers(_)
        | Command::Config(_)
        | Command::Completions(_)
        | Command::Man(_) => Ok(()),
        // It hands over what it makes.
        Command::Agent(agent) if agent.takes_token() => Ok(()),
        command => {
            let dirs = common.dirs()?;
            dirs.demand_own_state()?;
            if runs_programs(command) {
                dirs.demand_own_cache()?;
            }
            Ok(())
        }
    }
}

/// Whether `command` may run a program, and so use the private Python in the cache.
fn runs_programs(command: &Command) -> bool {
    !matches!(
        command,
        Command::Ca(_)
            | Command::Hub(_)
            | Command::Enroll(_)
            | Command::Ping(_)
            | Command::Connect(_)
            | Command::Expose(_)
    )
}

fn perform(command: Command, common: &Common) -> Outcome {
    match command {
        Command::Demo(demo) => demo.run(common),
        Command::Ca(ca) => ca.run(common),
        Command::Hub(hub) => hub.run(common),
        Command::Agent(agent) => agent.run(common),
        Command::Enroll(enroll) => enroll.run(common),
        Command::Session(session) => session.run(common),
        Command::Status(status) => status.run(common),
        Command::Peers(peers) => peers.run(common),
        Command::Ping(ping) => ping.run(common),
        Command::Connect(connect) => connect.run(common),
        Command::Expose(expose) => expose.run(common),
        Command::Doctor(doctor) => doctor.run(common),
        Command::Python => python::run(common),
        Command::Config(settings) => settings.run(common),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
    }
}

/// The exit status that tells of `error`: the configuration is wrong, or a session is not declared or not
/// in order; or an operation failed.
fn status_of(error: &anyhow::Error) -> u8 {
    use SessionError::{Broken, Damaged, Unknown};
    let of_session =
        matches!(error.downcast_ref(), Some(Unknown { .. } | Broken(_) | Damaged { .. }));
    if of_session || error.is::<ConfigError>() { WRONG_USAGE } else { FAILED }
}

/// From here on this process holds a key: no other of this user can look into its memory, and none of
/// it goes into a core dump (prctl(2), `PR_SET_DUMPABLE`). What it starts from now on gets no namespaces.
fn no_dumps() -> anyhow::Result<()> {
    let set = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    set.context("cannot keep others out of the memory of this process")
}

/// A runtime of one thread: what this program does at once it does by waiting.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot begin to wait for anything")
}

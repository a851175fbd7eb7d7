//! The end of a command: whoever reads is waited for, and the exit status tells what became of it.

use std::io;
use std::process::ExitCode;

use mpyc_party_core::name::SessionName;
use rustix::io::Errno;

use super::output::Complaints;
use super::terminal::{End, Stream, Unwritten};
use super::{Command, output, session};

/// What a command is for, and so what its exit status tells.
pub(super) enum Purpose {
    /// To answer: it fails where the answer cannot be written.
    Answer,
    /// To run this session, whether or not anybody looks on.
    Run(SessionName),
    /// To serve others.
    Serve,
}

impl Purpose {
    /// That of `command`.
    pub(super) fn of(command: &Command) -> Self {
        match command {
            Command::Session(session::Session::Run(run)) => Self::Run(run.name().clone()),
            Command::Agent(_) | Command::Expose(_) | Command::Hub(_) => Self::Serve,
            _ => Self::Answer,
        }
    }
}

/// In which form `command` says why it fails, where `json` is asked for: on standard output, unless that
/// carries something else.
pub(super) fn complaints(command: &Command, json: bool) -> Complaints {
    match command {
        _ if !json => Complaints::Text,
        Command::Connect(_) | Command::Completions(_) => Complaints::Json(Stream::Errors),
        _ => Complaints::Json(Stream::Output),
    }
}

/// Waits for the readers, and says what they were not shown. An answer that cannot be written makes
/// a failure of a success.
pub(super) fn settle(status: ExitCode, purpose: &Purpose, form: Complaints) -> ExitCode {
    let end = End::begin();
    let answered = end.wait(Stream::Output);
    if let Err(unwritten) = answered {
        complain(unwritten, purpose, form);
    }
    let told = end.wait(Stream::Errors);
    let unanswered = has_failed(answered) || has_failed(told);
    match purpose {
        Purpose::Answer if unanswered && status == ExitCode::SUCCESS => ExitCode::FAILURE,
        _ => status,
    }
}

/// Whether an output cannot be written. One who closes the pipe has read enough.
fn has_failed(written: Result<(), Unwritten>) -> bool {
    matches!(written, Err(Unwritten::Failed(why)) if why != Errno::PIPE)
}

fn complain(unwritten: Unwritten, purpose: &Purpose, form: Complaints) {
    let what = match unwritten {
        Unwritten::Unread => "standard output was not read to its end".to_owned(),
        Unwritten::Failed(why) => {
            format!("standard output cannot be written: {}", io::Error::from(why))
        }
    };
    match purpose {
        Purpose::Run(session) => {
            output::warn(format!("{what}: mpyc-party session logs {session} shows all of it"));
        }
        Purpose::Answer if has_failed(Err(unwritten)) => {
            let form = match form {
                Complaints::Json(_) => Complaints::Json(Stream::Errors),
                Complaints::Text => Complaints::Text,
            };
            output::error(&anyhow::Error::msg(what), 1, form);
        }
        Purpose::Answer | Purpose::Serve => {}
    }
}

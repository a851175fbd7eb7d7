//! Every command, each with arguments that end soon.

/// Whose state a command works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The authority's, with the hub's.
    Hub,
    /// A party's.
    Party,
    /// An empty one.
    Empty,
}

/// A command of the binary.
#[derive(Debug)]
pub(crate) struct Command {
    /// Its name.
    pub(crate) name: &'static str,
    /// It with its arguments.
    pub(crate) words: &'static [&'static str],
    /// Whose state it works on.
    pub(crate) place: Place,
    /// Whether it serves until it is told to end.
    pub(crate) serves: bool,
    /// Whether standard output carries something else than an answer, and errors are on standard error.
    pub(crate) carries: bool,
}

const fn of(place: Place, name: &'static str, words: &'static [&'static str]) -> Command {
    Command { name, words, place, serves: false, carries: false }
}

const fn serving(place: Place, name: &'static str, words: &'static [&'static str]) -> Command {
    Command { name, words, place, serves: true, carries: false }
}

const fn carrying(name: &'static str, words: &'static [&'static str]) -> Command {
    Command { name, words, place: Place::Party, serves: false, carries: true }
}

use Place::{Empty, Hub, Party};

/// All of them but `demo`, which makes all of its surroundings itself.
pub(crate) const COMMANDS: [Command; 27] = [
    of(Party, "session check", &["session", "check", "sum", "--wait", "100ms"]),
    of(Party, "doctor", &["doctor", "--wait", "100ms"]),
    of(Party, "session run", &["session", "run", "sum"]),
    carrying("connect", &["connect", "bob", "22", "--wait", "300ms"]),
    of(Party, "ping", &["ping", "bob", "--wait", "300ms"]),
    serving(Hub, "hub", &["hub", "--listen", "127.0.0.1:0"]),
    serving(Party, "agent", &["agent"]),
    serving(Party, "expose", &["expose"]),
    of(Party, "python", &["python"]),
    of(Empty, "ca init", &["ca", "init", "--network", "other"]),
    of(Hub, "ca token", &["ca", "token", "--name", "dave", "--hub", "127.0.0.1:4747"]),
    of(Hub, "ca list", &["ca", "list"]),
    of(Hub, "ca trail", &["ca", "trail"]),
    of(Hub, "ca revoke", &["ca", "revoke", "alice"]),
    of(Empty, "enroll", &["enroll"]),
    of(Party, "session list", &["session", "list"]),
    of(Party, "session show", &["session", "show", "sum"]),
    of(Party, "session logs", &["session", "logs", "sum"]),
    of(Party, "session export", &["session", "export", "sum", "--offline"]),
    of(Party, "session import", &["session", "import", "nosuch.bundle"]),
    of(Party, "session remove", &["session", "remove", "sum"]),
    of(Party, "status", &["status"]),
    of(Party, "peers", &["peers"]),
    of(Party, "config check", &["config", "check"]),
    of(Party, "config show", &["config", "show"]),
    carrying("completions", &["completions", "bash"]),
    of(Party, "man", &["man", "pages"]),
];

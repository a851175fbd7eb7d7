//! A network on loopback, made with the real binary: a hub with its authority, and parties.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "no test needs all of it")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use mpyc_party::identity::Store;
use mpyc_party_transport::Identity;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tempfile::TempDir;

/// A process that ends with the test.
pub(crate) struct Ended(pub(crate) Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A hub, and the directories of its parties.
pub(crate) struct Network {
    pub(crate) directory: TempDir,
    hub: String,
    _process: Ended,
}

/// A party, by its directory.
pub(crate) struct Party {
    pub(crate) directory: PathBuf,
}

/// The binary with these arguments, without a terminal.
pub(crate) fn command(state: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mpyc-party"));
    command.arg("--config").arg(state.join("config.toml")).arg("--state").arg(state);
    command.args(arguments).current_dir(state);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Both outputs in one text.
pub(crate) fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// The outputs of a command that has to succeed.
pub(crate) fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    said(&output)
}

/// The outputs of a command that has to fail with status 1.
pub(crate) fn fails(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{command:?}: {}", said(&output));
    said(&output)
}

/// Fails unless `text` holds all of `expected`.
pub(crate) fn says(text: &str, expected: &[&str]) {
    for expected in expected {
        assert!(text.contains(expected), "does not say «{expected}»:\n{text}");
    }
}

/// Waits until a process tells `expected` on standard error.
pub(crate) fn tells(process: &mut Ended, expected: &str) {
    let lines = BufReader::new(process.0.stderr.take().unwrap()).lines();
    let mut lines = lines.map(Result::unwrap);
    assert!(lines.any(|line| line.contains(expected)), "it does not tell «{expected}»");
    // Whoever closed this pipe would end the process with its next line.
    std::thread::spawn(move || lines.for_each(drop));
}

/// How a question to agree to ends.
pub(crate) const QUESTION: &str = "[y/N] ";
/// How the pager asks for more.
pub(crate) const MORE: &str = "to stop — ";

/// Runs a command at a terminal of 80 columns and 24 rows, as [`at_terminal_of`] does.
pub(crate) fn at_terminal(
    command: Command,
    answer: impl FnMut(&str) -> Option<&'static str>,
) -> (String, ExitStatus) {
    at_terminal_of((24, 80), command, answer)
}

/// Runs a command at a terminal of so many rows and columns. `answer` says what is typed where the text
/// since its last answer ends so; where that says nothing it goes on through pages, and agrees to
/// nothing. What was shown, without styles, and how the command ended.
pub(crate) fn at_terminal_of(
    (rows, columns): (u16, u16),
    mut command: Command,
    mut answer: impl FnMut(&str) -> Option<&'static str>,
) -> (String, ExitStatus) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal, size).unwrap();
    let path = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let end = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let again = || Stdio::from(end.try_clone().unwrap());
    command.stdin(again()).stdout(again()).stderr(again()).env("TERM", "xterm");
    let mut child = Ended(command.spawn().unwrap());
    drop((command, end));
    let (mut shown, mut answered, mut piece) = (Vec::new(), 0, [0; 4096]);
    // Once nobody has the other end, reading from this one fails (EIO, pty(7)).
    while let Ok(length) = rustix::io::read(&terminal, &mut piece) {
        shown.extend_from_slice(&piece[..length]);
        let text = String::from_utf8_lossy(&shown[answered..]).into_owned();
        let is_asked = text.ends_with(MORE) || text.ends_with(QUESTION);
        if let Some(answer) = answer(&text).or(is_asked.then_some("\n")) {
            answered = shown.len();
            rustix::io::write(&terminal, answer.as_bytes()).unwrap();
        }
    }
    let status = child.0.wait().unwrap();
    let shown = String::from_utf8_lossy(&shown).replace("\r\n", "\n");
    (anstream::adapter::strip_str(&shown).to_string(), status)
}

impl Network {
    /// The network `name` with its hub.
    pub(crate) fn new(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("hub");
        fs::create_dir(&state).unwrap();
        fs::write(state.join("config.toml"), "").unwrap();
        let init = ["ca", "init", "--network", name, "--pool", "10.64.0.0/24"];
        succeeds(&mut command(&state, &init));
        let port = state.join("port");
        let mut serve = command(&state, &["hub", "--listen", "127.0.0.1:0", "--port-file"]);
        let mut process = Ended(serve.arg(&port).spawn().unwrap());
        tells(&mut process, "the hub serves on");
        let hub = format!("127.0.0.1:{}", fs::read_to_string(&port).unwrap());
        Self { directory, hub, _process: process }
    }

    /// The party `name`, enrolled.
    pub(crate) fn party(&self, name: &str) -> Party {
        let directory = self.directory.path().join(name);
        fs::create_dir(&directory).unwrap();
        let party = Party { directory };
        party.configure("");
        let authority = self.directory.path().join("hub");
        let token = command(&authority, &["ca", "token", "--name", name, "--hub", &self.hub]);
        let token = { token }.output().unwrap().stdout;
        party.write("token", &token);
        succeeds(&mut party.command(&["enroll", "--token-file", "token"]));
        party
    }
}

impl Party {
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        command(&self.directory, arguments)
    }

    pub(crate) fn succeeds(&self, arguments: &[&str]) -> String {
        succeeds(&mut self.command(arguments))
    }

    pub(crate) fn fails(&self, arguments: &[&str]) -> String {
        fails(&mut self.command(arguments))
    }

    /// Fails unless a command fails because there is no session `name`.
    pub(crate) fn knows_no(&self, name: &str, arguments: &[&str]) {
        let mut command = self.command(arguments);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{command:?}: {}", said(&output));
        says(&said(&output), &[&format!("there is no session «{name}»")]);
    }

    /// Starts a command and leaves it running.
    pub(crate) fn starts(&self, arguments: &[&str]) -> Ended {
        Ended(self.command(arguments).spawn().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.path(name), content).unwrap();
    }

    /// Writes the configuration: ports that nobody else has, the tests' Python, and `more`. This
    /// machine's real network is left alone.
    pub(crate) fn configure(&self, more: &str) {
        let quiet = "[network]\nlocal-discovery = false\n";
        let more = match more.contains("[network]\n") {
            true => more.replace("[network]\n", quiet),
            false => format!("{more}\n{quiet}"),
        };
        let python = std::env::var("MPYC_PARTY_TEST_PYTHON");
        let python = python.map(|path| format!("[python]\ninterpreter = {path:?}\n"));
        let python = python.unwrap_or_default();
        self.write("config.toml", format!("[listen]\nport = 0\n{python}{more}").as_bytes());
    }

    pub(crate) fn identity(&self) -> Identity {
        Store::new(&self.directory).load().unwrap()
    }
}

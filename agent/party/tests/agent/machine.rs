//! A machine whose agent runs: its log, and what it tells the service manager.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use mpyc_party_lab::party::Party;
use rustix::process::{Pid, Signal, kill_process};

use crate::common::LIMIT;

/// What was said so far: lines of the log, and of notifications after «notify: ».
type Said = Arc<(Mutex<Vec<String>>, Condvar)>;

/// A running agent; killed when dropped.
pub(crate) struct Machine {
    child: Child,
    said: Said,
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The head of a configuration: this port, without a bus, and `agent` as more of `[agent]`.
pub(crate) fn head(port: u16, agent: &str) -> String {
    let python = std::env::var("MPYC_PARTY_TEST_PYTHON");
    let python = python.map(|path| format!("[python]\ninterpreter = {path:?}\n"));
    let python = python.unwrap_or_default();
    let bus = if agent.contains("bus =") { "" } else { "bus = \"none\"\n" };
    format!(
        "network.local-discovery = false\n[listen]\nport = {port}\n{python}[agent]\n{bus}{agent}\n"
    )
}

/// Where an agent on `port` of this machine is reached.
pub(crate) fn at(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

impl Machine {
    /// Starts the agent of `party`.
    pub(crate) fn start(party: &Party) -> Result<Self> {
        Self::start_with(party, |command| {
            command.args(["agent", "-vv"]);
        })
    }

    /// Starts the agent of `party`, whose command line `change` completes.
    pub(crate) fn start_with(party: &Party, change: impl FnOnce(&mut Command)) -> Result<Self> {
        let mut command = party.command();
        change(&mut command);
        Self::spawn(party, command.stdin(Stdio::null()).stdout(Stdio::null()))
    }

    /// Starts the agent of `party` with sockets that outlive it, as a service manager would: the
    /// public port, and where runners register.
    pub(crate) fn start_on(
        party: &Party,
        port: &TcpListener,
        registration: &OwnedFd,
    ) -> Result<Self> {
        Self::start_on_with(party, (port, registration), |_| {})
    }

    /// The same; `change` completes its environment.
    pub(crate) fn start_on_with(
        party: &Party,
        (port, registration): (&TcpListener, &OwnedFd),
        change: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        let plain = party.command();
        let mut command = Command::new("sh");
        let script = r#"LISTEN_FDS=2 LISTEN_PID=$$ exec "$@" 3<&0 4<&1 0</dev/null 1>/dev/null"#;
        command.args(["-c", script, "sh"]).arg(plain.get_program()).args(plain.get_args());
        for (name, value) in plain.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        change(&mut command);
        command.args(["agent", "-vv"]).stdin(OwnedFd::from(port.try_clone()?));
        Self::spawn(party, command.stdout(registration.try_clone()?))
    }

    fn spawn(party: &Party, command: &mut Command) -> Result<Self> {
        let said = Said::default();
        let path = party.directory().join("notify");
        let _ = fs::remove_file(&path);
        let notices = UnixDatagram::bind(&path)?;
        command.env("NOTIFY_SOCKET", &path).stderr(Stdio::piped());
        let mut child = command.spawn().context("the agent does not start")?;
        let log = BufReader::new(child.stderr.take().context("its log")?);
        let (lines, told) = (Arc::clone(&said), Arc::clone(&said));
        thread::spawn(move || log.lines().map_while(Result::ok).for_each(|l| add(&lines, l)));
        // Ends with the process of the test: a datagram socket has no end of its own.
        thread::spawn(move || {
            let mut notice = [0; 4096];
            while let Ok(length) = notices.recv(&mut notice) {
                let text = String::from_utf8_lossy(&notice[..length]).into_owned();
                text.lines().for_each(|line| add(&told, format!("notify: {line}")));
            }
        });
        Ok(Self { child, said })
    }

    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.said.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that was said so far.
    pub(crate) fn said(&self) -> String {
        self.lines().join("\n")
    }

    /// Waits until `text` is said; where in all that is said.
    pub(crate) fn tells(&self, text: &str) -> Result<usize> {
        self.tells_after(0, text)
    }

    /// Waits until `text` is said at this place or later.
    pub(crate) fn tells_after(&self, from: usize, text: &str) -> Result<usize> {
        let begun = Instant::now();
        let mut lines = self.lines();
        loop {
            let later = lines.iter().enumerate().skip(from);
            if let Some((at, _)) = later.into_iter().find(|(_, line)| line.contains(text)) {
                return Ok(at);
            }
            let left = LIMIT.saturating_sub(begun.elapsed());
            if left.is_zero() {
                bail!("the agent does not say «{text}»:\n{}", lines.join("\n"));
            }
            let waited = self.said.1.wait_timeout(lines, left);
            lines = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How much was said so far.
    pub(crate) fn now(&self) -> usize {
        self.lines().len()
    }

    /// Waits until the agent is ready.
    pub(crate) fn ready(self) -> Result<Self> {
        self.tells("notify: READY=1")?;
        Ok(self)
    }

    /// Sends the agent a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.child.id().cast_signed()).context("no such process")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Kills the agent, as a crash would.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait()?)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn add(said: &Said, line: String) {
    said.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    said.1.notify_all();
}

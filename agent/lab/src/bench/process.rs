//! Measured processes: their lines of output, their CPU time and memory, and their end.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use mpyc_party_lab::Host;
use serde::Serialize;

/// A child process, killed when dropped.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    complaints: File,
    name: String,
}

impl Process {
    /// Starts `command`; `name` is for messages.
    pub(crate) fn start(mut command: Command, name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let complaints = tempfile::tempfile()?;
        let program = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        program.stderr(complaints.try_clone()?);
        let mut child = program.spawn().with_context(|| format!("cannot start {name}"))?;
        let output = child.stdout.take().context("the child has no output")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            let mut lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.try_for_each(|line| sender.send(line))
        });
        Ok(Self { child, lines, complaints, name })
    }

    /// Its next line of output.
    pub(crate) fn line(&self, limit: Duration) -> Result<String> {
        self.lines.recv_timeout(limit).map_err(|why| anyhow!("no answer from {}: {why}", self.name))
    }

    /// Waits until it has closed its output and ended well.
    pub(crate) fn end(&mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        while self.line(deadline.saturating_duration_since(Instant::now())).is_ok() {}
        ensure!(Instant::now() < deadline, "{} does not end", self.name);
        let status = self.child.wait()?;
        ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(())
    }

    /// What it wrote to its standard error, with its name.
    pub(crate) fn complaint(&mut self) -> String {
        let mut text = format!("{}: ", self.name);
        // Whoever asks is about to report a failure; without these words it is still one.
        let _ = self.complaints.rewind().and_then(|()| self.complaints.read_to_string(&mut text));
        text
    }

    /// Writes one line of JSON to its standard input.
    pub(crate) fn tell(&mut self, what: &impl Serialize) -> Result<()> {
        let input = self.child.stdin.as_mut().context("the child has no input")?;
        serde_json::to_writer(&mut *input, what)?;
        Ok(input.write_all(b"\n")?)
    }

    /// CPU time it has used so far, user and system, in seconds (proc(5), `/proc/pid/stat`).
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let stat = self.proc("stat")?;
        let (_, fields) = stat.rsplit_once(')').context("/proc/pid/stat has no name")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
        let ticks: f64 = ticks.sum::<Result<_, _>>()?;
        Ok(ticks / rustix::param::clock_ticks_per_second() as f64)
    }

    /// The most memory it has held resident, in MB (proc(5), `VmHWM` of `/proc/pid/status`).
    pub(crate) fn peak_megabytes(&self) -> Result<f64> {
        let status = self.proc("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next());
        Ok(kibibytes.context("the child has ended")?.parse::<f64>()? * 1024.0 / 1e6)
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).with_context(|| format!("cannot read {path} of {}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program on `host`, bound to the processor of its side, so that two sides do not chase each
/// other around the machine. `taskset` becomes the program.
pub(crate) fn pinned(host: &Host, side: usize, program: &str) -> Command {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let mut command = host.command("taskset");
    command.args(["--cpu-list", &(side % processors).to_string(), program]);
    command
}

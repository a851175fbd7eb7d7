//! One `session run --json` in progress.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::processes::Process;
use crate::LabError;

/// How often a process is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Standard output and standard error.
const OUTPUTS: u8 = 2;

/// What a run has said so far.
#[derive(Debug, Default)]
struct Said {
    events: Vec<(Instant, Value)>,
    errors: String,
    /// How many of the two outputs have ended.
    closed: u8,
}

/// A runner of one party. It is killed when this is dropped.
#[derive(Debug)]
pub struct Run {
    party: String,
    child: Child,
    stdin: Option<ChildStdin>,
    said: Arc<(Mutex<Said>, Condvar)>,
}

/// How a run ended at one party.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// When the verdict was told.
    pub at: Instant,
    /// The verdict as the event has it.
    pub verdict: Value,
    /// The verdict for people.
    pub text: String,
}

impl Outcome {
    /// Whether the run completed.
    #[must_use]
    pub fn completed(&self) -> bool {
        self.verdict == "completed"
    }

    /// The failure; null if it did not fail.
    #[must_use]
    pub fn failure(&self) -> &Value {
        &self.verdict["failed"]
    }

    /// Whom the verdict names, sorted.
    #[must_use]
    pub fn who(&self) -> Vec<&str> {
        let named = self.failure()["who"].as_array().or(self.verdict["unconfirmed"].as_array());
        let mut who: Vec<&str> = named.into_iter().flatten().filter_map(Value::as_str).collect();
        who.sort_unstable();
        who
    }

    /// The kind of reason, as in «missing».
    #[must_use]
    pub fn reason(&self) -> &str {
        let reason = &self.failure()["reason"];
        let kind = || reason.as_object()?.keys().next().map(String::as_str);
        reason.as_str().or_else(kind).unwrap_or_default()
    }
}

impl Run {
    pub(super) fn start(party: &str, mut command: Command) -> Result<Self, LabError> {
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = started.spawn().map_err(LabError::io("cannot start mpyc-party"))?;
        let said = Arc::<(Mutex<Said>, Condvar)>::default();
        let (stdout, stderr, stdin) =
            (child.stdout.take(), child.stderr.take(), child.stdin.take());
        let (events, errors) = (Arc::clone(&said), Arc::clone(&said));
        thread::spawn(move || {
            let lines = stdout.into_iter().flat_map(|pipe| BufReader::new(pipe).lines());
            for line in lines.map_while(io::Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
                change(&events, |said| said.events.push((Instant::now(), event)));
            }
            change(&events, |said| said.closed += 1);
        });
        thread::spawn(move || {
            let (mut pipe, mut piece) = (stderr, [0; 4096]);
            while let Some(length) = pipe.as_mut().and_then(|p| p.read(&mut piece).ok())
                && length > 0
            {
                let text = String::from_utf8_lossy(&piece[..length]).into_owned();
                change(&errors, |said| said.errors += &text);
            }
            change(&errors, |said| said.closed += 1);
        });
        Ok(Self { party: party.into(), child, stdin, said })
    }

    /// Whose run it is.
    #[must_use]
    pub fn party(&self) -> &str {
        &self.party
    }

    /// Gives the program standard input and closes it.
    ///
    /// # Errors
    /// If the runner does not take it, or had it already.
    pub fn feed(&mut self, text: &str) -> Result<(), LabError> {
        let mut stdin = self.stdin.take().ok_or_else(|| self.error("its input is closed"))?;
        stdin.write_all(text.as_bytes()).map_err(LabError::io("cannot feed the runner"))
    }

    /// Waits for the first event of this name.
    ///
    /// # Errors
    /// If it does not come within `limit`, with all that the run has said.
    pub fn wait_for(&self, event: &str, limit: Duration) -> Result<Value, LabError> {
        self.wait_until(event, limit, |value| value["event"] == event).map(|(_, value)| value)
    }

    /// Waits for the program to write this line.
    ///
    /// # Errors
    /// If it does not come within `limit`, with all that the run has said.
    pub fn wait_for_line(&self, line: &str, limit: Duration) -> Result<(), LabError> {
        self.wait_until(line, limit, |value| value["line"] == line).map(drop)
    }

    /// Waits for the verdict.
    ///
    /// # Errors
    /// If there is none within `limit`, with all that the run has said.
    pub fn verdict(&self, limit: Duration) -> Result<Outcome, LabError> {
        let (at, event) = self.wait_until("ended", limit, |value| value["event"] == "ended")?;
        let text = event["text"].as_str().unwrap_or_default().into();
        Ok(Outcome { at, verdict: event["verdict"].clone(), text })
    }

    /// Waits for an event like this, whatever it is called for people; tells when it came.
    ///
    /// # Errors
    /// If it does not come within `limit`, with all that the run has said.
    pub fn wait_until(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<(Instant, Value), LabError> {
        self.wait_for_number(1, what, limit, wanted)
    }

    /// Waits for event number `count` of those like this, counted from 1.
    ///
    /// # Errors
    /// If it does not come within `limit`, with all that the run has said.
    pub fn wait_for_number(
        &self,
        count: usize,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<(Instant, Value), LabError> {
        let (begun, mut next, mut left) = (Instant::now(), 0, count);
        let mut said = self.lock();
        loop {
            for found in said.events[next..].iter().filter(|(_, value)| wanted(value)) {
                left = left.saturating_sub(1);
                if left == 0 {
                    return Ok(found.clone());
                }
            }
            next = said.events.len();
            let time = limit.saturating_sub(begun.elapsed());
            if said.closed == OUTPUTS || time.is_zero() {
                drop(said);
                let how = if time.is_zero() { "in time" } else { "before its end" };
                return Err(self.error(&format!("no «{what}» {how}")));
            }
            said = self.said.1.wait_timeout(said, time).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for the end of the runner and of all that holds its outputs.
    ///
    /// # Errors
    /// If it takes longer than `limit`.
    pub fn exit(&mut self, limit: Duration) -> Result<ExitStatus, LabError> {
        let begun = Instant::now();
        loop {
            let status = self.child.try_wait().map_err(LabError::io("cannot wait for a runner"))?;
            match status {
                Some(status) if self.lock().closed == OUTPUTS => return Ok(status),
                _ if begun.elapsed() > limit => return Err(self.error("does not end")),
                _ => thread::sleep(POLL_INTERVAL),
            }
        }
    }

    /// The runner's process.
    ///
    /// # Errors
    /// None in practice: a child has a number.
    pub fn runner(&self) -> Result<Process, LabError> {
        Process::of(self.child.id()).ok_or_else(|| self.error("no such process"))
    }

    /// The first process of the sandbox.
    ///
    /// # Errors
    /// If there is none now.
    pub fn init(&self) -> Result<Process, LabError> {
        self.only_child(self.runner()?)
    }

    /// The process that runs MPyC.
    ///
    /// # Errors
    /// If there is none now.
    pub fn payload(&self) -> Result<Process, LabError> {
        self.only_child(self.init()?)
    }

    fn only_child(&self, parent: Process) -> Result<Process, LabError> {
        match parent.children()[..] {
            [child] => Ok(child),
            ref children => {
                Err(self.error(&format!("process {} has children {children:?}", parent.id())))
            }
        }
    }

    /// The events so far, and when they came.
    #[must_use]
    pub fn events(&self) -> Vec<(Instant, Value)> {
        self.lock().events.clone()
    }

    /// Everything that was written so far: events as JSON, and standard error.
    #[must_use]
    pub fn said(&self) -> String {
        let said = self.lock();
        let events: String = said.events.iter().map(|(_, event)| format!("  {event}\n")).collect();
        events + &said.errors
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn error(&self, problem: &str) -> LabError {
        let problem = problem.to_owned();
        LabError::Run { party: self.party.clone(), problem, said: self.said() }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // It may have ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn change(said: &(Mutex<Said>, Condvar), change: impl FnOnce(&mut Said)) {
    change(&mut said.0.lock().unwrap_or_else(PoisonError::into_inner));
    said.1.notify_all();
}

//! The running sandbox as the runner sees it: stops, continuations, its end, and killing it.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use serde::{Deserialize, Serialize};
use tokio::net::unix::pipe;
use tokio::signal::unix::{Signal as Changes, SignalKind, signal};

/// How the sandboxed program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It returned this status; 0 is success.
    Status(i32),
    /// This signal ended it.
    Signal(i32),
}

/// What happened to the sandboxed program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It, or process 1 of its sandbox, was stopped: it computes no more until continued.
    Stopped,
    /// It continues.
    Continued,
    /// It ended; nothing of it is left.
    Exited(Exit),
}

/// Size of an event in the pipe from init: a letter and a number.
const EVENT_SIZE: usize = 5;

impl Event {
    pub(crate) fn to_bytes(self) -> [u8; EVENT_SIZE] {
        let (letter, number) = match self {
            Self::Stopped => (b'T', 0),
            Self::Continued => (b'C', 0),
            Self::Exited(Exit::Status(status)) => (b'E', status),
            Self::Exited(Exit::Signal(signal)) => (b'K', signal),
        };
        let [a, b, c, d] = number.to_le_bytes();
        [letter, a, b, c, d]
    }

    fn from_bytes([letter, a, b, c, d]: [u8; EVENT_SIZE]) -> io::Result<Self> {
        let number = i32::from_le_bytes([a, b, c, d]);
        match letter {
            b'T' => Ok(Self::Stopped),
            b'C' => Ok(Self::Continued),
            b'E' => Ok(Self::Exited(Exit::Status(number))),
            b'K' => Ok(Self::Exited(Exit::Signal(number))),
            _ => Err(io::Error::other("process 1 of the sandbox reports nonsense")),
        }
    }
}

/// Whether to wait for a change or to look for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Block,
    Look,
}

/// The next change of state of a child, if there is one.
pub(crate) fn wait(child: Pid, wait: Wait) -> io::Result<Option<Event>> {
    let mut options = WaitIdOptions::EXITED | WaitIdOptions::STOPPED | WaitIdOptions::CONTINUED;
    if wait == Wait::Look {
        options |= WaitIdOptions::NOHANG;
    }
    let status = match rustix::process::waitid(WaitId::Pid(child), options) {
        Ok(Some(status)) => status,
        Ok(None) | Err(Errno::INTR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(if let Some(status) = status.exit_status() {
        Some(Event::Exited(Exit::Status(status)))
    } else if let Some(signal) = status.terminating_signal() {
        Some(Event::Exited(Exit::Signal(signal)))
    } else if status.stopped() {
        Some(Event::Stopped)
    } else if status.continued() {
        Some(Event::Continued)
    } else {
        None
    })
}

/// A running sandbox. Dropping it kills and reaps everything in it.
#[derive(Debug)]
pub struct Process {
    /// Process 1, through which the whole sandbox is held: the number of no other process until it is
    /// reaped.
    init: Pid,
    reaped: bool,
    reports: Reports,
    /// What init reported last of all.
    reported: Option<Exit>,
    ended: Option<Exit>,
}

/// The pipe from init; tokio's as soon as there is a tokio, and gone at its end.
#[derive(Debug)]
enum Reports {
    Unwatched(OwnedFd),
    Watched(pipe::Receiver, Changes),
    Ended(Changes),
    Unusable,
}

impl Process {
    pub(crate) fn new(init: Pid, reports: OwnedFd) -> Self {
        let reports = Reports::Unwatched(reports);
        Self { init, reaped: false, reports, reported: None, ended: None }
    }

    /// Waits for the next event; after the end returns [`Event::Exited`] for ever. May be
    /// cancelled. A program stopped or killed from outside is reported at once, and so is process
    /// 1 of its sandbox; the end is reported when nothing of the sandbox is left.
    ///
    /// # Errors
    /// When this is no tokio runtime with I/O enabled, or the kernel answers nonsense.
    pub async fn next_event(&mut self) -> io::Result<Event> {
        self.reports.watch()?;
        loop {
            if let Some(exit) = self.ended {
                return Ok(Event::Exited(exit));
            }
            if let Some(event) = self.next_report()? {
                return Ok(event);
            }
            match wait(self.init, Wait::Look)? {
                Some(Event::Exited(exit)) => {
                    self.reaped = true;
                    // What init wrote last may be newer than the report read above.
                    while self.next_report()?.is_some() {}
                    self.ended = Some(self.reported.unwrap_or(exit));
                }
                Some(event) => return Ok(event),
                None => self.reports.changed().await?,
            }
        }
    }

    /// The next report of init that is there, but for the program's end: that is only kept, until
    /// init has ended too.
    fn next_report(&mut self) -> io::Result<Option<Event>> {
        while let Some(event) = self.reports.read()? {
            match event {
                Event::Exited(exit) => self.reported = Some(exit),
                event => return Ok(Some(event)),
            }
        }
        Ok(None)
    }

    /// Kills everything in the sandbox; frozen processes too. The end is an event like any other.
    pub fn kill(&mut self) {
        if !self.reaped {
            // Fails only where it has ended already.
            let _ended = rustix::process::kill_process(self.init, Signal::KILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        while !self.reaped {
            match wait(self.init, Wait::Block) {
                Ok(Some(Event::Exited(_))) | Err(_) => self.reaped = true,
                Ok(_) => {}
            }
        }
    }
}

impl Reports {
    /// Hands the pipe to tokio, and listens for changes before anyone looks for them.
    fn watch(&mut self) -> io::Result<()> {
        if let Self::Unwatched(_) = self {
            let changes = signal(SignalKind::child())?;
            if let Self::Unwatched(pipe) = std::mem::replace(self, Self::Unusable) {
                *self = Self::Watched(pipe::Receiver::from_owned_fd(pipe)?, changes);
            }
        }
        Ok(())
    }

    /// The next whole report, if there is one: init writes each at once. Where tokio has none the
    /// kernel is asked, for tokio may not have noticed yet what init wrote before it ended.
    fn read(&mut self) -> io::Result<Option<Event>> {
        let Self::Watched(pipe, _) = self else { return Ok(None) };
        let mut report = [0; EVENT_SIZE];
        let length = pipe.try_read(&mut report).or_else(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Ok(rustix::io::read(&*pipe, &mut report)?),
            _ => Err(error),
        });
        match length {
            Ok(0) => {
                if let Self::Watched(_, changes) = std::mem::replace(self, Self::Unusable) {
                    *self = Self::Ended(changes);
                }
                Ok(None)
            }
            Ok(_) => Event::from_bytes(report).map(Some),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits until there may be something to see, in the pipe or about init.
    async fn changed(&mut self) -> io::Result<()> {
        match self {
            Self::Watched(pipe, changes) => tokio::select! {
                _ = changes.recv() => Ok(()),
                ready = pipe.readable() => ready,
            },
            Self::Ended(changes) => {
                changes.recv().await;
                Ok(())
            }
            Self::Unwatched(_) | Self::Unusable => Err(io::Error::other("sandbox not watched")),
        }
    }
}

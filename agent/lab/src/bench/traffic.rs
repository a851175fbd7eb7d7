//! Measured traffic over one connection, between two processes.
//!
//! `serve` prints a line when it listens, takes one connection and answers it. `drive` dials, then
//! reads a [`Task`] a line from standard input and prints a [`Report`] a line. Each request on the
//! connection is one byte for the kind and eight for the count; nothing else is on it.

use std::io::{self, BufRead, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use serde::{Deserialize, Serialize};

/// One write of bulk traffic, as long as the buffers of a link.
const PIECE: usize = 64 * 1024;
/// One message of a round trip.
const MESSAGE: usize = 64;
const BULK: u8 = b'B';
const PING: u8 = b'P';

/// Which end a process is.
#[derive(Subcommand)]
pub(crate) enum End {
    /// Listen, and answer one connection.
    Serve {
        /// IP:PORT, or the path of a Unix socket.
        address: Address,
    },
    /// Dial, and do the tasks on standard input.
    Drive {
        /// IP:PORT, or the path of a Unix socket.
        address: Address,
    },
}

/// Where an end listens or dials: `IP:PORT`, or the path of a Unix socket.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = std::net::AddrParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with('/') {
            Ok(Self::Unix(text.into()))
        } else {
            text.parse().map(Self::Tcp)
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// What `drive` is asked to do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Send this many bytes and wait until all have arrived.
    Bulk(u64),
    /// Send a message and wait for its echo, this many times.
    Ping(u64),
}

/// How long it took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// Seconds from the first byte sent to the arrival of the last.
    Bulk { seconds: f64 },
    /// Microseconds of a round trip: half were faster, 99 of 100 were faster.
    Ping { p50: f64, p99: f64 },
}

/// Runs one end until the other is gone.
pub(crate) fn run(end: End) -> Result<()> {
    match end {
        End::Serve { address } => serve(&address),
        End::Drive { address } => drive(&address),
    }
}

fn serve(address: &Address) -> Result<()> {
    let cannot = || format!("cannot listen on {address}");
    match address {
        Address::Tcp(tcp) => {
            let listener = TcpListener::bind(tcp).with_context(cannot)?;
            say(&"listening")?;
            let (stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            answer(stream)
        }
        Address::Unix(path) => {
            let listener = UnixListener::bind(path).with_context(cannot)?;
            say(&"listening")?;
            answer(listener.accept()?.0)
        }
    }
}

fn drive(address: &Address) -> Result<()> {
    let cannot = || format!("cannot reach {address}");
    match address {
        Address::Tcp(tcp) => {
            let stream = TcpStream::connect(tcp).with_context(cannot)?;
            stream.set_nodelay(true)?;
            ask(stream)
        }
        Address::Unix(path) => ask(UnixStream::connect(path).with_context(cannot)?),
    }
}

/// Answers requests until the driver closes the connection.
fn answer(mut stream: impl Read + Write) -> Result<()> {
    let mut piece = vec![0; PIECE];
    let mut request = [0; 9];
    loop {
        match stream.read_exact(&mut request) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        let [kind, count @ ..] = request;
        let count = u64::from_le_bytes(count);
        match kind {
            BULK => {
                swallow(&mut stream, &mut piece, count)?;
                stream.write_all(&[BULK])?;
            }
            PING => {
                for _ in 0..count {
                    stream.read_exact(&mut piece[..MESSAGE])?;
                    stream.write_all(&piece[..MESSAGE])?;
                }
            }
            other => bail!("the driver asked for {other:#x}, which is no request"),
        }
    }
}

fn swallow(stream: &mut impl Read, piece: &mut [u8], mut left: u64) -> io::Result<()> {
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        match stream.read(&mut piece[..length])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => left -= n as u64,
        }
    }
    Ok(())
}

fn ask(mut stream: impl Read + Write) -> Result<()> {
    for line in io::stdin().lock().lines() {
        let report = match serde_json::from_str(&line?)? {
            Task::Bulk(bytes) => bulk(&mut stream, bytes)?,
            Task::Ping(count) => ping(&mut stream, count)?,
        };
        say(&report)?;
    }
    Ok(())
}

fn request(stream: &mut impl Write, kind: u8, count: u64) -> io::Result<()> {
    let mut bytes = [kind; 9];
    bytes[1..].copy_from_slice(&count.to_le_bytes());
    stream.write_all(&bytes)
}

fn bulk(stream: &mut (impl Read + Write), bytes: u64) -> Result<Report> {
    let piece = vec![0x5a; PIECE];
    let begun = Instant::now();
    request(stream, BULK, bytes)?;
    let mut left = bytes;
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        stream.write_all(&piece[..length])?;
        left -= length as u64;
    }
    stream.read_exact(&mut [0])?;
    Ok(Report::Bulk { seconds: begun.elapsed().as_secs_f64() })
}

fn ping(stream: &mut (impl Read + Write), count: u64) -> Result<Report> {
    let mut message = [0x5a; MESSAGE];
    let mut micros = Vec::new();
    request(stream, PING, count)?;
    for _ in 0..count {
        let begun = Instant::now();
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
        micros.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    micros.sort_by(f64::total_cmp);
    let at = |percent: usize| micros.get(micros.len() * percent / 100).copied().unwrap_or(0.0);
    Ok(Report::Ping { p50: at(50), p99: at(99) })
}

/// Prints one line of JSON at once.
pub(crate) fn say(what: &impl Serialize) -> Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, what)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

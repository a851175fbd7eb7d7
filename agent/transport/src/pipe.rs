//! Carries the bytes of one local connection over one connection to a peer, for as long as both
//! last.
//!
//! Bytes go in pieces with their length before them. A length of its own says that a direction has
//! ended, for the other may go on; another, that this end is still there, so that NATs and relays
//! on the way do not forget the connection, and a peer that has vanished is noticed. What the peer
//! does not read waits: there is one buffer for each direction.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, split};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use crate::Traffic;

/// Bytes of one piece, its length included.
const MAX_PIECE_BYTES: usize = 64 * 1024;
/// Bytes of a length.
const HEAD_BYTES: usize = 4;
/// The length that says: still here.
const KEEPALIVE: u32 = 0;
/// The length that says: this direction has ended.
const END: u32 = u32::MAX;
/// How often an end that has nothing to say says that it is there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How long the peer may say nothing at all.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the peer may take to hang up when all is said.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a pipe ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The connection to the peer.
    #[error("the connection broke: {0}")]
    Peer(io::Error),
    /// The peer hung up in the middle.
    #[error("the other end broke it off")]
    Cut,
    /// Nothing was heard of the peer.
    #[error("nothing was heard of the other end for {} s", SILENCE_TIMEOUT.as_secs())]
    Silent,
    /// The peer sends something that is no piece.
    #[error("the other end speaks something else")]
    Malformed,
    /// The local side.
    #[error("the local side: {0}")]
    Local(io::Error),
}

/// Pieces that say nothing, `least` bytes of them: they fill packets, and every reader skips them.
#[must_use]
pub fn filler(least: usize) -> Vec<u8> {
    KEEPALIVE.to_be_bytes().repeat(least.div_ceil(HEAD_BYTES))
}

/// Carries what `reader` says to the peer, and what the peer says to `writer`, until both directions
/// have ended. The writer is dropped when the peer's direction ends.
///
/// # Errors
/// Says what broke.
pub async fn carry(
    peer: impl AsyncRead + AsyncWrite + Unpin,
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    traffic: &Traffic,
) -> Result<(), Broken> {
    let (from_peer, mut to_peer) = split(peer);
    let mut from_peer = BufReader::with_capacity(MAX_PIECE_BYTES, from_peer);
    let (said, heard) = (AtomicBool::new(false), Notify::new());
    let outward = outward(reader, &mut to_peer, (&said, &heard), &traffic.sent);
    let inward = async {
        inward(&mut from_peer, writer, &traffic.received).await?;
        heard.notify_one();
        hang_up(&mut from_peer, &said).await
    };
    tokio::pin!(outward, inward);
    tokio::select! {
        done = &mut outward => {
            done?;
            // Everything is said and heard: a peer that does not hang up is left.
            timeout(CLOSE_TIMEOUT, inward).await.unwrap_or(Ok(()))
        }
        done = &mut inward => {
            done?;
            outward.await
        }
    }
}

/// Says what the local side says and that it has `said` all, and then that this end is there until
/// the peer's end is `heard` as well.
async fn outward(
    mut reader: impl AsyncRead + Unpin,
    peer: &mut (impl AsyncWrite + Unpin),
    (said, heard): (&AtomicBool, &Notify),
    sent: &AtomicU64,
) -> Result<(), Broken> {
    let mut piece = vec![0; MAX_PIECE_BYTES];
    let mut due = Instant::now() + KEEPALIVE_INTERVAL;
    let mut open = true;
    loop {
        let (head, length) = tokio::select! {
            // That the local side has gone without a word is an end as well.
            read = reader.read(&mut piece[HEAD_BYTES..]), if open => match read.unwrap_or(0) {
                0 => (END, 0),
                // A piece is far smaller than that.
                length => (u32::try_from(length).unwrap_or(END), length),
            },
            () = sleep_until(due) => (KEEPALIVE, 0),
            () = heard.notified(), if !open => return peer.shutdown().await.map_err(Broken::Peer),
        };
        piece[..HEAD_BYTES].copy_from_slice(&head.to_be_bytes());
        peer.write_all(&piece[..HEAD_BYTES + length]).await.map_err(Broken::Peer)?;
        peer.flush().await.map_err(Broken::Peer)?;
        sent.fetch_add(length as u64, Ordering::Relaxed);
        due = Instant::now() + KEEPALIVE_INTERVAL;
        if head == END {
            open = false;
            said.store(true, Ordering::Relaxed);
        }
    }
}

/// Says to the local side what the peer says, until the peer's end.
async fn inward(
    peer: &mut BufReader<impl AsyncRead + Unpin>,
    mut writer: impl AsyncWrite + Unpin,
    received: &AtomicU64,
) -> Result<(), Broken> {
    let mut piece = vec![0; MAX_PIECE_BYTES];
    let mut gone: Option<(Instant, io::Error)> = None;
    loop {
        let mut head = [0; HEAD_BYTES];
        heard(peer.read_exact(&mut head)).await?;
        // What the local side said last may still be on its way to the peer.
        if gone.as_ref().is_some_and(|(since, _)| since.elapsed() > CLOSE_TIMEOUT)
            && let Some((_, error)) = gone
        {
            return Err(Broken::Local(error));
        }
        let length = match u32::from_be_bytes(head) {
            KEEPALIVE => continue,
            END => {
                // One that has gone misses nothing; one that is there and takes no more lost something.
                let _ = writer.shutdown().await;
                return match gone {
                    Some((_, error)) if !is_gone(&error) => Err(Broken::Local(error)),
                    _ => Ok(()),
                };
            }
            length => usize::try_from(length)
                .ok()
                .filter(|length| *length <= MAX_PIECE_BYTES - HEAD_BYTES),
        };
        let piece = &mut piece[..length.ok_or(Broken::Malformed)?];
        heard(peer.read_exact(piece)).await?;
        received.fetch_add(piece.len() as u64, Ordering::Relaxed);
        if gone.is_none()
            && let Err(error) = pass(&mut writer, piece).await
        {
            gone = Some((Instant::now(), error));
        }
    }
}

/// Whether the local side has ended by itself.
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected)
}

async fn pass(writer: &mut (impl AsyncWrite + Unpin), piece: &[u8]) -> io::Result<()> {
    writer.write_all(piece).await?;
    writer.flush().await
}

/// What is read, if the peer says anything in time.
async fn heard<T>(read: impl Future<Output = io::Result<T>>) -> Result<T, Broken> {
    match timeout(SILENCE_TIMEOUT, read).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Broken::Cut),
        read => read.map_err(|_| Broken::Silent)?.map_err(Broken::Peer),
    }
}

/// The peer has said all: until this end has as well, the peer only says that it is there. Then it
/// hangs up, and so does this end; who is earlier may cut off what is still on its way.
async fn hang_up(peer: &mut (impl AsyncRead + Unpin), said: &AtomicBool) -> Result<(), Broken> {
    let mut head = [0; HEAD_BYTES];
    loop {
        match heard(peer.read_exact(&mut head)).await {
            Ok(_) if head == KEEPALIVE.to_be_bytes() => {}
            Ok(_) => return Err(Broken::Malformed),
            Err(Broken::Cut) if said.load(Ordering::Relaxed) => return Ok(()),
            Err(broken) => return Err(broken),
        }
    }
}

#[cfg(test)]
mod tests;

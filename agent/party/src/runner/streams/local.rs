//! The runner's end of a socket pair, watched for reading only.
//!
//! A Unix socket reports that it can be written each time its other end has read (`unix(7)` knows
//! no threshold here): watched for writing, it would wake the runner once more for every message.
//! Writing is therefore tried at once, and waited for only where the socket is full.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::{SendFlags, Shutdown, send, shutdown};
use tokio::io::AsyncWrite;
use tokio::net::unix::pipe;

/// Reads what the local process sends.
pub(super) type Reader = pipe::Receiver;

/// Writes to the local process.
#[derive(Debug)]
pub(super) struct Writer {
    socket: OwnedFd,
    /// Watches for room; only there while the socket is full.
    full: Option<pipe::Sender>,
}

/// Splits the runner's end of a socket pair; inside a tokio runtime.
pub(super) fn split(socket: UnixStream) -> io::Result<(Reader, Writer)> {
    socket.set_nonblocking(true)?;
    let writer = Writer { socket: socket.try_clone()?.into(), full: None };
    // It is no pipe, but is read like one.
    Ok((Reader::from_owned_fd_unchecked(socket.into())?, writer))
}

impl AsyncWrite for Writer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some(full) = &mut self.full {
                let written = ready!(Pin::new(full).poll_write(context, buffer));
                self.full = None;
                return Poll::Ready(written);
            }
            match send(&self.socket, buffer, SendFlags::NOSIGNAL) {
                Ok(length) => return Poll::Ready(Ok(length)),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    let socket = self.socket.try_clone()?;
                    self.full = Some(pipe::Sender::from_owned_fd_unchecked(socket)?);
                }
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // An end that is closed already is what was wanted.
        Poll::Ready(match shutdown(&self.socket, Shutdown::Write) {
            Err(error) if error != rustix::io::Errno::NOTCONN => Err(error.into()),
            _ => Ok(()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn more_than_the_socket_holds_arrives_whole() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (_reader, mut writer) = split(ours).unwrap();
        let sent: Vec<u8> = (0..4_000_000_u32).map(|i| i.to_le_bytes()[1]).collect();
        let read = std::thread::spawn(move || {
            let mut received = Vec::new();
            theirs.read_to_end(&mut received).unwrap();
            received
        });
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
        assert!(read.join().unwrap() == sent);
    }

    #[tokio::test]
    async fn each_direction_ends_by_itself() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut reader, mut writer) = split(ours).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let mut buffer = Vec::new();
        assert_eq!(reader.read_to_end(&mut buffer).await.unwrap(), 0);
        writer.write_all(b"still").await.unwrap();
        drop(theirs);
        let error = writer.write_all(b"gone").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}

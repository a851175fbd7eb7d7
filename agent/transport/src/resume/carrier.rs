//! The carrier that a stream has at the moment.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use mpyc_party_core::stream::{Epoch, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes read at once: smaller ones cost more system calls per byte, larger ones gain nothing.
const BUFFER_BYTES: usize = 64 * 1024;

/// A frame of which so many bytes are to come is read by itself; several smaller ones at once.
const MIN_DIRECT_READ_BYTES: usize = BUFFER_BYTES / 4;

/// A carrier, and what was read from it.
pub(super) struct Carrier<C> {
    pub(super) epoch: Epoch,
    io: C,
    buffer: Box<[u8]>,
    /// What is read and not done with.
    start: usize,
    end: usize,
    /// Whether it holds bytes that it may not have sent on.
    unflushed: bool,
    /// Whether it has taken all that there was.
    idle: bool,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Carrier<C> {
    pub(super) fn new(epoch: Epoch, io: C) -> Self {
        let buffer = vec![0; BUFFER_BYTES].into();
        Self { epoch, io, buffer, start: 0, end: 0, unflushed: false, idle: false }
    }

    /// Whether it waits for the local side.
    pub(super) fn is_idle(&self) -> bool {
        self.idle
    }

    /// Sends all that the stream has for it; ready when that is on its way. Whether it had not been
    /// before.
    pub(super) fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut Stream,
    ) -> Poll<io::Result<bool>> {
        let was_idle = std::mem::replace(&mut self.idle, false);
        loop {
            let bytes = stream.transmit(self.epoch);
            if bytes.is_empty() {
                break;
            }
            let length = ready!(Pin::new(&mut self.io).poll_write(context, bytes))?;
            if length == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            stream.transmitted(self.epoch, length);
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(context))?;
            self.unflushed = false;
        }
        self.idle = true;
        Poll::Ready(Ok(!was_idle))
    }

    /// Reads more behind what is [`Self::unread`], which is less than a head: of a large frame no
    /// more than its rest, so that the next is read, and reaches the local side, in one piece.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        until_head: usize,
    ) -> Poll<io::Result<()>> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let most = if until_head < MIN_DIRECT_READ_BYTES {
            BUFFER_BYTES
        } else {
            BUFFER_BYTES.min(until_head)
        };
        let mut buffer = ReadBuf::new(&mut self.buffer[self.end..most]);
        ready!(Pin::new(&mut self.io).poll_read(context, &mut buffer))?;
        let length = buffer.filled().len();
        if length == 0 {
            let text = "the connection ended, and not the stream";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, text)));
        }
        self.end += length;
        Poll::Ready(Ok(()))
    }

    /// What was read and is not done with.
    pub(super) fn unread(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// The first `length` bytes of what was unread are done with.
    pub(super) fn done(&mut self, length: usize) {
        self.start = (self.start + length).min(self.end);
    }

    pub(super) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

//! What the local process hears.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::Fault;

/// The writer to the local process, behind the check of the first two bytes.
pub(super) struct Inward<W> {
    /// Not there once the process has heard the end, or has gone.
    writer: Option<W>,
    /// What is to come first, until it has come.
    expected: Option<[u8; 2]>,
    heard: [u8; 2],
    /// How much of it has come, and how much of that was passed on.
    count: usize,
    passed: usize,
    ended: bool,
}

impl<W: AsyncWrite + Unpin> Inward<W> {
    pub(super) fn new(writer: W, expected: Option<[u8; 2]>) -> Self {
        let writer = Some(writer);
        Self { writer, expected, heard: [0; 2], count: 0, passed: 0, ended: false }
    }

    /// Takes some of `data`; all of it where the process has gone.
    pub(super) fn poll_take(
        &mut self,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, Fault>> {
        let Some(expected) = self.expected else {
            return self.poll_write(context, data).map(Ok);
        };
        let length = data.len().min(2 - self.count);
        self.heard[self.count..self.count + length].copy_from_slice(&data[..length]);
        self.count += length;
        if self.count == 2 {
            if self.heard != expected {
                return Poll::Ready(Err(Fault::Beginning { heard: self.heard, expected }));
            }
            self.expected = None;
        }
        Poll::Ready(Ok(length))
    }

    fn poll_write(&mut self, context: &mut Context<'_>, data: &[u8]) -> Poll<usize> {
        let Some(writer) = &mut self.writer else { return Poll::Ready(data.len()) };
        match ready!(Pin::new(writer).poll_write(context, data)) {
            Ok(length @ 1..) => Poll::Ready(length),
            Ok(0) | Err(_) => {
                self.writer = None;
                Poll::Ready(data.len())
            }
        }
    }

    /// The peer sends no more.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        self.ended = true;
        if self.expected.is_some() { Err(Fault::NoBeginning) } else { Ok(()) }
    }

    /// Whether the peer sends no more.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Passes on what was held back, and the end; ready when all that came was passed on.
    pub(super) fn poll_settle(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.expected.is_none() {
            while self.passed < self.count {
                let heard = self.heard;
                self.passed += ready!(self.poll_write(context, &heard[self.passed..self.count]));
            }
        }
        if self.ended
            && let Some(writer) = &mut self.writer
        {
            // A process that has gone needs no end.
            let _ = ready!(Pin::new(writer).poll_shutdown(context));
            self.writer = None;
        }
        Poll::Ready(())
    }
}

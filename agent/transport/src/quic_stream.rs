//! One stream of a QUIC connection, which ends like a TLS connection does: properly when it is
//! shut down, broken when it is dropped without.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use mpyc_party_core::verdict::Remark;
use quinn::{ConnectionError, ReadError, RecvStream, SendStream, StoppedError, VarInt, WriteError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Why a stream is reset: its holder dropped it.
const DROPPED: VarInt = VarInt::from_u32(1);
/// Why a stream is reset: it is for nothing that is known here.
pub(crate) const REFUSED: VarInt = VarInt::from_u32(2);

type Delivery = Pin<Box<dyn Future<Output = Result<Option<VarInt>, StoppedError>> + Send + Sync>>;

/// Bytes in both directions on a connection to a verified other end.
pub struct QuicStream {
    send: SendStream,
    recv: RecvStream,
    end: End,
}

/// How far the end of what is sent has come.
enum End {
    /// More may be written.
    Open,
    /// The end is said; the future completes when the other end has everything.
    Said(Delivery),
    /// The other end has everything.
    Delivered,
}

impl QuicStream {
    pub(crate) fn new(send: SendStream, recv: RecvStream) -> Self {
        Self { send, recv, end: End::Open }
    }
}

impl Drop for QuicStream {
    fn drop(&mut self) {
        if matches!(self.end, End::Open) {
            // Fails only when the stream is over already.
            let _ = self.send.reset(DROPPED);
        }
    }
}

impl AsyncRead for QuicStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.recv.poll_read_buf(context, buffer);
        read.map_err(|error| match error {
            ReadError::Reset(_) => {
                io::Error::new(io::ErrorKind::UnexpectedEof, "the other end broke the stream off")
            }
            ReadError::ConnectionLost(why) => {
                io::Error::new(io::ErrorKind::UnexpectedEof, close_reason(&why))
            }
            other => other.into(),
        })
    }
}

impl AsyncWrite for QuicStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.send).poll_write(context, bytes);
        written.map_err(|error| match error {
            WriteError::Stopped(_) => unread(),
            WriteError::ConnectionLost(why) => lost(&why),
            other => other.into(),
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends what is sent, and waits until the other end has all of it: then the connection may be
    /// closed.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.end, End::Open) {
            // Fails when the other end has stopped it, which the future then says.
            let _ = self.send.finish();
            self.end = End::Said(Box::pin(self.send.stopped()));
        }
        let End::Said(delivery) = &mut self.end else { return Poll::Ready(Ok(())) };
        let outcome = ready!(delivery.as_mut().poll(context));
        self.end = End::Delivered;
        Poll::Ready(match outcome {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(unread()),
            Err(StoppedError::ConnectionLost(why)) => Err(lost(&why)),
            Err(other) => Err(other.into()),
        })
    }
}

/// The other end has dropped its stream.
fn unread() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the other end does not read any more")
}

fn lost(why: &ConnectionError) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, close_reason(why))
}

impl fmt::Debug for QuicStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QuicStream").field(&self.send.id()).finish()
    }
}

/// Why a connection is over. What the other end says of it is cleaned and shortened.
pub(crate) fn close_reason(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ApplicationClosed(close) if close.reason.is_empty() => {
            "the other end closed the connection".to_owned()
        }
        ConnectionError::ApplicationClosed(close) => {
            let why = Remark::from(String::from_utf8_lossy(&close.reason));
            format!("the other end closed the connection: {why}")
        }
        ConnectionError::LocallyClosed => "the connection was closed here".to_owned(),
        ConnectionError::TimedOut => "the other end went silent".to_owned(),
        ConnectionError::Reset => "the other end does not know the connection any more".to_owned(),
        other => format!("the connection broke: {}", Remark::from(other.to_string())),
    }
}

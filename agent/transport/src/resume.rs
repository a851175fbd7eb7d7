//! Carries one stream over a succession of carriers, so that the local process notices none of
//! their ends.
//!
//! [`carry`] is the pump around the machine of [`mpyc_party_core::stream`]: one task for each
//! stream, between a local reader and writer and whatever carrier is there. Its owner holds the
//! [`Handle`] and brings the carriers. Both ends do the same, whoever dialled:
//!
//! 1. [`Handle::fence`] ends what came before and says what to tell the peer: in the opening
//!    message of the carrier, or in the answer to that.
//! 2. [`Handle::attach`] hands over the carrier with what the peer told.
//!
//! A carrier that ends or fails is an [`Event::Cut`]; the stream then waits for the next, and its
//! owner decides for how long. Dropping the last handle, or the future, ends it.

mod carrier;
mod local;
mod pump;
#[cfg(test)]
mod tests;
mod watch;

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use mpyc_party_core::stream::{Epoch, Fenced, Stream, Violation};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

use crate::Traffic;
use pump::Pump;

/// The local process's side of a stream.
#[derive(Debug)]
pub struct Local<R, W> {
    /// What the local process sends. A failure is an end like any other: the process has gone.
    pub reader: R,
    /// What it hears. Where it has gone, what the peer still says is dropped.
    pub writer: W,
    /// What the peer's bytes must begin with; not one of them is passed on before that was checked.
    pub beginning: Option<[u8; 2]>,
    /// Counts the bytes; streams may share it.
    pub traffic: Arc<Traffic>,
}

/// What happens to a stream.
#[derive(Debug)]
pub enum Event {
    /// The current carrier broke, or ended without the stream's end: another is needed.
    Cut {
        /// The carrier's epoch.
        epoch: Epoch,
        /// How it broke.
        why: io::Error,
    },
    /// The peer sends no more.
    PeerEnded,
    /// Both directions have ended and both ends have all of it. The peer may not know that yet: a
    /// carrier that it opens for this stream is answered as before.
    Finished,
}

/// What a peer did that ends the stream, and is its fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It broke the protocol.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// Its stream begins with other bytes than it must.
    #[error("the peer's stream begins with {heard:?} instead of {expected:?}")]
    Beginning {
        /// What it begins with.
        heard: [u8; 2],
        /// [`Local::beginning`].
        expected: [u8; 2],
    },
    /// Its stream ended before what it must begin with.
    #[error("the peer's stream ends before its first two bytes")]
    NoBeginning,
}

/// Why a carrier is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Declined {
    /// A newer one has come.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// The stream is not carried any more.
    #[error("the stream is over")]
    Over,
}

/// What a handle asks of the pump.
enum Command<C> {
    Fence(Epoch, oneshot::Sender<Result<u64, Fenced>>),
    Attach { epoch: Epoch, received: u64, carrier: C, reply: oneshot::Sender<Result<(), Fenced>> },
}

/// Brings carriers to a stream.
#[derive(Debug)]
pub struct Handle<C>(mpsc::Sender<Command<C>>);

impl<C> Clone for Handle<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Where the pump gets its carriers from.
pub struct Carriers<C>(mpsc::Receiver<Command<C>>);

/// A handle, and what [`carry`] takes of it.
#[must_use]
pub fn channel<C>() -> (Handle<C>, Carriers<C>) {
    let (sender, receiver) = mpsc::channel(1);
    (Handle(sender), Carriers(receiver))
}

impl<C> Handle<C> {
    /// Ends all carriers before `epoch` and returns what to tell the peer on the new one: what this
    /// end has received. Nothing is carried from now on until the new one is attached, so it should
    /// be connected already.
    ///
    /// # Errors
    /// When the stream is at this epoch or a newer one, or over.
    pub async fn fence(&self, epoch: Epoch) -> Result<u64, Declined> {
        self.ask(|reply| Command::Fence(epoch, reply)).await
    }

    /// The carrier of an epoch that was fenced, and what the peer told on it. It is dropped where
    /// another has overtaken it.
    ///
    /// # Errors
    /// When a newer epoch was fenced, or the stream is over, as it is after an impossible `received`.
    pub async fn attach(&self, epoch: Epoch, received: u64, carrier: C) -> Result<(), Declined> {
        self.ask(|reply| Command::Attach { epoch, received, carrier, reply }).await
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, Fenced>>) -> Command<C>,
    ) -> Result<T, Declined> {
        let (reply, answer) = oneshot::channel();
        self.0.send(command(reply)).await.map_err(|_| Declined::Over)?;
        Ok(answer.await.map_err(|_| Declined::Over)??)
    }
}

/// Carries `stream` between `local` and the carriers until all handles are dropped, and tells what
/// happens to it. It may be dropped at any moment.
///
/// # Errors
/// Says what the peer did that it may not.
pub async fn carry<R, W, C>(
    stream: Stream,
    local: Local<R, W>,
    carriers: Carriers<C>,
    tell: impl FnMut(Event),
) -> Result<(), Fault>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    C: AsyncRead + AsyncWrite + Unpin,
{
    let mut pump = Pump::new(stream, local, carriers.0, tell);
    poll_fn(|context| pump.poll(context)).await
}

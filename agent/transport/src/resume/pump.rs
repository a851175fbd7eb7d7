//! The task of one stream: whenever it is woken, it moves what can be moved in both directions.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use mpyc_party_core::stream::{Received, Refused, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;

use super::carrier::Carrier;
use super::local::Inward;
use super::watch::{Sign, Watch};
use super::{Command, Event, Fault, Local};
use crate::Traffic;

/// A stream with all that it runs between.
pub(super) struct Pump<R, W, C, T> {
    stream: Stream,
    /// Not there once the local process has ended its direction.
    reader: Option<R>,
    inward: Inward<W>,
    traffic: Arc<Traffic>,
    commands: mpsc::Receiver<Command<C>>,
    carrier: Option<Carrier<C>>,
    /// The one before, until the next is there: its end would tell the peer that something broke.
    fenced: Option<Carrier<C>>,
    watch: Watch,
    tell: T,
    peer_ended: bool,
    finished: bool,
}

impl<R, W, C, T> Pump<R, W, C, T>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    C: AsyncRead + AsyncWrite + Unpin,
    T: FnMut(Event),
{
    pub(super) fn new(
        stream: Stream,
        local: Local<R, W>,
        commands: mpsc::Receiver<Command<C>>,
        tell: T,
    ) -> Self {
        Self {
            stream,
            reader: Some(local.reader),
            inward: Inward::new(local.writer, local.beginning),
            traffic: local.traffic,
            commands,
            carrier: None,
            fenced: None,
            watch: Watch::default(),
            tell,
            peer_ended: false,
            finished: false,
        }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        loop {
            let mut moved = match self.commands.poll_recv(context) {
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(command)) => {
                    self.command(command)?;
                    true
                }
                Poll::Pending => false,
            };
            moved |= self.read_local(context);
            moved |= self.send(context);
            self.close(context);
            moved |= self.hear(context)?;
            if !moved && !self.look(context) {
                return Poll::Pending;
            }
        }
    }

    fn command(&mut self, command: Command<C>) -> Result<(), Fault> {
        // Whoever asked may not want the answer any more.
        match command {
            Command::Fence(epoch, reply) => {
                let fenced = self.stream.fence(epoch);
                if fenced.is_ok() && self.carrier.is_some() {
                    self.fenced = self.carrier.take();
                }
                let _ = reply.send(fenced);
            }
            Command::Attach { epoch, received, carrier, reply } => {
                let attached = match self.stream.attach(epoch, received) {
                    Err(Refused::Violation(violation)) => return Err(violation.into()),
                    Err(Refused::Fenced(fenced)) => Err(fenced),
                    Ok(()) => Ok(()),
                };
                if attached.is_ok() {
                    self.watch.heard();
                    self.carrier = Some(Carrier::new(epoch, carrier));
                    self.fenced = None;
                }
                let _ = reply.send(attached);
            }
        }
        Ok(())
    }

    /// Reads what the local process sends; not before the carrier took what it sent until now, so
    /// that what is read is still in the cache when it goes out.
    fn read_local(&mut self, context: &mut Context<'_>) -> bool {
        if self.carrier.as_ref().is_some_and(|carrier| !carrier.is_idle()) {
            return false;
        }
        let Some(reader) = &mut self.reader else { return false };
        let room = self.stream.room();
        if room.is_empty() {
            return false;
        }
        let mut buffer = ReadBuf::new(room);
        let Poll::Ready(read) = Pin::new(reader).poll_read(context, &mut buffer) else {
            return false;
        };
        match buffer.filled().len() {
            length @ 1.. if read.is_ok() => {
                self.stream.commit(length);
                self.traffic.sent.fetch_add(length as u64, Ordering::Relaxed);
            }
            _ => {
                self.stream.finish();
                self.reader = None;
            }
        }
        true
    }

    /// Lets the carrier take what there is; whether it now waits for more.
    fn send(&mut self, context: &mut Context<'_>) -> bool {
        let Some(carrier) = &mut self.carrier else { return false };
        match carrier.poll_send(context, &mut self.stream) {
            Poll::Ready(Err(why)) => self.cut(why),
            Poll::Ready(Ok(waits)) => waits,
            Poll::Pending => false,
        }
    }

    /// Lets the carrier go once all is said on it.
    fn close(&mut self, context: &mut Context<'_>) {
        if !self.peer_ended || !self.stream.is_finished() {
            return;
        }
        if let Some(carrier) = &mut self.carrier {
            // What is not sent now, the peer hears when it asks with a new carrier.
            if !carrier.is_idle() || carrier.poll_shutdown(context).is_pending() {
                return;
            }
            self.carrier = None;
        }
        if !self.finished {
            self.finished = true;
            self.fenced = None;
            self.stream.shrink();
            (self.tell)(Event::Finished);
        }
    }

    /// Passes on what the carrier brought, and reads more when that is done.
    fn hear(&mut self, context: &mut Context<'_>) -> Result<bool, Fault> {
        self.watch.blocked = self.inward.poll_settle(context).is_pending();
        if self.watch.blocked {
            return Ok(false);
        }
        if self.inward.has_ended() && !self.peer_ended {
            self.peer_ended = true;
            (self.tell)(Event::PeerEnded);
            return Ok(true);
        }
        let Some(carrier) = &mut self.carrier else { return Ok(false) };
        let (done, received) = self.stream.receive(carrier.epoch, carrier.unread())?;
        match received {
            Received::Data(data) => {
                let Poll::Ready(length) = self.inward.poll_take(context, data)? else {
                    carrier.done(done);
                    self.watch.blocked = true;
                    return Ok(done > 0);
                };
                self.stream.delivered(length);
                carrier.done(done + length);
                self.traffic.received.fetch_add(length as u64, Ordering::Relaxed);
            }
            Received::End => {
                carrier.done(done);
                self.inward.end()?;
            }
            Received::Nothing => {
                carrier.done(done);
                return Ok(done > 0 || self.read_carrier(context));
            }
        }
        Ok(true)
    }

    fn read_carrier(&mut self, context: &mut Context<'_>) -> bool {
        let Some(carrier) = &mut self.carrier else { return false };
        match carrier.poll_read(context, self.stream.until_head()) {
            Poll::Ready(Err(why)) => self.cut(why),
            Poll::Ready(Ok(())) => {
                self.watch.heard();
                true
            }
            Poll::Pending => false,
        }
    }

    /// Looks whether the carrier still carries, now and then; whether there is something to do.
    fn look(&mut self, context: &mut Context<'_>) -> bool {
        let waits = self.carrier.is_some() && !self.stream.is_settled();
        let blocked = self.carrier.is_some() && self.watch.blocked;
        match self.watch.poll(context, waits, blocked) {
            Sign::None => return false,
            Sign::Speak => self.stream.speak(),
            Sign::Cut => {
                let why = "the other end does not say that it has what was sent";
                return self.cut(io::Error::new(io::ErrorKind::TimedOut, why));
            }
        }
        true
    }

    /// The carrier broke.
    fn cut(&mut self, why: io::Error) -> bool {
        if let Some(carrier) = self.carrier.take() {
            self.stream.detach(carrier.epoch);
            self.traffic.ended(&why);
            if !self.stream.is_finished() {
                (self.tell)(Event::Cut { epoch: carrier.epoch, why });
            }
        }
        true
    }
}

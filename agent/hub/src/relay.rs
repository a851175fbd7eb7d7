//! The relay's pipes: who calls waits, who is called joins, and then bytes go from one to the other
//! as they are. They are the parties' own TLS; nobody here could read them.

use std::collections::HashMap;
use std::io;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mpyc_party_core::lighthouse::Member;
use mpyc_party_core::name::PartyName;
use mpyc_party_core::relay::{
    CallId, Exchange, LONGEST, Limits, PATIENCE, PipeId, Refusal, Reply, Request,
};
use mpyc_party_transport::{Secure, frame, now};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::fair_queue::FairQueue;
use crate::lighthouse::LighthouseServer;
use crate::membership::Membership;

/// Bytes of one direction that are held here; further ones are not read.
const MAX_BUFFERED_BYTES: usize = 64 * 1024;
/// A pair on which nothing moves for so long is over, whoever may have forgotten it.
const PAIR_IDLE_TIMEOUT: Duration = Duration::from_secs(300);

#[derive(Debug)]
struct State {
    exchange: Exchange,
    /// Those who called and wait for the other's pipe.
    callers: HashMap<PipeId, oneshot::Sender<Pipe>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    queue: FairQueue,
    lighthouse: LighthouseServer,
    membership: Membership,
    begun: Instant,
}

/// A relay beside a lighthouse. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct RelayServer(Arc<Shared>);

/// One party's connection; it leaves the exchange when it is dropped.
#[derive(Debug)]
struct Pipe {
    secure: Secure,
    party: PartyName,
    slot: Slot,
}

#[derive(Debug)]
struct Slot {
    relay: RelayServer,
    id: PipeId,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.relay.with(|state| {
            state.callers.remove(&self.id);
            // Whoever holds one end of a pair holds the other.
            state.exchange.leave(self.id)
        });
    }
}

impl RelayServer {
    pub(crate) fn new(
        limits: Limits,
        lighthouse: LighthouseServer,
        membership: Membership,
    ) -> Self {
        let state = State { exchange: Exchange::new(limits), callers: HashMap::new() };
        let (state, queue) = (Mutex::new(state), FairQueue::default());
        Self(Arc::new(Shared { state, queue, lighthouse, membership, begun: Instant::now() }))
    }

    /// Keeps the bytes moving; never ends.
    pub(crate) async fn schedule(&self, rate: Option<NonZeroU64>) {
        self.0.queue.run(rate).await;
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn now(&self) -> Duration {
        self.0.begun.elapsed()
    }

    /// Serves one pipe to its end.
    pub(crate) async fn serve(&self, mut secure: Secure) {
        let (address, Some(party)) = (secure.address, secure.peer.party().cloned()) else { return };
        if let Err(reason) = self.0.membership.check(&secure.peer).await {
            return log::warn!("{party} at {address} was turned away: {reason}");
        }
        let slot = match self.with(|state| state.exchange.enter(party.clone())) {
            Ok(id) => Slot { relay: self.clone(), id },
            Err(refusal) => {
                log::warn!("{party} at {address} was turned away: {refusal}");
                return reply(&mut secure, Reply::Refused(refusal)).await;
            }
        };
        let request = timeout(PATIENCE, frame::read(&mut secure.stream, LONGEST)).await;
        let pipe = Pipe { secure, party, slot };
        match request {
            Ok(Ok(Some(Request::Call { tag, party: to }))) => {
                let id = CallId(random());
                let asked = |waiting: &mut State| {
                    let (called, caller) = oneshot::channel();
                    waiting.exchange.call(pipe.slot.id, to.clone(), id, self.now())?;
                    waiting.callers.insert(pipe.slot.id, called);
                    Ok(caller)
                };
                let (party, groups) = (pipe.party.clone(), pipe.secure.peer.groups.clone());
                let from = Member { party, groups };
                match self.with(asked) {
                    Ok(_) if !self.0.lighthouse.call(from, tag, &to, id) => {
                        refuse(pipe, Refusal::Absent).await;
                    }
                    Ok(caller) => self.await_callee(pipe, caller).await,
                    Err(refusal) => refuse(pipe, refusal).await,
                }
            }
            Ok(Ok(Some(Request::Join { call }))) => self.join(pipe, call).await,
            Ok(Ok(None)) => {}
            Ok(Err(error)) => log::info!("{address} sent no proper request: {error}"),
            Err(_) => log::info!("{address} sent no request in time"),
        }
    }

    async fn join(&self, pipe: Pipe, call: CallId) {
        let joined = self.with(|state| {
            let caller = state.exchange.join(pipe.slot.id, call, self.now())?;
            state.callers.remove(&caller).ok_or(Refusal::NoSuchCall)
        });
        let failed = match joined {
            // The caller serves both from here on.
            Ok(caller) => caller.send(pipe).map_err(|pipe| (pipe, Refusal::NoSuchCall)),
            Err(refusal) => Err((pipe, refusal)),
        };
        if let Err((pipe, refusal)) = failed {
            refuse(pipe, refusal).await;
        }
    }

    /// Waits for the called party, then serves the pair.
    async fn await_callee(&self, mut caller: Pipe, other: oneshot::Receiver<Pipe>) {
        let mut early = [0];
        let joined = tokio::select! {
            biased;
            joined = other => joined.ok(),
            () = sleep(PATIENCE) => None,
            // Nothing may come before the reply; so it has hung up, or keeps to no protocol.
            _ = caller.secure.stream.read(&mut early) => return,
        };
        let Some(mut callee) = joined else { return refuse(caller, Refusal::Unanswered).await };
        tokio::join!(
            reply(&mut caller.secure, Reply::Connected),
            reply(&mut callee.secure, Reply::Connected)
        );
        let (one, other) = (caller.party.clone(), callee.party.clone());
        log::debug!("{one} and {other} are connected");
        let why = self.splice(caller, callee).await;
        log::debug!("{one} and {other} are apart: {why}");
    }

    /// Carries bytes both ways until both directions have ended, one breaks, or time is over. What
    /// is dropped then ends for both without the end of a stream, and so shows as a cut.
    async fn splice(&self, one: Pipe, other: Pipe) -> String {
        let not_after = one.secure.peer.not_after.min(other.secure.peer.not_after);
        let left = Duration::from_secs(not_after.saturating_sub(now()));
        let (membership, keys) = (&self.0.membership, [one.secure.peer.key, other.secure.peer.key]);
        let (mut from_one, mut to_one) = split(one.secure.stream);
        let (mut from_other, mut to_other) = split(other.secure.stream);
        let (queue, moved) = (&self.0.queue, AtomicU64::new(0));
        let there = forward(&mut from_one, &mut to_other, queue, &one.party, &moved);
        let back = forward(&mut from_other, &mut to_one, queue, &other.party, &moved);
        tokio::select! {
            ended = async { tokio::try_join!(there, back) } => match ended {
                Ok(_) => "both have ended".to_owned(),
                Err(error) => error.to_string(),
            },
            () = until_idle(&moved) => "nothing moved any more".to_owned(),
            () = sleep(left) => "a certificate expired".to_owned(),
            () = membership.revoked(keys[0]) => "one was revoked".to_owned(),
            () = membership.revoked(keys[1]) => "one was revoked".to_owned(),
        }
    }
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    if let Err(error) = getrandom::fill(&mut bytes) {
        log::error!("the system gives no randomness: {error}");
    }
    bytes
}

async fn refuse(mut pipe: Pipe, refusal: Refusal) {
    log::debug!("{} is not connected: {refusal}", pipe.party);
    reply(&mut pipe.secure, Reply::Refused(refusal)).await;
}

async fn reply(secure: &mut Secure, reply: Reply) {
    let written = async {
        frame::write(&mut secure.stream, &reply, LONGEST).await?;
        if matches!(reply, Reply::Refused(_)) {
            secure.stream.shutdown().await?;
        }
        Ok::<(), frame::FrameError>(())
    };
    // Who does not take it is not there any more, which shows soon enough.
    let _ = timeout(PATIENCE, written).await;
}

/// Carries one direction to its end, each piece in its turn.
async fn forward(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    queue: &FairQueue,
    account: &PartyName,
    moved: &AtomicU64,
) -> io::Result<()> {
    let mut buffer = vec![0; MAX_BUFFERED_BYTES];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        queue.acquire(account, length).await;
        to.write_all(&buffer[..length]).await?;
        to.flush().await?;
        moved.fetch_add(1, Ordering::Relaxed);
    }
}

/// Completes when nothing has moved for [`PAIR_IDLE_TIMEOUT`], at the latest after twice that.
async fn until_idle(moved: &AtomicU64) {
    loop {
        let before = moved.load(Ordering::Relaxed);
        sleep(PAIR_IDLE_TIMEOUT).await;
        if moved.load(Ordering::Relaxed) == before {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use tokio::io::{ReadBuf, duplex};

    /// A sender that never tires, and counts.
    struct Endless<'a>(&'a AtomicU64);

    impl AsyncRead for Endless<'_> {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let length = buffer.remaining();
            buffer.initialize_unfilled().fill(7);
            buffer.advance(length);
            self.0.fetch_add(length as u64, Ordering::Relaxed);
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_costs_one_buffer() {
        let (read, moved) = (AtomicU64::new(0), AtomicU64::new(0));
        let (mut near, mut far) = duplex(1000);
        let (queue, alice) = (FairQueue::default(), "alice".parse().unwrap());
        let mut endless = Endless(&read);
        let forward = forward(&mut endless, &mut near, &queue, &alice, &moved);
        let slow = async {
            sleep(Duration::from_secs(3600)).await;
            assert_eq!(read.load(Ordering::Relaxed), MAX_BUFFERED_BYTES as u64);
            far.read_exact(&mut vec![0; 3 * MAX_BUFFERED_BYTES]).await.unwrap();
        };
        tokio::select! {
            ended = forward => panic!("{ended:?}"),
            () = queue.run(None) => {}
            () = slow => {}
        }
        assert!(read.load(Ordering::Relaxed) <= 5 * MAX_BUFFERED_BYTES as u64);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pair_ends_when_nothing_moves_and_not_before() {
        let (moved, begun) = (AtomicU64::new(0), Instant::now());
        let busy = async {
            for _ in 0..3 {
                sleep(PAIR_IDLE_TIMEOUT - Duration::from_secs(1)).await;
                moved.fetch_add(1, Ordering::Relaxed);
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = until_idle(&moved) => {}
            () = busy => {}
        }
        assert!(
            (4 * PAIR_IDLE_TIMEOUT..=5 * PAIR_IDLE_TIMEOUT).contains(&begun.elapsed()),
            "{:?}",
            begun.elapsed()
        );
    }
}

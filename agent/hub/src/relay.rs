//! The relay server: who calls waits, who is called joins, and then bytes go from one to the other
//! as they are. They are the parties' own TLS; nobody here could read them.

mod pair;

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mpyc_party_core::lighthouse::Member;
use mpyc_party_core::name::PartyName;
use mpyc_party_core::relay::{
    CallId, Calls, JOIN_TIMEOUT, Limits, MAX_MESSAGE_BYTES, PipeId, Refusal, Reply, Request,
};
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::{Secure, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::fair_queue::FairQueue;
use crate::lighthouse::LighthouseServer;
use crate::membership::Membership;

#[derive(Debug)]
struct State {
    calls: Calls,
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

/// One party's connection; it leaves the calls when it is dropped.
#[derive(Debug)]
struct Pipe {
    secure: Secure,
    party: PartyName,
    slot: Slot,
}

/// A pipe's place in the calls.
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
            state.calls.leave(self.id)
        });
    }
}

impl RelayServer {
    pub(crate) fn new(
        limits: Limits,
        lighthouse: LighthouseServer,
        membership: Membership,
    ) -> Self {
        let state = State { calls: Calls::new(limits), callers: HashMap::new() };
        let (state, queue) = (Mutex::new(state), FairQueue::default());
        Self(Arc::new(Shared { state, queue, lighthouse, membership, begun: Instant::now() }))
    }

    /// Keeps the bytes moving, at `rate` bytes per second at most; never ends.
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
        let slot = match self.with(|state| state.calls.enter(party.clone())) {
            Ok(id) => Slot { relay: self.clone(), id },
            Err(refusal) => {
                log::warn!("{party} at {address} was turned away: {refusal}");
                return reply(&mut secure, Reply::Refused(refusal)).await;
            }
        };
        let request =
            timeout(JOIN_TIMEOUT, frame::read(&mut secure.stream, MAX_MESSAGE_BYTES)).await;
        let pipe = Pipe { secure, party, slot };
        match request {
            Ok(Ok(Some(Request::Call { tag, party: to }))) => self.call(pipe, tag, to).await,
            Ok(Ok(Some(Request::Join { call }))) => self.join(pipe, call).await,
            Ok(Ok(None)) => {}
            Ok(Err(error)) => log::info!("{address} sent no proper request: {error}"),
            Err(_) => log::info!("{address} sent no request in time"),
        }
    }

    async fn call(&self, pipe: Pipe, tag: Tag, to: PartyName) {
        let id = match call_id(getrandom::fill) {
            Ok(id) => id,
            // A call that could be guessed is none. The caller sees its pipe end.
            Err(error) => return log::error!("{} cannot call: {error}", pipe.party),
        };
        let called = self.with(|state| {
            let (called, caller) = oneshot::channel();
            state.calls.call(pipe.slot.id, to.clone(), id, self.now())?;
            state.callers.insert(pipe.slot.id, called);
            Ok(caller)
        });
        let (party, groups) = (pipe.party.clone(), pipe.secure.peer.groups.clone());
        match called {
            Ok(_) if !self.0.lighthouse.call(Member { party, groups }, tag, &to, id) => {
                refuse(pipe, Refusal::Absent).await;
            }
            Ok(caller) => self.await_callee(pipe, caller).await,
            Err(refusal) => refuse(pipe, refusal).await,
        }
    }

    async fn join(&self, pipe: Pipe, call: CallId) {
        let joined = self.with(|state| {
            let caller = state.calls.join(pipe.slot.id, call, self.now())?;
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
            () = sleep(JOIN_TIMEOUT) => None,
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
        log::debug!("{one} and {other} are not relayed any more: {why}");
    }
}

/// A call that nobody can guess.
fn call_id<E>(random: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<CallId, E> {
    let mut bytes = [0; 16];
    random(&mut bytes)?;
    Ok(CallId(bytes))
}

async fn refuse(mut pipe: Pipe, refusal: Refusal) {
    log::debug!("{} is not connected: {refusal}", pipe.party);
    reply(&mut pipe.secure, Reply::Refused(refusal)).await;
}

async fn reply(secure: &mut Secure, reply: Reply) {
    let written = async {
        frame::write(&mut secure.stream, &reply, MAX_MESSAGE_BYTES).await?;
        if matches!(reply, Reply::Refused(_)) {
            secure.stream.shutdown().await?;
        }
        Ok::<(), frame::FrameError>(())
    };
    // Whoever does not take it is not there any more, which shows soon enough.
    let _ = timeout(JOIN_TIMEOUT, written).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_randomness_there_is_no_call() {
        assert_eq!(call_id(|_| Err("none")), Err("none"));
        let ids = [(); 2].map(|()| call_id(getrandom::fill).unwrap());
        assert_ne!(ids[0], ids[1]);
    }
}

//! The lighthouse server: the sockets around the lighthouse. One task serves a connection, and the
//! state between them never waits for anybody.

mod connection;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use mpyc_party_core::lighthouse::{
    Action, Answer, ConnectionId, Lighthouse, Limits, Member, Reason, Request, Transport,
};
use mpyc_party_core::name::PartyName;
use mpyc_party_core::relay::CallId;
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::now;
use tokio::sync::mpsc;

use crate::membership::Membership;

pub(crate) use connection::PartyConnection;

/// How many answers may wait for a connection that does not read (backpressure ends here: one that
/// is this far behind is dropped).
const MAX_QUEUED_ANSWERS: usize = 256;

#[derive(Debug)]
struct State {
    lighthouse: Lighthouse,
    queues: HashMap<ConnectionId, mpsc::Sender<Answer>>,
}

/// A lighthouse that serves connections. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct LighthouseServer {
    state: Arc<Mutex<State>>,
    membership: Membership,
}

impl LighthouseServer {
    pub(crate) fn new(limits: Limits, membership: Membership) -> Self {
        let state = State { lighthouse: Lighthouse::new(limits), queues: HashMap::new() };
        Self { state: Arc::new(Mutex::new(state)), membership }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a connection into the lighthouse; what it is to be told comes from the channel.
    fn register(
        &self,
        party: impl Into<Member>,
        observed: SocketAddr,
        transport: Transport,
    ) -> Result<(Registration<'_>, mpsc::Receiver<Answer>), Reason> {
        let (queue, answers) = mpsc::channel(MAX_QUEUED_ANSWERS);
        self.with(|state| {
            let (id, actions) = state.lighthouse.connect(party, observed, transport, now())?;
            state.queues.insert(id, queue);
            state.apply(actions);
            Ok((Registration { lighthouse: self, id }, answers))
        })
    }

    /// Tells `to` that `from` calls; whether there is somebody to tell whom `from` may call.
    pub(crate) fn call(&self, from: Member, tag: Tag, to: &PartyName, call: CallId) -> bool {
        let Member { party: from, groups } = from;
        self.with(|state| {
            let callee = state.lighthouse.callee(&from, &groups, tag, to);
            let Some(callee) = callee else { return false };
            let queue = state.queues.get(&callee);
            queue.is_some_and(|queue| queue.try_send(Answer::Call { from, tag, call }).is_ok())
        })
    }
}

impl State {
    fn apply(&mut self, actions: Vec<Action>) {
        for action in actions {
            let (id, lost) = match action {
                Action::Send(id, answer) => {
                    let sent = self.queues.get(&id).map(|queue| queue.try_send(answer));
                    (id, matches!(sent, Some(Err(_))))
                }
                Action::Close(id, reason) => {
                    log::debug!("the lighthouse closes {id:?}: {reason}");
                    // A full queue has no room for the reason; its connection ends all the same.
                    let _ = self.queues.get(&id).map(|q| q.try_send(Answer::Goodbye(reason)));
                    (id, true)
                }
            };
            if lost {
                // The writer sees its queue end and hangs up.
                self.queues.remove(&id);
            }
        }
    }
}

/// A connection's place in the lighthouse. Dropped, it is taken out, however its task ends.
#[derive(Debug)]
struct Registration<'a> {
    lighthouse: &'a LighthouseServer,
    id: ConnectionId,
}

impl Registration<'_> {
    /// The party asks for something; over QUIC, its packets may come from elsewhere since it was
    /// heard last.
    fn hear(&self, request: Request, moved_to: Option<SocketAddr>) {
        self.lighthouse.with(|state| {
            if let Some(address) = moved_to {
                let actions = state.lighthouse.moved(self.id, address, now());
                state.apply(actions);
            }
            let actions = state.lighthouse.hear(self.id, request);
            state.apply(actions);
        });
    }

    /// Ends the connection once what it is told has been written.
    fn close(&self, reason: Reason) {
        self.lighthouse.with(|state| state.apply(vec![Action::Close(self.id, reason)]));
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.lighthouse.with(|state| {
            state.queues.remove(&self.id);
            let actions = state.lighthouse.disconnect(self.id);
            state.apply(actions);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn leaving_is_complete() {
        let limits = Limits { per_address: 1, ..Limits::default() };
        let lighthouse = LighthouseServer::new(limits, Membership::default());
        let from = SocketAddr::from(([203, 0, 113, 1], 5));
        for _ in 0..3 {
            let alice = "alice".parse::<PartyName>().unwrap();
            drop(lighthouse.register(alice, from, Transport::Tcp).unwrap());
        }
        assert!(lighthouse.with(|state| state.queues.is_empty()));
    }
}

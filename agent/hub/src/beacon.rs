//! The sockets around the lighthouse: one task reads a connection, one writes it, and the state
//! between them never waits for anybody.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mpyc_party_core::claims::PublicKey;
use mpyc_party_core::lighthouse::{
    Action, Answer, ConnectionId, LONGEST, Lighthouse, Limits, Member, Over, Reason, Request,
};
use mpyc_party_core::name::PartyName;
use mpyc_party_core::relay::CallId;
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::rate_limit::MessageRateLimit;
use mpyc_party_transport::{Secure, frame, now, quic};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, sink, split};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::standing::Standing;

/// After how much silence a connection is taken for dead.
const SILENCE: Duration = Duration::from_secs(30);
/// How many answers may wait for a connection that does not read.
const QUEUE: usize = 256;
/// How long the other end may take to hang up when it has been told to go.
const FAREWELL: Duration = Duration::from_secs(2);

/// The connection of a party, and where it is QUIC, the connection of its one stream.
pub(crate) struct Visitor {
    pub(crate) secure: Secure,
    pub(crate) quic: Option<quic::Connection>,
}

impl Visitor {
    fn over(&self) -> Over {
        if self.quic.is_some() { Over::Udp } else { Over::Tcp }
    }
}

#[derive(Debug)]
struct State {
    lighthouse: Lighthouse,
    queues: HashMap<ConnectionId, mpsc::Sender<Answer>>,
}

/// A lighthouse that serves connections. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Beacon {
    state: Arc<Mutex<State>>,
    standing: Standing,
}

impl Beacon {
    pub(crate) fn new(limits: Limits, standing: Standing) -> Self {
        let state = State { lighthouse: Lighthouse::new(limits), queues: HashMap::new() };
        Self { state: Arc::new(Mutex::new(state)), standing }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn enter(
        &self,
        party: impl Into<Member>,
        observed: SocketAddr,
        over: Over,
    ) -> Result<(ConnectionId, mpsc::Receiver<Answer>), Reason> {
        let (queue, answers) = mpsc::channel(QUEUE);
        self.with(|state| {
            let (id, actions) = state.lighthouse.connect(party, observed, over, now())?;
            state.queues.insert(id, queue);
            state.perform(actions);
            Ok((id, answers))
        })
    }

    /// Serves the connection of a party until either side ends it, the party goes silent, its
    /// certificate expires or it is revoked.
    pub(crate) async fn serve(&self, visitor: Visitor) {
        let (over, Visitor { secure, quic }) = (visitor.over(), visitor);
        let (address, peer) = (secure.address, secure.peer);
        let Some(party) = peer.party().cloned() else { return };
        let admitted = self.standing.admit(&peer).await;
        let member = Member { party: party.clone(), groups: peer.groups };
        let (mut reader, mut writer) = split(secure.stream);
        let (id, answers) = match admitted.and_then(|()| self.enter(member, address, over)) {
            Ok(entered) => entered,
            Err(reason) => {
                log::warn!("{party} at {address} was turned away: {reason}");
                let goodbye = Answer::Goodbye(reason);
                let farewell = frame::write(&mut writer, &goodbye, LONGEST);
                if matches!(timeout(FAREWELL, farewell).await, Ok(Ok(()))) {
                    see_off(&mut reader, &mut writer).await;
                }
                return;
            }
        };
        let leave = Leave { beacon: self, id };
        log::debug!("{party} at {address} is here over {over}");
        let left = Duration::from_secs(peer.not_after.saturating_sub(now()));
        let why = tokio::select! {
            why = self.read(id, &mut reader, quic.as_ref()) => why,
            why = write(answers, &mut writer) => why,
            () = sleep(left) => "its certificate expired".to_owned(),
            end = self.dismissed(id, peer.key) => match end {},
        };
        drop(leave);
        log::debug!("{party} at {address} left: {why}");
        see_off(&mut reader, &mut writer).await;
    }

    /// Tells the holder of `key` to go once it is revoked; the connection ends when that is written.
    async fn dismissed(&self, id: ConnectionId, key: PublicKey) -> Infallible {
        self.standing.ended(key).await;
        self.with(|state| state.perform(vec![Action::Close(id, Reason::NotMember)]));
        std::future::pending().await
    }

    async fn read(
        &self,
        id: ConnectionId,
        mut reader: impl AsyncRead + Unpin,
        quic: Option<&quic::Connection>,
    ) -> String {
        let mut rate = MessageRateLimit::default();
        loop {
            match timeout(SILENCE, frame::read::<Request>(&mut reader, LONGEST)).await {
                Ok(Ok(Some(request))) => self.with(|state| {
                    // Its packets may come from elsewhere since it was heard last.
                    let moved = quic.map(|quic| state.lighthouse.moved(id, quic.address(), now()));
                    state.perform(moved.unwrap_or_default());
                    let actions = state.lighthouse.hear(id, request);
                    state.perform(actions);
                }),
                Ok(Ok(None)) => return "it hung up".to_owned(),
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return "it went silent".to_owned(),
            }
            rate.until_allowed().await;
        }
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
    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            let (id, lost) = match action {
                Action::Send(id, answer) => {
                    let sent = self.queues.get(&id).map(|queue| queue.try_send(answer));
                    (id, matches!(sent, Some(Err(_))))
                }
                Action::Close(id, reason) => {
                    log::debug!("the lighthouse closes {id:?}: {reason}");
                    // Who does not read is not told.
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

/// Takes the connection out of the lighthouse, however its task ends.
struct Leave<'a> {
    beacon: &'a Beacon,
    id: ConnectionId,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.beacon.with(|state| {
            state.queues.remove(&self.id);
            let actions = state.lighthouse.disconnect(self.id);
            state.perform(actions);
        });
    }
}

async fn write(mut answers: mpsc::Receiver<Answer>, mut writer: impl AsyncWrite + Unpin) -> String {
    while let Some(answer) = answers.recv().await {
        match timeout(SILENCE, frame::write(&mut writer, &answer, LONGEST)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return "it does not read".to_owned(),
        }
    }
    "it was told to go".to_owned()
}

/// Ends the connection so that the last message arrives: whoever closes a socket with something
/// unread in it cuts off what is still on its way.
async fn see_off(reader: &mut (impl AsyncRead + Unpin), writer: &mut (impl AsyncWrite + Unpin)) {
    let farewell = async {
        writer.shutdown().await?;
        copy(reader, &mut sink()).await
    };
    // It has had its time.
    let _ = timeout(FAREWELL, farewell).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use mpyc_party_core::lighthouse::KEEPALIVE;
    use tokio::io::duplex;
    use tokio::time::Instant;

    fn enter(beacon: &Beacon, party: &str) -> (ConnectionId, mpsc::Receiver<Answer>) {
        let from = SocketAddr::from(([203, 0, 113, 1], 5));
        beacon.enter(party.parse::<PartyName>().unwrap(), from, Over::Tcp).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_dropped_and_a_speaking_one_kept() {
        let beacon = Beacon::new(Limits::default(), Standing::default());
        let (id, _answers) = enter(&beacon, "alice");
        let (mut far, near) = duplex(1024);
        let begun = Instant::now();
        let speak = async {
            for _ in 0..5 {
                sleep(KEEPALIVE).await;
                frame::write(&mut far, &Request::Ping, LONGEST).await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        let why = tokio::select! {
            why = beacon.read(id, near, None) => why,
            () = speak => unreachable!(),
        };
        assert_eq!(why, "it went silent");
        let lasted = begun.elapsed();
        assert!((5 * KEEPALIVE + SILENCE..6 * KEEPALIVE + SILENCE).contains(&lasted), "{lasted:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_dropped_and_holds_nobody_up() {
        let beacon = Beacon::new(Limits::default(), Standing::default());
        let (id, answers) = enter(&beacon, "alice");
        for _ in 0..=QUEUE {
            beacon.with(|state| {
                let actions = state.lighthouse.hear(id, Request::Ping);
                state.perform(actions);
            });
        }
        assert!(beacon.with(|state| state.queues.is_empty()));
        let (_far, near) = duplex(16);
        assert_eq!(write(answers, near).await, "it does not read");
    }

    #[tokio::test]
    async fn leaving_is_complete() {
        let beacon =
            Beacon::new(Limits { per_address: 1, ..Limits::default() }, Standing::default());
        for _ in 0..3 {
            let (id, _answers) = enter(&beacon, "alice");
            drop(Leave { beacon: &beacon, id });
        }
        assert!(beacon.with(|state| state.queues.is_empty()));
    }
}

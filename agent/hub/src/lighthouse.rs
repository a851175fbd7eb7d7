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
use mpyc_party_transport::pace::Pace;
use mpyc_party_transport::{Secure, frame, now, quic};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, sink, split};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::membership::Membership;

/// After how much silence a connection is taken for dead: three keepalives.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How many answers may wait for a connection that does not read.
const MAX_QUEUED_ANSWERS: usize = 256;
/// How long the other end may take to hang up once it was told to go.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// The connection of a party, and where it is QUIC, the connection of its one stream.
pub(crate) struct PartyConnection {
    pub(crate) secure: Secure,
    pub(crate) quic: Option<quic::Connection>,
}

impl PartyConnection {
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

    fn register(
        &self,
        party: impl Into<Member>,
        observed: SocketAddr,
        over: Over,
    ) -> Result<(ConnectionId, mpsc::Receiver<Answer>), Reason> {
        let (queue, answers) = mpsc::channel(MAX_QUEUED_ANSWERS);
        self.with(|state| {
            let (id, actions) = state.lighthouse.connect(party, observed, over, now())?;
            state.queues.insert(id, queue);
            state.apply(actions);
            Ok((id, answers))
        })
    }

    /// Serves the connection of a party until either side ends it, the party goes silent, its
    /// certificate expires or it is revoked.
    pub(crate) async fn serve(&self, connection: PartyConnection) {
        let (over, PartyConnection { secure, quic }) = (connection.over(), connection);
        let (address, peer) = (secure.address, secure.peer);
        let Some(party) = peer.party().cloned() else { return };
        let checked = self.membership.check(&peer).await;
        let member = Member { party: party.clone(), groups: peer.groups };
        let (mut reader, mut writer) = split(secure.stream);
        let (id, answers) = match checked.and_then(|()| self.register(member, address, over)) {
            Ok(registered) => registered,
            Err(reason) => {
                log::warn!("{party} at {address} was turned away: {reason}");
                let goodbye = Answer::Goodbye(reason);
                let goodbye_written = frame::write(&mut writer, &goodbye, LONGEST);
                if matches!(timeout(LINGER_TIMEOUT, goodbye_written).await, Ok(Ok(()))) {
                    lingering_close(&mut reader, &mut writer).await;
                }
                return;
            }
        };
        let registration = Registration { lighthouse: self, id };
        log::debug!("{party} at {address} is here over {over}");
        let left = Duration::from_secs(peer.not_after.saturating_sub(now()));
        let why = tokio::select! {
            why = self.read(id, &mut reader, quic.as_ref()) => why,
            why = write(answers, &mut writer) => why,
            () = sleep(left) => "its certificate expired".to_owned(),
            end = self.close_when_revoked(id, peer.key) => match end {},
        };
        drop(registration);
        log::debug!("{party} at {address} left: {why}");
        lingering_close(&mut reader, &mut writer).await;
    }

    /// Tells the holder of `key` to go once it is revoked; the connection ends when that is written.
    async fn close_when_revoked(&self, id: ConnectionId, key: PublicKey) -> Infallible {
        self.membership.revoked(key).await;
        self.with(|state| state.apply(vec![Action::Close(id, Reason::NotMember)]));
        std::future::pending().await
    }

    async fn read(
        &self,
        id: ConnectionId,
        mut reader: impl AsyncRead + Unpin,
        quic: Option<&quic::Connection>,
    ) -> String {
        let mut pace = Pace::default();
        loop {
            match timeout(IDLE_TIMEOUT, frame::read::<Request>(&mut reader, LONGEST)).await {
                Ok(Ok(Some(request))) => self.with(|state| {
                    // Its packets may come from elsewhere since it was heard last.
                    let moved = quic.map(|quic| state.lighthouse.moved(id, quic.address(), now()));
                    state.apply(moved.unwrap_or_default());
                    let actions = state.lighthouse.hear(id, request);
                    state.apply(actions);
                }),
                Ok(Ok(None)) => return "it hung up".to_owned(),
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return "it went silent".to_owned(),
            }
            pace.keep().await;
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
    fn apply(&mut self, actions: Vec<Action>) {
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
struct Registration<'a> {
    lighthouse: &'a LighthouseServer,
    id: ConnectionId,
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

async fn write(mut answers: mpsc::Receiver<Answer>, mut writer: impl AsyncWrite + Unpin) -> String {
    while let Some(answer) = answers.recv().await {
        match timeout(IDLE_TIMEOUT, frame::write(&mut writer, &answer, LONGEST)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return "it does not read".to_owned(),
        }
    }
    "it was told to go".to_owned()
}

/// Ends the connection so that the last message arrives: whoever closes a socket with something
/// unread in it cuts off what is still on its way.
async fn lingering_close(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
) {
    let closing = async {
        writer.shutdown().await?;
        copy(reader, &mut sink()).await
    };
    // It has had its time.
    let _ = timeout(LINGER_TIMEOUT, closing).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use mpyc_party_core::lighthouse::KEEPALIVE;
    use tokio::io::duplex;
    use tokio::time::Instant;

    fn register(
        lighthouse: &LighthouseServer,
        party: &str,
    ) -> (ConnectionId, mpsc::Receiver<Answer>) {
        let from = SocketAddr::from(([203, 0, 113, 1], 5));
        lighthouse.register(party.parse::<PartyName>().unwrap(), from, Over::Tcp).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_dropped_and_a_speaking_one_kept() {
        let lighthouse = LighthouseServer::new(Limits::default(), Membership::default());
        let (id, _answers) = register(&lighthouse, "alice");
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
            why = lighthouse.read(id, near, None) => why,
            () = speak => unreachable!(),
        };
        assert_eq!(why, "it went silent");
        let lasted = begun.elapsed();
        assert!(
            (5 * KEEPALIVE + IDLE_TIMEOUT..6 * KEEPALIVE + IDLE_TIMEOUT).contains(&lasted),
            "{lasted:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_dropped_and_holds_nobody_up() {
        let lighthouse = LighthouseServer::new(Limits::default(), Membership::default());
        let (id, answers) = register(&lighthouse, "alice");
        for _ in 0..=MAX_QUEUED_ANSWERS {
            lighthouse.with(|state| {
                let actions = state.lighthouse.hear(id, Request::Ping);
                state.apply(actions);
            });
        }
        assert!(lighthouse.with(|state| state.queues.is_empty()));
        let (_far, near) = duplex(16);
        assert_eq!(write(answers, near).await, "it does not read");
    }

    #[tokio::test]
    async fn leaving_is_complete() {
        let lighthouse = LighthouseServer::new(
            Limits { per_address: 1, ..Limits::default() },
            Membership::default(),
        );
        for _ in 0..3 {
            let (id, _answers) = register(&lighthouse, "alice");
            drop(Registration { lighthouse: &lighthouse, id });
        }
        assert!(lighthouse.with(|state| state.queues.is_empty()));
    }
}

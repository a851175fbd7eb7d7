//! The sockets around the lighthouse: one task reads a connection, one writes it, and the state
//! between them never waits for anybody.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mpyc_party_core::lighthouse::{
    Action, Answer, ConnectionId, Full, LONGEST, Lighthouse, Limits, Request,
};
use mpyc_party_core::name::PartyName;
use mpyc_party_transport::{Secure, frame};
use tokio::io::{AsyncRead, AsyncWrite, split};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::authority::now;

/// How often each side speaks when there is nothing to say.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(10);
/// After how much silence a connection is taken for dead.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);
/// The least time between two requests of one connection that are looked at.
const PACE: Duration = Duration::from_millis(10);
/// How many answers may wait for a connection that does not read.
const QUEUE: usize = 256;

#[derive(Debug)]
struct State {
    lighthouse: Lighthouse,
    queues: HashMap<ConnectionId, mpsc::Sender<Answer>>,
}

/// A lighthouse that serves connections. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Beacon(Arc<Mutex<State>>);

impl Beacon {
    pub(crate) fn new(limits: Limits) -> Self {
        let lighthouse = Lighthouse::new(limits);
        Self(Arc::new(Mutex::new(State { lighthouse, queues: HashMap::new() })))
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn enter(
        &self,
        party: PartyName,
        observed: SocketAddr,
    ) -> Result<(ConnectionId, mpsc::Receiver<Answer>), Full> {
        let (queue, answers) = mpsc::channel(QUEUE);
        self.with(|state| {
            let (id, actions) = state.lighthouse.connect(party, observed)?;
            state.queues.insert(id, queue);
            state.perform(actions);
            Ok((id, answers))
        })
    }

    /// Serves the connection of a party until either side ends it, the party goes silent or its
    /// certificate expires.
    pub(crate) async fn serve(&self, secure: Secure) {
        let Some(party) = secure.peer.party().cloned() else { return };
        let (id, answers) = match self.enter(party.clone(), secure.address) {
            Ok(entered) => entered,
            Err(full) => {
                log::warn!("{party} at {} was turned away: {full}", secure.address);
                return;
            }
        };
        let _leave = Leave { beacon: self, id };
        log::debug!("{party} at {} is here", secure.address);
        let left = Duration::from_secs(secure.peer.not_after.saturating_sub(now()));
        let (reader, writer) = split(secure.stream);
        let why = tokio::select! {
            why = self.read(id, reader) => why,
            why = write(answers, writer) => why,
            () = sleep(left) => "its certificate expired".to_owned(),
        };
        log::debug!("{party} at {} left: {why}", secure.address);
    }

    async fn read(&self, id: ConnectionId, mut reader: impl AsyncRead + Unpin) -> String {
        loop {
            match timeout(SILENCE, frame::read::<Request>(&mut reader, LONGEST)).await {
                Ok(Ok(Some(request))) => self.with(|state| {
                    let actions = state.lighthouse.hear(id, request);
                    state.perform(actions);
                }),
                Ok(Ok(None)) => return "it hung up".to_owned(),
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return "it went silent".to_owned(),
            }
            sleep(PACE).await;
        }
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
                Action::Close(id, why) => {
                    log::warn!("the lighthouse closes {id:?}: {why}");
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
        let deadline = Instant::now() + SILENCE;
        match timeout_at(deadline, frame::write(&mut writer, &answer, LONGEST)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return "it does not read".to_owned(),
        }
    }
    "it was told to go".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    fn enter(beacon: &Beacon, party: &str) -> (ConnectionId, mpsc::Receiver<Answer>) {
        let from = SocketAddr::from(([203, 0, 113, 1], 5));
        beacon.enter(party.parse().unwrap(), from).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_dropped_and_a_speaking_one_kept() {
        let beacon = Beacon::new(Limits::default());
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
            why = beacon.read(id, near) => why,
            () = speak => unreachable!(),
        };
        assert_eq!(why, "it went silent");
        let lasted = begun.elapsed();
        assert!((5 * KEEPALIVE + SILENCE..6 * KEEPALIVE + SILENCE).contains(&lasted), "{lasted:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_dropped_and_holds_nobody_up() {
        let beacon = Beacon::new(Limits::default());
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
        let beacon = Beacon::new(Limits { per_address: 1, ..Limits::default() });
        for _ in 0..3 {
            let (id, _answers) = enter(&beacon, "alice");
            drop(Leave { beacon: &beacon, id });
        }
        assert!(beacon.with(|state| state.queues.is_empty()));
    }
}

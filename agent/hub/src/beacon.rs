//! The sockets around the lighthouse: one task reads a connection, one writes it, and the state
//! between them never waits for anybody.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mpyc_party_core::lighthouse::{
    Action, Answer, ConnectionId, Full, LONGEST, Lighthouse, Limits, Request,
};
use mpyc_party_core::name::PartyName;
use mpyc_party_transport::{Secure, frame};
use tokio::io::{ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsStream;

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
        secure: &Secure,
        party: PartyName,
    ) -> Result<(ConnectionId, mpsc::Receiver<Answer>), Full> {
        let (queue, answers) = mpsc::channel(QUEUE);
        self.with(|state| {
            let (id, actions) = state.lighthouse.connect(party, secure.address)?;
            state.queues.insert(id, queue);
            state.perform(actions);
            Ok((id, answers))
        })
    }

    /// Serves the connection of a party until either side ends it, the party goes silent or its
    /// certificate expires.
    pub(crate) async fn serve(&self, secure: Secure) {
        let Some(party) = secure.peer.party().cloned() else { return };
        let (id, answers) = match self.enter(&secure, party.clone()) {
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

    async fn read(&self, id: ConnectionId, mut reader: ReadHalf<TlsStream<TcpStream>>) -> String {
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
                    log::warn!("a party's connection is closed: {why}");
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

async fn write(
    mut answers: mpsc::Receiver<Answer>,
    mut writer: WriteHalf<TlsStream<TcpStream>>,
) -> String {
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

//! A party's place at the hub: its connection, kept alive, and what is asked over it.

use std::sync::{Arc, Mutex as Latch, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use mpyc_party_core::addr::Address;
use mpyc_party_core::lighthouse::{Answer, Instance, MAX_MESSAGE_BYTES, Request};
use mpyc_party_core::name::PartyName;
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::{Secure, SecureStream, frame, quic};
use tokio::io::{ReadHalf, WriteHalf, split};
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinSet;
use tokio::time::{interval_at, timeout};

use super::clients::Member;

/// How often a party speaks when there is nothing to say, as the real ones do.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Longer than any answer takes from a hub that is not lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection to the hub.
pub(super) struct Connection {
    pub(super) secure: Secure,
    pub(super) quic: Option<quic::Connection>,
}

/// Somebody who waits to hear of a party.
type Waiting = Arc<Latch<Option<(PartyName, oneshot::Sender<Instant>)>>>;

/// A party that is present; dropped, it leaves.
pub(super) struct Client {
    writer: Arc<Mutex<WriteHalf<SecureStream>>>,
    waiting: Waiting,
    tag: Tag,
    instance: Instance,
    others: Vec<PartyName>,
    _quic: Option<quic::Connection>,
    _tasks: JoinSet<()>,
}

impl Client {
    /// Announces `member` over `connection`; fails with the hub's reason where it refuses.
    pub(super) async fn take(connection: Connection, member: &Member, at: Address) -> Result<Self> {
        let (reader, writer) = split(connection.secure.stream);
        let (greeted, greeting) = oneshot::channel();
        let (writer, waiting) = (Arc::new(Mutex::new(writer)), Waiting::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(reader, greeted, Arc::clone(&waiting)));
        tasks.spawn(keep_alive(Arc::clone(&writer)));
        let mut instance = Instance([0; 16]);
        // Differs from all others, whatever else it is.
        instance.0[..8].copy_from_slice(&(Arc::as_ptr(&writer) as usize as u64).to_be_bytes());
        let (tag, others) = (member.tag, member.others.clone());
        let (_quic, _tasks) = (connection.quic, tasks);
        let client = Self { writer, waiting, tag, instance, others, _quic, _tasks };
        client.announce(at).await?;
        client.say(&Request::Watch { tag, parties: client.others.clone() }).await?;
        client.say(&Request::Ping).await?;
        let greeting =
            timeout(ANSWER_TIMEOUT, greeting).await.context("the hub does not answer")?;
        greeting.context("the hub hung up")?.map_err(|reason| anyhow!(reason))?;
        Ok(client)
    }

    async fn say(&self, request: &Request) -> Result<()> {
        Ok(frame::write(&mut *self.writer.lock().await, request, MAX_MESSAGE_BYTES).await?)
    }

    /// Says that this party is reached at `at` now.
    pub(super) async fn announce(&self, at: Address) -> Result<()> {
        let (tag, instance, allow) = (self.tag, self.instance, self.others.clone());
        let (addresses, reflexive) = (vec![at], Vec::new());
        self.say(&Request::Announce { tag, instance, addresses, reflexive, allow }).await
    }

    /// Waits to be told where `party` is; made before the cause of it.
    pub(super) fn expect(&self, party: &PartyName) -> oneshot::Receiver<Instant> {
        let (sender, told) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting = Some((party.clone(), sender));
        told
    }

    /// How long it takes to be told where `party` is.
    pub(super) async fn look_up(&self, party: &PartyName) -> Result<Duration> {
        // Who has been told is not told again: it forgets first.
        let tag = self.tag;
        self.say(&Request::Watch { tag, parties: Vec::new() }).await?;
        let told = self.expect(party);
        let asked = Instant::now();
        self.say(&Request::Watch { tag, parties: self.others.clone() }).await?;
        let told = timeout(ANSWER_TIMEOUT, told).await.context("no answer to a look-up")??;
        Ok(told - asked)
    }
}

async fn listen(
    mut reader: ReadHalf<SecureStream>,
    greeted: oneshot::Sender<Result<(), String>>,
    waiting: Waiting,
) {
    let mut greeted = Some(greeted);
    while let Ok(Some(answer)) = frame::read::<Answer>(&mut reader, MAX_MESSAGE_BYTES).await {
        let greeting = match answer {
            Answer::Pong => Ok(()),
            Answer::Goodbye(reason) => Err(reason.to_string()),
            Answer::Present { party, .. } => {
                let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if waiting.as_ref().is_some_and(|(wanted, _)| *wanted == party)
                    && let Some((_, told)) = waiting.take()
                {
                    // It may have stopped waiting.
                    let _ = told.send(Instant::now());
                }
                continue;
            }
            _ => continue,
        };
        if let Some(greeted) = greeted.take() {
            // The same.
            let _ = greeted.send(greeting);
        }
    }
}

async fn keep_alive(writer: Arc<Mutex<WriteHalf<SecureStream>>>) {
    let mut ticks = interval_at(tokio::time::Instant::now() + KEEPALIVE, KEEPALIVE);
    loop {
        ticks.tick().await;
        let mut writer = writer.lock().await;
        if frame::write(&mut *writer, &Request::Ping, MAX_MESSAGE_BYTES).await.is_err() {
            return;
        }
    }
}

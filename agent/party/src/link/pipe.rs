//! The two directions of one control link.

use std::sync::Arc;
use std::time::Duration;

use mpyc_party_core::control::{Control, LARGEST_CONTROL};
use mpyc_party_core::verdict::Remark;
use mpyc_party_transport::{Secure, frame};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Choice, LinkEvent, PathKind, PathReport, Shared, Slot};

/// How long a link that is being closed may take to say goodbye.
pub(super) const FAREWELL: Duration = Duration::from_secs(2);
/// How long a message may take to be written.
const STUCK: Duration = Duration::from_secs(5);
/// Messages that may wait for a peer to read them.
const QUEUE: usize = 64;

/// A connection that has been chosen as the control link to a peer.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) peer: usize,
    pub(super) secure: Secure,
    /// Where it was dialled; none if the peer dialled.
    pub(super) address: Option<std::net::SocketAddr>,
    /// Held at the controlling end until the link is in its slot.
    pub(super) choice: Option<Choice>,
}

/// Carries each new pipe in a task of its own, until the links are closed and all have ended.
pub(super) async fn carry_all(shared: Arc<Shared>, mut new: mpsc::Receiver<Pipe>) {
    let mut number = 0;
    let (mut links, mut closing) = (JoinSet::new(), shared.closing.subscribe());
    loop {
        let pipe = tokio::select! {
            pipe = new.recv() => pipe,
            _ = closing.wait_for(|closing| *closing) => None,
        };
        let Some(pipe) = pipe else { break };
        number += 1;
        while links.try_join_next().is_some() {}
        links.spawn(carry(shared.clone(), pipe, number));
    }
    while links.join_next().await.is_some() {}
}

async fn carry(shared: Arc<Shared>, pipe: Pipe, number: u64) {
    let Pipe { peer, secure, address, choice } = pipe;
    let key = secure.peer.key;
    let (messages, queue) = mpsc::channel(QUEUE);
    let path = PathReport {
        kind: PathKind::Tcp,
        address: secure.address,
        via: None,
        since: mpyc_party_hub::now(),
        round_trip: None,
        epoch: number,
    };
    let slot = Slot { number, key, address, path, messages };
    let before = shared.slots()[peer].replace(slot);
    drop(choice);
    shared.changes.send_modify(|n| *n += 1);
    if before.is_some() {
        let why = Remark::from("the peer opened another");
        let _ = shared.events.send(LinkEvent::Unlinked(peer, why)).await;
    }
    let _ = shared.events.send(LinkEvent::Linked(peer, key)).await;

    let (reader, writer) = tokio::io::split(secure.stream);
    let reading = read(&shared, peer, reader);
    let writing = write(queue, writer);
    tokio::pin!(reading, writing);
    let why = tokio::select! {
        why = &mut reading => why,
        why = &mut writing => {
            // This end has said goodbye: what the peer still says is heard for a bounded time.
            let _ = timeout(FAREWELL, &mut reading).await;
            why
        }
    };
    shared.unlink(peer, number, why).await;
}

/// Reads messages until the link ends; says why it did.
async fn read(shared: &Shared, peer: usize, mut reader: impl AsyncRead + Unpin) -> Remark {
    loop {
        match frame::read::<Control>(&mut reader, LARGEST_CONTROL).await {
            Ok(Some(message)) => {
                if shared.events.send(LinkEvent::Received(peer, message)).await.is_err() {
                    return "this runner ends".into();
                }
            }
            Ok(None) => return "the peer closed it".into(),
            Err(error) => return error.to_string().into(),
        }
    }
}

/// Writes messages until the queue is closed, then says goodbye. Who closes it on purpose has
/// forgotten the link already; what is returned is for the case that it overflowed.
async fn write(mut queue: mpsc::Receiver<Control>, mut writer: impl AsyncWrite + Unpin) -> Remark {
    while let Some(message) = queue.recv().await {
        match timeout(STUCK, frame::write(&mut writer, &message, LARGEST_CONTROL)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.to_string().into(),
            Err(_) => return "the peer does not read".into(),
        }
    }
    let _ = timeout(FAREWELL, writer.shutdown()).await;
    "too many messages wait for it".into()
}

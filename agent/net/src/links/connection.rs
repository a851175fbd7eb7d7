//! A connection that may be or become a link: its two directions as tasks, and the way it takes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mpyc_party_core::claims::PublicKey;
use mpyc_party_core::control::{Control, MAX_CONTROL_BYTES};
use mpyc_party_core::path::{ConnectionId, Kind, Target};
use mpyc_party_core::verdict::Remark;
use mpyc_party_transport::frame::FrameError;
use mpyc_party_transport::task::{AbortOnDrop, Connections};
use mpyc_party_transport::{Secure, Traffic, frame};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::GOODBYE_TIMEOUT;
use super::peer_task::PeerEvent;
use crate::accept::{Origin, shown};
use crate::dial::Route;
use crate::packets;

/// How long a message may take to be written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages that may wait for a peer to read them.
const MAX_QUEUED: usize = 64;
/// How long a connection may wait to be chosen.
const CHOICE_TIMEOUT: Duration = Duration::from_secs(6);

/// The way a connection takes.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) kind: Kind,
    /// The other end's address, or the relaying hub's.
    pub(super) address: String,
    /// The hub that relays, «host:port».
    pub(super) via: Option<String>,
    /// Where this end dialled: the route, on which carriers of streams are opened.
    pub(super) route: Option<Arc<dyn Route>>,
    /// This machine's address on it, where that is known.
    pub(super) local: Option<IpAddr>,
    /// Where it runs over TCP: that connection's other end, and the most data in a packet.
    pub(super) segments: Option<(IpAddr, u32)>,
}

/// A message, and whether packets of full size are to carry it.
type Queued = (Control, bool);

impl Way {
    /// The way of `secure`, which this end dialled at `target`.
    pub(super) fn dialled(secure: &Secure, target: &Target, route: Arc<dyn Route>) -> Self {
        let address = shown(secure.address, &target.address.value.escape_ascii().to_string());
        let (kind, via) = (target.kind, route.via().map(str::to_owned));
        Self::new(secure, kind, address, via, Some(route))
    }

    /// The way of `secure`, whose other end dialled.
    pub(super) fn accepted(secure: &Secure, origin: Origin) -> Self {
        let Origin { kind, address, via } = origin;
        let address = shown(secure.address, &address);
        Self::new(secure, kind, address, via, None)
    }

    fn new(
        secure: &Secure,
        kind: Kind,
        address: String,
        via: Option<String>,
        route: Option<Arc<dyn Route>>,
    ) -> Self {
        let stream = &secure.stream;
        let segments = stream.segment_bytes().map(|bytes| (secure.address.ip(), bytes));
        Self { kind, address, via, route, local: stream.local_ip(), segments }
    }
}

/// A connection that is up; dropping it says goodbye.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) way: Way,
    pub(super) key: PublicKey,
    messages: mpsc::Sender<Queued>,
    /// Reads; it ends with this.
    _reader: AbortOnDrop,
    since: Instant,
}

impl Connection {
    /// Starts to read from `secure`; what comes is told to `events` as of connection `id`, and how it
    /// ends is counted in `traffic`.
    pub(super) fn start(
        id: ConnectionId,
        secure: Secure,
        way: Way,
        events: mpsc::Sender<PeerEvent>,
        traffic: Arc<Traffic>,
        tasks: &mut Connections,
    ) -> Self {
        let (messages, queue) = mpsc::channel(MAX_QUEUED);
        let full = packets::full_size(&secure.stream);
        let (reader, writer) = tokio::io::split(secure.stream);
        let told = events.clone();
        let reader = tasks.spawn_abortable(async move {
            let why = read(id, reader, &events, &traffic).await;
            let _ = events.send(PeerEvent::Closed(id, why)).await;
        });
        // It ends when there is nothing more to say, and its goodbye has been said.
        tasks.spawn(async move {
            if let Err(why) = write(queue, writer, full).await {
                let _ = told.send(PeerEvent::Closed(id, why)).await;
            }
        });
        let (key, since) = (secure.peer.key, Instant::now());
        Self { way, key, messages, _reader: reader, since }
    }

    /// Sends a message; false where the other end does not read.
    pub(super) fn send(&self, message: Control) -> bool {
        self.messages.try_send((message, false)).is_ok()
    }

    /// Sends a message in packets of full size, maybe several times; false as above.
    pub(super) fn send_full(&self, message: Control) -> bool {
        self.messages.try_send((message, true)).is_ok()
    }

    /// Nobody has chosen it in time.
    pub(super) fn is_stale(&self) -> bool {
        self.since.elapsed() > CHOICE_TIMEOUT
    }

    /// Says goodbye; what the other end still says is heard and told.
    pub(super) fn part(&mut self) {
        self.messages = mpsc::channel(1).0;
    }
}

/// Reads messages until the connection ends; says why it did.
async fn read(
    id: ConnectionId,
    mut reader: impl AsyncRead + Unpin,
    events: &mpsc::Sender<PeerEvent>,
    traffic: &Traffic,
) -> Remark {
    loop {
        match frame::read::<Control>(&mut reader, MAX_CONTROL_BYTES).await {
            Ok(Some(message)) => {
                if events.send(PeerEvent::Message(id, message)).await.is_err() {
                    return "this runner ends".into();
                }
            }
            Ok(None) => return "the peer closed it".into(),
            Err(error) => {
                if let FrameError::Io(why) = &error {
                    traffic.ended(why);
                }
                return error.to_string().into();
            }
        }
    }
}

/// Writes messages until the queue is closed, then says goodbye. A packet is full with `full` bytes.
async fn write(
    mut queue: mpsc::Receiver<Queued>,
    mut writer: impl AsyncWrite + Unpin,
    full: usize,
) -> Result<(), Remark> {
    while let Some((message, filling)) = queue.recv().await {
        let written = async {
            match filling {
                true => frame::write_filling(&mut writer, &message, MAX_CONTROL_BYTES, full)
                    .await
                    .map(drop),
                false => frame::write(&mut writer, &message, MAX_CONTROL_BYTES).await,
            }
        };
        match timeout(WRITE_TIMEOUT, written).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(error.to_string().into()),
            Err(_) => return Err("the peer does not read".into()),
        }
    }
    let _ = timeout(GOODBYE_TIMEOUT, writer.shutdown()).await;
    Ok(())
}

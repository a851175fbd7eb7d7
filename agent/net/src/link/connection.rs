//! A connection that may be or become a link: its two directions as tasks, and the way it takes.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mpyc_party_core::claims::PublicKey;
use mpyc_party_core::control::{Control, MAX_CONTROL_BYTES};
use mpyc_party_core::path::{ConnectionId, Kind};
use mpyc_party_core::verdict::Remark;
use mpyc_party_transport::frame::FrameError;
use mpyc_party_transport::{Carrier, Secure, SecureStream, Traffic, frame, quic};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::FAREWELL;
use super::keep::News;

/// How long a message may take to be written.
const STUCK: Duration = Duration::from_secs(5);
/// Messages that may wait for a peer to read them.
const QUEUE: usize = 64;
/// How long a connection may wait to be chosen.
const CHOICE: Duration = Duration::from_secs(6);

/// The way a connection takes.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) kind: Kind,
    /// The other end's address, or the relaying hub's.
    pub(super) address: SocketAddr,
    /// The hub that relays, «host:port».
    pub(super) via: Option<String>,
    /// This end dialled.
    pub(super) dialled: bool,
    /// What carriers are opened on, where it is QUIC.
    pub(super) quic: Option<quic::Connection>,
    /// This machine's address on it, where that is known.
    pub(super) local: Option<IpAddr>,
}

impl Way {
    /// The way of `secure`, a stream of `quic` where it is one.
    pub(super) fn of(secure: &Secure, dialled: bool, quic: Option<quic::Connection>) -> Self {
        let (kind, address) = (secure.path(), secure.address);
        Self { kind, address, via: None, dialled, quic, local: local(&secure.stream) }
    }

    pub(super) fn over(self, hub: String) -> Self {
        Self { via: Some(hub), ..self }
    }
}

/// This machine's address on a TCP connection. What a QUIC connection uses may change, and it
/// survives that.
fn local(stream: &SecureStream) -> Option<IpAddr> {
    let SecureStream::Tls(tls) = stream else { return None };
    match tls.get_ref().0 {
        Carrier::Tcp(tcp) => tcp.local_addr().ok().map(|at| at.ip().to_canonical()),
        Carrier::Relayed(hub) => local(&hub.stream),
    }
}

/// A connection that is up; dropping it says goodbye.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) way: Way,
    pub(super) key: PublicKey,
    messages: mpsc::Sender<Control>,
    reader: AbortHandle,
    since: Instant,
}

impl Connection {
    /// Starts to read from `secure`; what comes is told to `news` as of connection `id`, and how it
    /// ends is counted in `traffic`.
    pub(super) fn start(
        id: ConnectionId,
        secure: Secure,
        way: Way,
        news: mpsc::Sender<News>,
        traffic: Arc<Traffic>,
    ) -> Self {
        let (messages, queue) = mpsc::channel(QUEUE);
        let (reader, writer) = tokio::io::split(secure.stream);
        let told = news.clone();
        let reader = tokio::spawn(async move {
            let why = read(id, reader, &news, &traffic).await;
            let _ = news.send(News::Closed(id, why)).await;
        });
        tokio::spawn(async move {
            if let Err(why) = write(queue, writer).await {
                let _ = told.send(News::Closed(id, why)).await;
            }
        });
        let (key, reader, since) = (secure.peer.key, reader.abort_handle(), Instant::now());
        Self { way, key, messages, reader, since }
    }

    /// Sends a message; false where the other end does not read.
    pub(super) fn send(&self, message: Control) -> bool {
        self.messages.try_send(message).is_ok()
    }

    /// Nobody has chosen it in time.
    pub(super) fn is_stale(&self) -> bool {
        self.since.elapsed() > CHOICE
    }

    /// Says goodbye; what the other end still says is heard and told.
    pub(super) fn part(&mut self) {
        self.messages = mpsc::channel(1).0;
    }

    /// Says goodbye a little later: the other end may not know yet that there is another link.
    pub(super) fn fade(self) {
        tokio::spawn(async move {
            tokio::time::sleep(FAREWELL).await;
            drop(self);
        });
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Reads messages until the connection ends; says why it did.
async fn read(
    id: ConnectionId,
    mut reader: impl AsyncRead + Unpin,
    news: &mpsc::Sender<News>,
    traffic: &Traffic,
) -> Remark {
    loop {
        match frame::read::<Control>(&mut reader, MAX_CONTROL_BYTES).await {
            Ok(Some(message)) => {
                if news.send(News::Message(id, message)).await.is_err() {
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

/// Writes messages until the queue is closed, then says goodbye.
async fn write(
    mut queue: mpsc::Receiver<Control>,
    mut writer: impl AsyncWrite + Unpin,
) -> Result<(), Remark> {
    while let Some(message) = queue.recv().await {
        match timeout(STUCK, frame::write(&mut writer, &message, MAX_CONTROL_BYTES)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(error.to_string().into()),
            Err(_) => return Err("the peer does not read".into()),
        }
    }
    let _ = timeout(FAREWELL, writer.shutdown()).await;
    Ok(())
}

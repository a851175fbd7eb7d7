//! Metrics in OpenMetrics text, on a loopback port or a Unix socket.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use mpyc_party_core::name::SessionName;
use mpyc_party_core::verdict::Verdict;
use mpyc_party_net::Stack;
use mpyc_party_net::links::report::PeerReport;
use mpyc_party_transport::ByteStream;
use mpyc_party_transport::task::{self, Connections, Heartbeat, Supervisor};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::running;
use super::status::Status;
use crate::config::Directories;
use crate::session::record;

/// Requests that are answered at once; more wait.
const MAX_REQUESTS: usize = 16;
/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failure.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(10);
/// Largest request in bytes.
const MAX_REQUEST_BYTES: usize = 8 * 1024;
/// What the answer is (OpenMetrics 1.0).
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(String, String)>;
type Bytes = Counter<u64, AtomicU64>;

/// What was counted, since the agent began.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    runs: Family<Labels, Counter>,
    sent: Bytes,
    received: Bytes,
}

fn label(name: &str, value: impl ToString) -> Labels {
    vec![(name.to_owned(), value.to_string())]
}

impl Counts {
    /// A run has ended with this verdict, and has sent and received so many bytes.
    pub(super) fn ended(&self, verdict: Option<&Verdict>, (sent, received): (u64, u64)) {
        let verdict = match verdict {
            Some(Verdict::Completed) => "completed",
            Some(Verdict::Unconfirmed(_)) => "unconfirmed",
            Some(Verdict::Failed(_)) => "failed",
            None => "none",
        };
        self.runs.get_or_create(&label("verdict", verdict)).inc();
        self.sent.inc_by(sent);
        self.received.inc_by(received);
    }

    /// Everything in OpenMetrics text.
    fn text(
        &self,
        stack: &Stack,
        status: &Status,
        peers: &[PeerReport],
    ) -> Result<String, std::fmt::Error> {
        let (mut registry, runs) = (Registry::with_prefix("mpyc_party"), self.runs.clone());
        registry.register("runs", "Runs that ended, by verdict", runs);
        let panics: Counter = Counter::default();
        panics.inc_by(task::panics());
        registry.register(
            "task_panics",
            "Tasks that panicked, each a mistake in this program",
            panics,
        );
        let total = |ended: &Bytes, running: u64| {
            let total = Bytes::default();
            total.inc_by(ended.get() + running);
            total
        };
        let now = carried(peers);
        let (sent, received) = (total(&self.sent, now.0), total(&self.received, now.1));
        let bytes = Unit::Bytes;
        registry.register_with_unit("sent", "Sent to peers", bytes.clone(), sent);
        registry.register_with_unit("received", "Received from peers", bytes, received);
        let gauge = |registry: &mut Registry, name, help, value: usize| {
            let gauge: Gauge = Gauge::default();
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            registry.register(name, help, gauge);
        };
        let expiry = usize::try_from(status.expiry).unwrap_or(usize::MAX);
        let help = "When the certificate expires, in Unix time";
        gauge(&mut registry, "certificate_expiry_timestamp_seconds", help, expiry);
        gauge(&mut registry, "hubs", "Hubs that are known", status.hubs.len());
        gauge(&mut registry, "hubs_up", "Hubs that are reached", status.hubs_up());
        let running = status.sessions.values().filter(|s| s.state() == "running").count();
        gauge(&mut registry, "sessions_running", "Sessions that run now", running);
        let links = Family::<Labels, Gauge>::default();
        for name in stack.kinds().map(|kind| kind.kind().name) {
            let over = peers.iter().filter(|p| p.path.as_ref().is_some_and(|p| p.kind == name));
            let count = i64::try_from(over.count()).unwrap_or(i64::MAX);
            links.get_or_create(&label("path", name)).set(count);
        }
        registry.register("links", "Links to peers of running sessions, by path", links);
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

/// Bytes that the newest run of `session` has sent and received, as its record says. One without a
/// readable record carried nothing that is known. Waits for files.
pub(super) fn carried_last(dirs: &Directories, session: &SessionName) -> (u64, u64) {
    let newest = record::of(dirs, session).ok().and_then(|mut runs| runs.pop());
    newest.map(|(_, record)| carried(&record.peers)).unwrap_or_default()
}

/// Bytes sent to and received from all of these.
fn carried(peers: &[PeerReport]) -> (u64, u64) {
    (peers.iter().map(|peer| peer.sent).sum(), peers.iter().map(|peer| peer.received).sum())
}

/// Metrics, where they are wanted. Sessions matter more: one that cannot serve them is told, and
/// tried again, and the agent works on.
pub(super) struct Metrics {
    at: Option<String>,
    page: Page,
    /// Whether whoever asks is answered.
    served: bool,
}

impl Metrics {
    /// Metrics that are to be served `at` this place; see [`Metrics::serve`].
    pub(super) fn new(at: Option<String>, page: Page) -> Self {
        Self { at, page, served: false }
    }

    /// What is counted.
    pub(super) fn counts(&self) -> &Counts {
        &self.page.counts
    }

    /// Serves them, where they are wanted and not served yet; else says why not.
    pub(super) fn serve(&mut self, supervisor: &mut Supervisor) -> Option<String> {
        let at = self.at.as_ref().filter(|_| !self.served)?;
        match MetricsListener::open(at) {
            Ok(listener) => {
                log::info!("metrics are served at {at}");
                let page = self.page.clone();
                supervisor.spawn("metrics", |heartbeat| serve(listener, page, heartbeat));
                self.served = true;
                None
            }
            Err(error) => {
                let why = format!("{at}: {error}");
                log::error!("no metrics, and a reload tries again: {why}");
                Some(why)
            }
        }
    }
}

/// Who wants metrics comes in here.
#[derive(Debug)]
enum MetricsListener {
    Port(TcpListener),
    Socket(UnixListener),
}

impl MetricsListener {
    /// Opens the address or path that the configuration names; inside a tokio runtime.
    fn open(address: &str) -> io::Result<Self> {
        if !address.starts_with('/') {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            return TcpListener::from_std(listener).map(Self::Port);
        }
        if is_stale(Path::new(address)) {
            std::fs::remove_file(address)?;
        }
        UnixListener::bind(address).map(Self::Socket)
    }

    /// The next one who asks. May be cancelled.
    async fn accept(&self) -> io::Result<Box<dyn ByteStream>> {
        Ok(match self {
            Self::Port(listener) => Box::new(listener.accept().await?.0),
            Self::Socket(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

/// Whether there is a socket on which nobody listens any more. Anything else is somebody's.
fn is_stale(path: &Path) -> bool {
    let is_socket = path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket());
    // Not waiting: one that is busy is not left over.
    let connected = SocketAddrUnix::new(path).and_then(|address| {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        connect(&socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?, &address)
    });
    is_socket && connected == Err(Errno::CONNREFUSED)
}

/// What is shown.
#[derive(Clone)]
pub(super) struct Page {
    pub(super) dirs: Directories,
    pub(super) status: watch::Receiver<Status>,
    pub(super) counts: Counts,
    pub(super) stack: Arc<Stack>,
}

impl Page {
    async fn text(&self) -> String {
        let running = running::all(&self.dirs).await;
        let peers: Vec<PeerReport> = running.into_iter().flat_map(|now| now.peers).collect();
        let status = self.status.borrow().clone();
        self.counts.text(&self.stack, &status, &peers).unwrap_or_default()
    }
}

/// Answers whoever asks at `listener`, for ever.
async fn serve(listener: MetricsListener, page: Page, mut heartbeat: Heartbeat) {
    let mut requests = Connections::new("a request for metrics");
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept(), if requests.len() < MAX_REQUESTS => accepted,
            () = requests.next_ended() => continue,
            () = heartbeat.tick() => continue,
        };
        match accepted {
            Ok(stream) => {
                let page = page.clone();
                requests.spawn(async move {
                    if let Ok(Err(error)) = timeout(REQUEST_TIMEOUT, answer(stream, &page)).await {
                        log::debug!("metrics: {error}");
                    }
                });
            }
            Err(error) => {
                log::debug!("metrics: {error}");
                sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

/// One request and its answer (HTTP/1.0, RFC 1945): whatever is asked, it is the metrics.
async fn answer(mut stream: impl ByteStream, page: &Page) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut piece = [0; 1024];
        match stream.read(&mut piece).await? {
            length if length > 0 && request.len() < MAX_REQUEST_BYTES => {
                request.extend_from_slice(&piece[..length]);
            }
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    let text = page.text().await;
    let head = format!(
        "HTTP/1.0 200 OK\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {}\r\n\r\n",
        text.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

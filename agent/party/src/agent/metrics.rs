//! Metrics in OpenMetrics text, on a loopback port or a Unix socket.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use mpyc_party_core::verdict::Verdict;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::status::Status;
use crate::link::handover::Progress;

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest request in bytes.
const LARGEST: usize = 8 * 1024;
/// What the answer is (OpenMetrics 1.0).
const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(String, String)>;

/// What was counted, since the agent began.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    runs: Family<Labels, Counter>,
    sent: Counter<u64, AtomicU64>,
    received: Counter<u64, AtomicU64>,
}

fn label(name: &str, value: impl ToString) -> Labels {
    vec![(name.to_owned(), value.to_string())]
}

impl Counts {
    /// A run of which this was told last has ended.
    pub(super) fn ended(&self, progress: &Progress) {
        let verdict = match &progress.verdict {
            Some(Verdict::Completed) => "completed",
            Some(Verdict::Unconfirmed(_)) => "unconfirmed",
            Some(Verdict::Failed(_)) => "failed",
            None => "none",
        };
        self.runs.get_or_create(&label("verdict", verdict)).inc();
    }

    /// What a run has told after `before`.
    pub(super) fn moved(&self, before: &Progress, now: &Progress) {
        self.sent.inc_by(now.sent.saturating_sub(before.sent));
        self.received.inc_by(now.received.saturating_sub(before.received));
    }

    /// Everything in OpenMetrics text.
    fn text(&self, status: &Status) -> Result<String, std::fmt::Error> {
        let (mut registry, runs) = (Registry::with_prefix("mpyc_party"), self.runs.clone());
        registry.register("runs", "Runs that ended, by verdict", runs);
        let (sent, received) = (self.sent.clone(), self.received.clone());
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
        for (path, count) in links_by_path(status) {
            links.get_or_create(&label("path", path)).set(i64::from(count));
        }
        registry.register("links", "Links to peers of running sessions, by path", links);
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

fn links_by_path(status: &Status) -> BTreeMap<&str, u32> {
    let mut all = BTreeMap::from([("tcp", 0), ("quic", 0), ("relay", 0)]);
    let paths = status.sessions.values().flat_map(|session| &session.paths);
    paths.for_each(|(path, count)| *all.entry(path).or_default() += count);
    all
}

/// Who wants metrics comes in here.
#[derive(Debug)]
pub(super) enum Inlet {
    Port(TcpListener),
    Socket(UnixListener),
}

impl Inlet {
    /// Opens the address or path that the configuration names.
    ///
    /// # Errors
    /// What the system says.
    pub(super) async fn open(place: &str) -> io::Result<Self> {
        if !place.starts_with('/') {
            return TcpListener::bind(place).await.map(Self::Port);
        }
        match std::fs::remove_file(place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => UnixListener::bind(place).map(Self::Socket),
        }
    }
}

/// Answers whoever asks at `inlet`, one after the other, for ever.
pub(super) async fn serve(inlet: Inlet, status: watch::Receiver<Status>, counts: Counts) {
    let counts = Arc::new(counts);
    loop {
        let text = || counts.text(&status.borrow().clone()).unwrap_or_default();
        let outcome = match &inlet {
            Inlet::Port(listener) => match listener.accept().await {
                Ok((stream, _)) => timeout(PATIENCE, answer(stream, text)).await,
                Err(error) => Ok(Err(error)),
            },
            Inlet::Socket(listener) => match listener.accept().await {
                Ok((stream, _)) => timeout(PATIENCE, answer(stream, text)).await,
                Err(error) => Ok(Err(error)),
            },
        };
        if let Ok(Err(error)) = outcome {
            log::debug!("metrics: {error}");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// One request and its answer (HTTP/1.0, RFC 1945): whatever is asked, it is the metrics.
async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    text: impl Fn() -> String,
) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut piece = [0; 1024];
        match stream.read(&mut piece).await? {
            length if length > 0 && request.len() < LARGEST => {
                request.extend_from_slice(&piece[..length]);
            }
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    let text = text();
    let head = format!(
        "HTTP/1.0 200 OK\r\nContent-Type: {TYPE}\r\nContent-Length: {}\r\n\r\n",
        text.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

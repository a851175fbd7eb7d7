//! The inspect socket: whoever asks it is shown what a run is doing now.
//!
//! It lies in the run's directory, for its owner alone. A runner that was killed leaves it behind;
//! that nobody is there any more, the run directory's lock shows.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mpyc_party_core::name::{PartyName, SessionName};
use mpyc_party_core::roster::Roster;
use mpyc_party_core::verdict::Stage;
use mpyc_party_core::waits::Waits;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use mpyc_party_net::discovery::HubReport;
use mpyc_party_net::discovery::nat::Nat;
use mpyc_party_net::links::report::PeerReport;
use mpyc_party_transport::task::Supervisor;

use crate::config::files;

/// The socket's name in the run's directory.
const NAME: &str = "inspect";
/// How long either end waits for the other.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Largest snapshot in bytes.
const MAX_SNAPSHOT_BYTES: u64 = 1 << 20;

/// A run as it is at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The version of mpyc-party.
    pub version: String,
    /// The runner's process.
    pub process: u32,
    /// The session.
    pub session: SessionName,
    /// This party.
    pub party: PartyName,
    /// The run's id, once all have agreed.
    pub run: Option<String>,
    /// When the run began (RFC 3339, UTC).
    pub started: String,
    /// Where it is.
    pub stage: Stage,
    /// Seconds since the stage began.
    pub in_stage_s: f64,
    /// Seconds left until all parties have to be there; none once the program runs.
    pub deadline_s: Option<f64>,
    /// Seconds that an outage may last.
    pub grace_s: f64,
    /// The parties, in order.
    pub roster: Roster,
    /// Each other party, in order.
    pub peers: Vec<PeerReport>,
    /// What this party waits for.
    #[serde(default)]
    pub waits: Waits,
    /// The hubs that were tried.
    pub hubs: Vec<HubReport>,
    /// The NAT before this party, as far as its hubs tell.
    pub nat: Nat,
    /// Where this party says that it is reached, as in «tcp 192.0.2.1:4747».
    pub candidates: Vec<String>,
    /// What runs the program, once it is known.
    pub versions: Option<String>,
}

/// The socket of a run, there as long as this is held.
#[derive(Debug)]
pub(super) struct Inspector {
    asked: mpsc::Receiver<oneshot::Sender<Snapshot>>,
    path: PathBuf,
    supervisor: Supervisor,
}

impl Inspector {
    /// Opens the socket in a run's `directory`, which only its owner can enter. Where that cannot
    /// be, the run goes on unseen.
    pub(super) fn open(directory: &Path) -> Self {
        let (sender, asked) = mpsc::channel(1);
        let mut supervisor = Supervisor::new(None);
        match listen(directory) {
            Ok(listener) => supervisor.spawn("inspect socket", |_| serve(listener, sender)),
            Err(error) => log::warn!("status and peers will not see this run: {error}"),
        }
        Self { asked, path: directory.join(NAME), supervisor }
    }

    /// The next one who wants a snapshot. Never ends; may be cancelled. No run fails for want of
    /// being seen: that the socket is served no more is only said.
    pub(super) async fn next(&mut self) -> oneshot::Sender<Snapshot> {
        loop {
            tokio::select! {
                Some(asked) = self.asked.recv() => return asked,
                failure = self.supervisor.failure() => {
                    log::error!("status and peers will not see this run any more: {failure}");
                }
            }
        }
    }
}

impl Drop for Inspector {
    fn drop(&mut self) {
        // One that cannot be removed is in nobody's way.
        let _ = fs::remove_file(&self.path);
    }
}

fn listen(directory: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(Reach::to(directory)?.path())?;
    fs::set_permissions(directory.join(NAME), Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// One asker at a time: it is the owner, and waits as long as it takes to answer another.
async fn serve(listener: UnixListener, asked: mpsc::Sender<oneshot::Sender<Snapshot>>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                log::debug!("inspect socket: {error}");
                sleep(ANSWER_TIMEOUT).await;
                continue;
            }
        };
        match timeout(2 * ANSWER_TIMEOUT, answer(stream, &asked)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::debug!("inspect socket: {error}"),
            Err(_) => log::debug!("inspect socket: whoever asked does not read"),
        }
    }
}

async fn answer(
    mut stream: UnixStream,
    asked: &mpsc::Sender<oneshot::Sender<Snapshot>>,
) -> io::Result<()> {
    let (uid, own) = (stream.peer_cred()?.uid(), rustix::process::geteuid().as_raw());
    if uid != own && uid != 0 {
        return Err(io::Error::other(format!("user {uid} is not shown anything")));
    }
    let (sender, snapshot) = oneshot::channel();
    let gone = |_| io::Error::other("the run is over");
    asked.send(sender).await.map_err(io::Error::other)?;
    let text = serde_json::to_vec(&snapshot.await.map_err(gone)?)?;
    stream.write_all(&text).await?;
    stream.shutdown().await
}

/// What comes of looking at a run.
#[derive(Debug)]
pub enum Inspected {
    /// The run as it is now.
    Now(Box<Snapshot>),
    /// This process has the run's socket, and does not answer.
    Silent(u32),
    /// Nobody has it: the runner is still making ready, just ending, or was killed.
    Closed,
}

/// Asks for the run in `directory` as it is now.
pub async fn inspect(directory: &Path) -> Inspected {
    let connected = async { UnixStream::connect(Reach::to(directory)?.path()).await };
    let said = |error: io::Error| log::debug!("{}: {error}", directory.join(NAME).display());
    let Ok(Ok(stream)) = timeout(ANSWER_TIMEOUT, connected).await.map(|done| done.map_err(said))
    else {
        return Inspected::Closed;
    };
    let process = stream.peer_cred().ok().and_then(|peer| u32::try_from(peer.pid()?).ok());
    let conversation = async {
        let mut text = Vec::new();
        stream.take(MAX_SNAPSHOT_BYTES).read_to_end(&mut text).await?;
        Ok::<_, io::Error>(serde_json::from_slice(&text)?)
    };
    match (timeout(2 * ANSWER_TIMEOUT, conversation).await, process) {
        (Ok(Ok(snapshot)), _) => Inspected::Now(Box::new(snapshot)),
        (Ok(Err(error)), _) => {
            said(error);
            Inspected::Closed
        }
        (Err(_), Some(process)) => Inspected::Silent(process),
        (Err(_), None) => Inspected::Closed,
    }
}

/// A way to the socket that is short enough for a socket's address (108 bytes, unix(7)), however
/// deep the directory lies.
struct Reach(File);

impl Reach {
    fn to(directory: &Path) -> io::Result<Self> {
        files::open_dir(directory).map(Self)
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd())).join(NAME)
    }
}

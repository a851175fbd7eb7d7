//! The two ends of our link, as runners have them: a Unix socket on the inside, any of the paths on
//! the outside, one process a side.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use mpyc_party_core::stream::{Epoch, Stream, WINDOW_BYTES};
use mpyc_party_transport::forward::{inward, outward};
use mpyc_party_transport::resume::{self, Local};
use mpyc_party_transport::{Identity, SecureStream};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::meeting::{Far, near as dial};
use super::traffic::say;

/// Which side of the link a process is.
#[derive(Subcommand)]
pub(crate) enum End {
    /// Take one connection on a Unix socket and carry it to the other side.
    Near(EndConfig),
    /// Take one link and carry it to a Unix socket.
    Far(EndConfig),
}

/// Where a side is, and how it meets the other.
#[derive(Args)]
pub(crate) struct EndConfig {
    /// Where the near side listens and the far side dials.
    inside: PathBuf,
    /// Where `certificate.der`, `key.der` and `root.der` are.
    identity: PathBuf,
    /// The path to take.
    #[arg(long, value_enum)]
    transport: Transport,
    /// Where the far side listens, or the hub that introduces or relays.
    #[arg(long)]
    at: SocketAddr,
    /// Carry bytes alone: a link that breaks takes its stream with it.
    #[arg(long)]
    bare: bool,
}

/// A path.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Transport {
    /// TLS over TCP.
    Tcp,
    /// QUIC, punched after an introduction.
    Quic,
    /// TLS through a hub.
    Relay,
}

/// Carries one connection to its end.
pub(crate) fn run(end: End) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match end {
            End::Near(config) => near(&config).await,
            End::Far(config) => far(&config).await,
        }
    })
}

async fn near(config: &EndConfig) -> Result<()> {
    let identity = load(&config.identity)?;
    let listener = UnixListener::bind(&config.inside)?;
    say(&"listening")?;
    let (inside, _) = listener.accept().await?;
    let met = dial(config.transport, config.at, &identity).await?;
    carry(inside, met.stream, config.bare).await
}

async fn far(config: &EndConfig) -> Result<()> {
    let identity = load(&config.identity)?;
    let far = Far::prepare(config.transport, config.at, &identity).await?;
    say(&"listening")?;
    let met = far.meet(&identity).await?;
    carry(UnixStream::connect(&config.inside).await?, met.stream, config.bare).await
}

/// As the runner carries a stream, or without what lets it outlive the link.
async fn carry(inside: UnixStream, outside: SecureStream, bare: bool) -> Result<()> {
    let (mut reader, mut writer) = inside.into_split();
    if bare {
        let (mut from_peer, mut to_peer) = tokio::io::split(outside);
        tokio::try_join!(inward(&mut from_peer, &mut writer), outward(&mut reader, &mut to_peer))?;
        return Ok(());
    }
    let local = Local { reader, writer, beginning: None, traffic: Default::default() };
    let (handle, alternatives) = resume::channel();
    let (tell, mut events) = mpsc::unbounded_channel();
    let carried = resume::carry(Stream::new(WINDOW_BYTES), local, alternatives, move |event| {
        // Who does not listen any more has ended.
        let _ = tell.send(event);
    });
    let watched = async {
        let epoch = Epoch { link: 1, attempt: 1 };
        let received = handle.fence(epoch).await?;
        handle.attach(epoch, received, outside).await?;
        // This tunnel is the first and the last.
        while matches!(events.recv().await, Some(resume::Event::PeerEnded)) {}
        Ok(())
    };
    tokio::select! {
        fault = carried => Ok(fault?),
        ended = watched => ended,
    }
}

fn load(directory: &Path) -> Result<Identity> {
    let read = |name: &str| {
        let path = directory.join(name);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let key = Zeroizing::new(read("key.der")?);
    Ok(Identity::new(read("certificate.der")?, key, read("root.der")?)?)
}

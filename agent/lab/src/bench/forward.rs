//! Our link, as the runner uses it: a Unix socket on the inside, mutual TLS on the outside, one
//! process a side.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Subcommand;
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::forward::{inward, outward};
use mpyc_party_transport::{Expect, Identity, Protocol, Secure, accept, connect};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use zeroize::Zeroizing;

use super::traffic::say;

/// Which side of the link a process is.
#[derive(Subcommand)]
pub(crate) enum End {
    /// Take one connection on a Unix socket and carry it to the other side.
    Near {
        /// Where to listen.
        inside: PathBuf,
        /// The other side.
        outside: SocketAddr,
        /// Where `certificate.der`, `key.der` and `root.der` are.
        identity: PathBuf,
    },
    /// Take one link and carry it to a Unix socket.
    Far {
        /// Where to dial.
        inside: PathBuf,
        /// Where to listen.
        outside: SocketAddr,
        /// Where `certificate.der`, `key.der` and `root.der` are.
        identity: PathBuf,
    },
}

/// Carries one connection to its end.
pub(crate) fn run(end: End) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match end {
            End::Near { inside, outside, identity } => near(&inside, outside, &identity).await,
            End::Far { inside, outside, identity } => far(&inside, outside, &identity).await,
        }
    })
}

async fn near(inside: &Path, outside: SocketAddr, identity: &Path) -> Result<()> {
    let identity = load(identity)?;
    let listener = UnixListener::bind(inside)?;
    say(&"listening")?;
    let (inside, _) = listener.accept().await?;
    let tcp = TcpStream::connect(outside).await?;
    let expect = Expect::AnyParty;
    let name = Tag::hub(&identity.root().fingerprint).server_name();
    forward(inside, connect(tcp, &identity, Protocol::Stream, &expect, &name).await?).await
}

async fn far(inside: &Path, outside: SocketAddr, identity: &Path) -> Result<()> {
    let identity = load(identity)?;
    let listener = TcpListener::bind(outside).await?;
    say(&"listening")?;
    let (tcp, _) = listener.accept().await?;
    let secure = accept(tcp, &identity, &[(Protocol::Stream, Expect::AnyParty)]).await?;
    forward(UnixStream::connect(inside).await?, secure).await
}

/// As the runner carries a stream.
async fn forward(inside: UnixStream, outside: Secure) -> Result<()> {
    let (mut from_peer, mut to_peer) = tokio::io::split(outside.stream);
    let (mut from_local, mut to_local) = inside.into_split();
    tokio::try_join!(
        inward(&mut from_peer, &mut to_local),
        outward(&mut from_local, &mut to_peer)
    )?;
    Ok(())
}

fn load(directory: &Path) -> Result<Identity> {
    let read = |name: &str| {
        let path = directory.join(name);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let key = Zeroizing::new(read("key.der")?);
    Ok(Identity::new(read("certificate.der")?, key, read("root.der")?)?)
}

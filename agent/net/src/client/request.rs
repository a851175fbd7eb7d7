//! What all requests to a hub or an authority have in common: connections, one request, one reply,
//! bounded sizes and times.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mpyc_party_core::membership::{MAX_REPLY_BYTES, MAX_REQUEST_BYTES, Reply};
use mpyc_party_core::relay::Refusal;
use mpyc_party_core::sni::Tag;
use mpyc_party_core::text::excerpt;
use mpyc_party_transport::frame::{self, FrameError};
use mpyc_party_transport::{
    Expect, HANDSHAKE_TIMEOUT, Identity, IdentityError, KeyError, Protocol, Secure, TransportError,
    connect,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::segment_memory::{self, Stalled};

/// How long a connection attempt may take: system retries after 1 and 3 seconds included.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// How many addresses of one name are tried.
const MAX_RESOLVED: usize = 8;
/// The most characters that are shown of why a request was refused.
const MAX_REASON_CHARS: usize = 500;

/// Why a request to an authority or a hub failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The place cannot be reached.
    #[error("{hub} cannot be reached: {source}")]
    Unreachable {
        /// The place, «host:port».
        hub: String,
        /// What the system says.
        source: io::Error,
    },
    /// The connection did not come about.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The connection did not come about, below its handshake.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It opened, and then nothing got through.
    #[error(transparent)]
    Stalled(#[from] Stalled),
    /// The conversation broke.
    #[error("{hub}: {source}")]
    Frame {
        /// The place, «host:port».
        hub: String,
        /// What happened.
        source: FrameError,
    },
    /// No reply in time.
    #[error("{0} did not reply in time")]
    Timeout(String),
    /// Refused, with the other end's reason.
    #[error("the authority refused: {0}")]
    Refused(String),
    /// A hub's relay does not connect.
    #[error("{hub}: {refusal}")]
    Relay {
        /// The place, «host:port».
        hub: String,
        /// Why.
        refusal: Refusal,
    },
    /// There is no place to ask.
    #[error("no hub is known to ask: name one as network.hubs in the configuration")]
    NoHub,
    /// What the authority sent does not fit what was asked.
    #[error("the authority's certificate is unusable: {0}")]
    Unusable(#[from] IdentityError),
    /// A renewed certificate is another's, or not of this network.
    #[error("the certificate that came is not a renewal of this one: {0}")]
    NotRenewed(String),
    /// The own private key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// The addresses of `hub`, «host:port», as the resolver has them now.
pub(crate) async fn resolve(hub: &str) -> Result<Vec<SocketAddr>, RequestError> {
    let unreachable = |source| RequestError::Unreachable { hub: hub.to_owned(), source };
    // The resolver has no limit of its own.
    let found = timeout(DIAL_TIMEOUT, lookup_host(hub)).await;
    let found = found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    Ok(found.map_err(unreachable)?.take(MAX_RESOLVED).collect())
}

/// The first of `attempts` to succeed, all made at once; else the last error. None without any.
pub(crate) async fn first<T: Send + 'static, E: Send + 'static>(
    attempts: impl Iterator<Item = impl Future<Output = Result<T, E>> + Send + 'static>,
) -> Option<Result<T, E>> {
    let mut running: JoinSet<_> = attempts.collect();
    let mut last = None;
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok(Ok(won)) => return Some(Ok(won)),
            Ok(Err(error)) => last = Some(Err(error)),
            // Nobody cancels them, and what panicked has said so.
            Err(_) => {}
        }
    }
    last
}

/// Connects to `hub`, «host:port», over TCP, trying all its addresses at once.
pub(crate) async fn dial(hub: &str) -> Result<TcpStream, RequestError> {
    let attempts = resolve(hub).await?.into_iter().map(|address| async move {
        let bounded = timeout(DIAL_TIMEOUT, segment_memory::open(address)).await;
        bounded.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    });
    let nowhere = || Err(io::ErrorKind::AddrNotAvailable.into());
    let outcome = first(attempts).await.unwrap_or_else(nowhere);
    outcome.map_err(|source| RequestError::Unreachable { hub: hub.to_owned(), source })
}

/// Opens a connection of a member to `hub`, «host:port», over TCP.
pub(crate) async fn open(
    hub: &str,
    identity: &Identity,
    protocol: Protocol,
) -> Result<Secure, RequestError> {
    let tcp = dial(hub).await?;
    let name = Tag::hub(&identity.root().fingerprint).server_name();
    let handshake = |tcp| async {
        Ok(connect::<TcpStream>(tcp, identity, protocol, &Expect::Hub, &name).await?)
    };
    segment_memory::shake(tcp, &handshake).await
}

/// Sends a request and waits for the reply.
pub(crate) async fn ask<Q: Serialize, A: DeserializeOwned>(
    hub: &str,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &Q,
) -> Result<A, RequestError> {
    let conversation = async {
        frame::write(stream, request, MAX_REQUEST_BYTES).await?;
        frame::read(stream, MAX_REPLY_BYTES).await?.ok_or(FrameError::Truncated)
    };
    match timeout(HANDSHAKE_TIMEOUT, conversation).await {
        Ok(Ok(Reply::Granted(answer))) => Ok(answer),
        Ok(Ok(Reply::Refused(why))) => Err(RequestError::Refused(excerpt(&why, MAX_REASON_CHARS))),
        Ok(Err(source)) => Err(RequestError::Frame { hub: hub.to_owned(), source }),
        Err(_) => Err(RequestError::Timeout(hub.to_owned())),
    }
}

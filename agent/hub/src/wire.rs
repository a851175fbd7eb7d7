//! What enrolment and renewal have in common on the wire: one request, one reply, bounded sizes
//! and times.

use std::net::SocketAddr;
use std::time::Duration;

use mpyc_party_transport::frame::{self, FrameError};
use mpyc_party_transport::{IdentityError, PATIENCE, TransportError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::signer::SignerError;

/// The longest request, in bytes.
pub(crate) const REQUEST: usize = 16 * 1024;
/// The longest reply, in bytes: a directory of 64 certificates fits.
pub(crate) const REPLY: usize = 256 * 1024;
/// How long a connection attempt may take: system retries after 1 and 3 seconds included.
const DIAL: Duration = Duration::from_secs(5);

/// The server's answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply<T> {
    /// As asked.
    Granted(T),
    /// No, and why.
    Refused(String),
}

/// Why a request to an authority or a hub failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The place cannot be reached.
    #[error("{hub} cannot be reached: {source}")]
    Unreachable {
        /// The place, «host:port».
        hub: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The connection did not come about.
    #[error(transparent)]
    Transport(#[from] TransportError),
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
    /// There is no place to ask.
    #[error("no hub is known to ask")]
    NoHub,
    /// What the authority sent does not fit what was asked.
    #[error("the authority's certificate is unusable: {0}")]
    Unusable(#[from] IdentityError),
    /// The own private key is damaged.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The certificate request could not be made.
    #[error("the certificate request cannot be made: {0}")]
    Rcgen(#[from] rcgen::Error),
}

/// Connects to `hub`, «host:port», trying each of its addresses.
pub(crate) async fn dial(hub: &str) -> Result<TcpStream, RequestError> {
    let attempt = async {
        let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
        for address in lookup_host(hub).await? {
            match timeout(DIAL, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => return Ok(tcp),
                Ok(Err(error)) => last = error,
                Err(_) => last = std::io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    };
    // The resolver has no limit of its own.
    let bounded = timeout(4 * DIAL, attempt).await;
    let outcome = bounded.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
    outcome.map_err(|source| RequestError::Unreachable { hub: hub.to_owned(), source })
}

/// Sends a request and waits for the reply.
pub(crate) async fn ask<Q: Serialize, A: DeserializeOwned>(
    hub: &str,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &Q,
) -> Result<A, RequestError> {
    let conversation = async {
        frame::write(stream, request, REQUEST).await?;
        frame::read(stream, REPLY).await?.ok_or(FrameError::Truncated)
    };
    match timeout(PATIENCE, conversation).await {
        Ok(Ok(Reply::Granted(answer))) => Ok(answer),
        Ok(Ok(Reply::Refused(why))) => Err(RequestError::Refused(printable(&why))),
        Ok(Err(source)) => Err(RequestError::Frame { hub: hub.to_owned(), source }),
        Err(_) => Err(RequestError::Timeout(hub.to_owned())),
    }
}

/// A reason from elsewhere, fit for a terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(500).collect()
}

/// Reads the one request of a connection.
pub(crate) async fn hear<Q: DeserializeOwned>(
    address: SocketAddr,
    stream: &mut (impl AsyncRead + Unpin),
) -> Option<Q> {
    match timeout(PATIENCE, frame::read(stream, REQUEST)).await {
        Ok(Ok(request)) => request,
        Ok(Err(error)) => {
            log::info!("{address} sent no proper request: {error}");
            None
        }
        Err(_) => {
            log::info!("{address} sent no request in time");
            None
        }
    }
}

/// Sends the reply and ends the connection properly.
pub(crate) async fn answer<A: Serialize>(
    address: SocketAddr,
    stream: &mut (impl AsyncWrite + Unpin),
    outcome: Result<A, String>,
) {
    let reply = outcome.map_or_else(Reply::Refused, Reply::Granted);
    let conversation = async {
        frame::write(stream, &reply, REPLY).await?;
        tokio::io::AsyncWriteExt::shutdown(stream).await?;
        Ok::<(), FrameError>(())
    };
    if !matches!(timeout(PATIENCE, conversation).await, Ok(Ok(()))) {
        log::info!("{address} did not take its reply");
    }
}

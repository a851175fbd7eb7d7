//! One request and one reply on each connection, of bounded size and in bounded time.

use std::fmt;
use std::net::SocketAddr;

use mpyc_party_core::membership::{MAX_REPLY_BYTES, MAX_REQUEST_BYTES, Reply};
use mpyc_party_transport::HANDSHAKE_TIMEOUT;
use mpyc_party_transport::frame::{self, FrameError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

/// Reads the one request of a connection.
pub(crate) async fn read_request<Q: DeserializeOwned>(
    address: SocketAddr,
    stream: &mut (impl AsyncRead + Unpin),
) -> Option<Q> {
    match timeout(HANDSHAKE_TIMEOUT, frame::read(stream, MAX_REQUEST_BYTES)).await {
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
pub(crate) async fn write_reply<A: Serialize>(
    address: SocketAddr,
    stream: &mut (impl AsyncWrite + Unpin),
    outcome: Result<A, impl fmt::Display>,
) {
    // Whoever is refused is told why in words.
    let reply = outcome.map_or_else(|why| Reply::Refused(why.to_string()), Reply::Granted);
    let conversation = async {
        frame::write(stream, &reply, MAX_REPLY_BYTES).await?;
        tokio::io::AsyncWriteExt::shutdown(stream).await?;
        Ok::<(), FrameError>(())
    };
    if !matches!(timeout(HANDSHAKE_TIMEOUT, conversation).await, Ok(Ok(()))) {
        log::info!("{address} did not take its reply");
    }
}

//! A party's side of the relay: a pipe through a hub to a party that cannot be reached otherwise.
//!
//! What comes out of here is as untrusted as a TCP connection: the two parties do their own
//! handshake inside, and the hub reads nothing.

use std::time::Duration;

use mpyc_party_core::name::PartyName;
use mpyc_party_core::relay::{CallId, JOIN_TIMEOUT, MAX_MESSAGE_BYTES, Reply, Request};
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::frame::{self, FrameError};
use mpyc_party_transport::{Identity, Protocol, RawStream};
use tokio::time::timeout;

use super::request::{self as wire, RequestError};

/// How much longer than the called party a hub may take to answer.
const REPLY_MARGIN: Duration = Duration::from_secs(2);

/// Calls `party` of the session of `tag` over `hub`, «host:port»; the pipe to it once it has
/// joined.
///
/// # Errors
/// When the hub cannot be reached, refuses, or the party does not join within 5 s.
pub async fn call(
    hub: &str,
    identity: &Identity,
    tag: Tag,
    party: &PartyName,
) -> Result<RawStream, RequestError> {
    ask(hub, identity, Request::Call { tag, party: party.clone() }).await
}

/// Joins a `call` that `hub` has told of; the pipe to the caller.
///
/// # Errors
/// When the hub cannot be reached, or the caller does not wait any longer.
pub async fn join(hub: &str, identity: &Identity, call: CallId) -> Result<RawStream, RequestError> {
    ask(hub, identity, Request::Join { call }).await
}

async fn ask(hub: &str, identity: &Identity, request: Request) -> Result<RawStream, RequestError> {
    let mut secure = wire::open(hub, identity, Protocol::Relay).await?;
    let conversation = async {
        frame::write(&mut secure.stream, &request, MAX_MESSAGE_BYTES).await?;
        frame::read::<Reply>(&mut secure.stream, MAX_MESSAGE_BYTES)
            .await?
            .ok_or(FrameError::Truncated)
    };
    match timeout(JOIN_TIMEOUT + REPLY_MARGIN, conversation).await {
        Ok(Ok(Reply::Connected)) => Ok(secure.into()),
        Ok(Ok(Reply::Refused(refusal))) => {
            Err(RequestError::Relay { hub: hub.to_owned(), refusal })
        }
        Ok(Err(source)) => Err(RequestError::Frame { hub: hub.to_owned(), source }),
        Err(_) => Err(RequestError::Timeout(hub.to_owned())),
    }
}

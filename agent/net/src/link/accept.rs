//! The accepting side: who may come in, and what for.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use mpyc_party_core::control::{
    Control, MAX_CONTROL_BYTES, MAX_OPENING_BYTES, Purpose, StreamOpening,
};
use mpyc_party_transport::{Carrier, Incoming, Protocol, Secure, TransportError, frame};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::connection::Way;
use super::keep::News;
use super::{BoxError, LinkEvent, Shared, ping};

/// How long a peer may take for its first message.
const OPENING: Duration = Duration::from_secs(5);

/// Listens on `port` on all addresses; on any free port where that one is taken.
///
/// # Errors
/// What the system says when no port can be had at all.
pub(super) async fn bind(port: u16) -> io::Result<TcpListener> {
    match bind_exactly(port).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => bind_exactly(0).await,
        bound => bound,
    }
}

/// Listens on `port` on all addresses.
///
/// # Errors
/// What the system says.
pub async fn bind_exactly(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
        }
        bound => bound,
    }
}

/// Who does not know the session's tag is shown no certificate, and who is not of the roster gets
/// no further than that.
pub(super) async fn handshake(
    shared: &Shared,
    carrier: impl Into<Carrier>,
) -> Result<Secure, TransportError> {
    let incoming = Incoming::read(carrier).await?;
    if incoming.server_name() != Some(shared.circle.tag.server_name()) {
        return Err(incoming.refuse_name().await);
    }
    match incoming.protocol() {
        Some(protocol @ (Protocol::Control | Protocol::Check | Protocol::Stream)) => {
            let identity = shared.circle.identity();
            incoming.accept(&identity, protocol, &shared.expect(None)).await
        }
        _ => Err(incoming.refuse_protocol().await),
    }
}

/// Takes one who passed the handshake to where it wants.
pub(super) async fn welcome(
    shared: &Arc<Shared>,
    mut secure: Secure,
    way: Way,
) -> Result<(), BoxError> {
    let peer = shared.circle.index_of(&secure.peer).ok_or("not of the roster")?;
    if secure.protocol == Protocol::Stream {
        let opening = frame::read::<StreamOpening>(&mut secure.stream, MAX_OPENING_BYTES);
        let opening = timeout(OPENING, opening).await??.ok_or("closed before it began")?;
        // It may have come in before the key was agreed.
        if shared.keys()[peer].is_some_and(|key| key != secure.peer.key) {
            return Err("another key than the one agreed".into());
        }
        shared.events.send(LinkEvent::Stream(peer, opening, Box::new(secure))).await?;
        return Ok(());
    }
    let purpose = frame::read::<Purpose>(&mut secure.stream, MAX_OPENING_BYTES);
    let purpose = timeout(OPENING, purpose).await??.ok_or("closed before it began")?;
    match (secure.protocol, purpose) {
        (Protocol::Control, Purpose::Run { lost }) => {
            let opened = News::Opened(Box::new(secure), way, lost);
            shared.doors[peer].send(opened).await.map_err(|_| "this runner ends".into())
        }
        (Protocol::Check, Purpose::Check) => show_entry(shared, &mut secure).await,
        (Protocol::Check, Purpose::Ping) => ping::answer(&mut secure).await,
        _ => Err("it wants something else than it connected for".into()),
    }
}

/// Shows an inquiring peer of the roster what this party would run.
async fn show_entry(shared: &Shared, secure: &mut Secure) -> Result<(), BoxError> {
    let mut entry = shared.entry.clone();
    let ready = timeout(OPENING, entry.wait_for(Option::is_some)).await??.clone();
    if let Some(entry) = ready {
        frame::write(&mut secure.stream, &Control::Entry(entry), MAX_CONTROL_BYTES).await?;
    }
    secure.stream.shutdown().await?;
    Ok(())
}

//! The accepting side: who may come in, and what for.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mpyc_party_core::control::{LARGEST_CONTROL, LARGEST_OPENING, StreamOpening};
use mpyc_party_transport::gate::{Gate, Limits};
use mpyc_party_transport::{Incoming, Protocol, TransportError, frame};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::handover::Entrance;
use super::{Control, LinkEvent, Pipe, Purpose, Secure, Shared, ping};

/// How long a peer may take for its first message.
const OPENING: Duration = Duration::from_secs(5);
/// Connections that may be coming in at once.
const MOST_GUESTS: usize = 512;

/// Listens on `port` on all addresses; on any free port where that one is taken.
///
/// # Errors
/// What the system says when no port can be had at all.
pub async fn bind(port: u16) -> io::Result<TcpListener> {
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

/// Accepts control links and streams for ever.
pub(super) async fn serve(shared: Arc<Shared>, mut entrance: Entrance, pipes: mpsc::Sender<Pipe>) {
    let (gate, mut guests) = (Gate::new(Limits::default()), JoinSet::new());
    loop {
        let (tcp, from) = entrance.next().await;
        while guests.try_join_next().is_some() {}
        if guests.len() >= MOST_GUESTS {
            log::warn!("too many connections at once: the one from {from} is closed");
            continue;
        }
        let (shared, gate, pipes) = (shared.clone(), gate.clone(), pipes.clone());
        guests.spawn(async move {
            if let Err(error) = welcome(&shared, &gate, (tcp, from), &pipes).await {
                log::debug!("connection from {from} refused: {error}");
            }
        });
    }
}

async fn welcome(
    shared: &Arc<Shared>,
    gate: &Gate,
    (tcp, from): (TcpStream, SocketAddr),
    pipes: &mpsc::Sender<Pipe>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut secure = gate.decide(from, handshake(shared, tcp)).await?;
    let peer = shared.circle.index_of(&secure.peer).ok_or("not of the roster")?;
    match secure.protocol {
        Protocol::Stream => {
            let opening = frame::read::<StreamOpening>(&mut secure.stream, LARGEST_OPENING);
            let opening = timeout(OPENING, opening).await??.ok_or("closed before it began")?;
            shared.events.send(LinkEvent::Stream(peer, opening, Box::new(secure))).await?;
        }
        _ => {
            let purpose = frame::read::<Purpose>(&mut secure.stream, LARGEST_OPENING);
            match timeout(OPENING, purpose).await??.ok_or("closed before it began")? {
                Purpose::Run => settle(shared, peer, secure, None, pipes).await?,
                Purpose::Check => show_entry(shared, &mut secure).await?,
                Purpose::Ping => ping::answer(&mut secure).await?,
            }
        }
    }
    Ok(())
}

/// Who does not know the session's tag is shown no certificate, and who is not of the roster gets
/// no further than that.
async fn handshake(shared: &Shared, tcp: TcpStream) -> Result<Secure, TransportError> {
    let incoming = Incoming::read(tcp).await?;
    if incoming.server_name() != Some(shared.circle.tag.server_name()) {
        return Err(incoming.refuse_name().await);
    }
    match incoming.protocol() {
        Some(protocol @ (Protocol::Control | Protocol::Check | Protocol::Stream)) => {
            let identity = shared.circle.identity();
            incoming.accept(&identity, protocol, &shared.circle.expect(None)).await
        }
        _ => Err(incoming.refuse_protocol().await),
    }
}

/// Decides whether this connection becomes the control link to `peer`: the controlling end takes it
/// if there is none yet, the other end waits to be told.
pub(super) async fn settle(
    shared: &Arc<Shared>,
    peer: usize,
    mut secure: Secure,
    address: Option<SocketAddr>,
    pipes: &mpsc::Sender<Pipe>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut choice = None;
    if shared.circle.controls(peer) {
        choice = Some(shared.choose(peer).ok_or("there is a link to this peer already")?);
        frame::write(&mut secure.stream, &Control::Use, LARGEST_CONTROL).await?;
    } else {
        let first = frame::read::<Control>(&mut secure.stream, LARGEST_CONTROL);
        match timeout(OPENING, first).await?? {
            Some(Control::Use) => {}
            _ => return Err("the peer uses another link".into()),
        }
    }
    pipes.send(Pipe { peer, secure, address, choice }).await.map_err(|_| "this runner ends".into())
}

/// Shows an inquiring peer of the roster what this party would run.
async fn show_entry(
    shared: &Shared,
    secure: &mut Secure,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut entry = shared.entry.clone();
    let ready = timeout(OPENING, entry.wait_for(Option::is_some)).await??.clone();
    if let Some(entry) = ready {
        frame::write(&mut secure.stream, &Control::Entry(entry), LARGEST_CONTROL).await?;
    }
    tokio::io::AsyncWriteExt::shutdown(&mut secure.stream).await?;
    Ok(())
}

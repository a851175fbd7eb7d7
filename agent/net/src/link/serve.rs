//! The doors through which peers come in: the TCP entrance, the UDP socket, and calls over a relay.

use std::sync::Arc;

use mpyc_party_core::claims::Claims;
use mpyc_party_core::relay::CallId;
use mpyc_party_transport::gate::{Gate, Limits};
use mpyc_party_transport::{Protocol, quic};

use crate::relay;
use tokio::task::JoinSet;

use super::accept::{handshake, welcome};
use super::connection::Way;
use super::entrance::Entrance;
use super::seats::Seat;
use super::{BoxError, Shared};

/// Connections that may be coming in at once.
pub(super) const MOST_GUESTS: usize = 512;
/// The same of one peer, over TCP and relays until they are where they want to be, over QUIC as long
/// as they are there: each may have megabytes wait that nobody reads.
pub(super) const MOST_OF_ONE: usize = 32;

/// Accepts TCP connections for ever.
pub(super) async fn tcp(shared: Arc<Shared>, mut entrance: Entrance) {
    let (gate, mut guests) = (Gate::new(Limits::default()), JoinSet::new());
    loop {
        let (tcp, from) = entrance.next().await;
        while guests.try_join_next().is_some() {}
        if guests.len() >= MOST_GUESTS {
            log::warn!("too many connections at once: the one from {from} is closed");
            continue;
        }
        let (shared, gate) = (shared.clone(), gate.clone());
        guests.spawn(async move {
            let arrival = async {
                let secure = gate.decide(from, handshake(&shared, tcp)).await?;
                let _seat = seat(&shared, &secure.peer)?;
                let way = Way::of(&secure, false, None);
                welcome(&shared, secure, way).await
            };
            if let Err(error) = arrival.await {
                log::debug!("connection from {from} refused: {error}");
            }
        });
    }
}

/// Accepts QUIC connections, and the streams on each, until the endpoint is closed.
pub(super) async fn quic(shared: Arc<Shared>, endpoint: quic::Endpoint) {
    let mut guests = JoinSet::new();
    while let Some(incoming) = endpoint.next().await {
        while guests.try_join_next().is_some() {}
        if guests.len() >= MOST_GUESTS {
            incoming.refuse();
            continue;
        }
        let shared = shared.clone();
        guests.spawn(async move {
            let from = incoming.address();
            if let Err(error) = visit(&shared, incoming).await {
                log::debug!("QUIC connection from {from}: {error}");
            }
        });
    }
}

async fn visit(shared: &Arc<Shared>, incoming: quic::QuicIncoming) -> Result<(), BoxError> {
    let (identity, name) = (shared.circle.identity(), shared.circle.tag.server_name());
    let expect = shared.expect(None);
    let connection = incoming.accept(&identity, Protocol::Peer, &name, &expect).await?;
    let _seat = seat(shared, connection.peer())?;
    let mut streams = JoinSet::new();
    loop {
        let secure = connection.accept().await?;
        while streams.try_join_next().is_some() {}
        if streams.len() >= MOST_GUESTS {
            continue;
        }
        let way = Way::of(&secure, false, None);
        let shared = shared.clone();
        streams.spawn(async move {
            if let Err(error) = welcome(&shared, secure, way).await {
                log::debug!("stream of a QUIC connection refused: {error}");
            }
        });
    }
}

/// A place for one more connection of this peer.
fn seat(shared: &Shared, peer: &Claims) -> Result<Seat, BoxError> {
    Ok(shared.guests.take(peer.party().ok_or("not a party")?)?)
}

/// Joins a call: whoever is in the pipe has to show that it is of the roster, as anywhere else.
pub(super) async fn called(shared: Arc<Shared>, hub: String, call: CallId) {
    let arrival = async {
        let pipe = relay::join(&hub, &shared.circle.identity(), call).await?;
        let secure = handshake(&shared, pipe).await?;
        let _seat = seat(&shared, &secure.peer)?;
        let way = Way::of(&secure, false, None).over(hub.clone());
        welcome(&shared, secure, way).await
    };
    if let Err(error) = arrival.await {
        log::debug!("call over {hub} refused: {error}");
    }
}

#[cfg(test)]
mod tests;

//! The one public port: who comes is looked at, and handed on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use mpyc_party_core::name::{PartyName, SessionName};
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::gate::{self, Gate, Limits};
use mpyc_party_transport::{Incoming, Protocol, TransportError, peek};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::runners::Runners;
use crate::link::Circle;

/// Connections that may be coming in at once.
const MOST_GUESTS: usize = 512;

/// The declared sessions, by what stands for them in public.
pub(super) type Circles = Arc<BTreeMap<Tag, (SessionName, Circle)>>;

/// A party of a session's roster wants to run it, and no runner is there.
#[derive(Debug)]
pub(super) struct Knock {
    /// The session.
    pub(super) session: SessionName,
    /// Who.
    pub(super) party: PartyName,
}

/// Behind the public port.
#[derive(Clone)]
pub(super) struct Door {
    /// Who gets connections.
    pub(super) runners: Runners,
    /// For which sessions this party answers where no runner does.
    pub(super) circles: watch::Receiver<Circles>,
    /// Where it is told who knocks.
    pub(super) knocks: mpsc::Sender<Knock>,
}

impl Door {
    /// Accepts on `listener` for ever.
    pub(super) async fn serve(self, listener: TcpListener) {
        let (gate, mut guests) = (Gate::new(Limits::default()), JoinSet::new());
        loop {
            let (tcp, from) = gate::next(&listener).await;
            while guests.try_join_next().is_some() {}
            if guests.len() >= MOST_GUESTS {
                log::warn!("too many connections at once: the one from {from} is closed");
                continue;
            }
            let (door, gate) = (self.clone(), gate.clone());
            guests.spawn(async move {
                match gate.decide(from, door.admit(tcp, from)).await {
                    // One that finds the queue full comes again.
                    Ok(Some(knock)) => drop(door.knocks.try_send(knock)),
                    Ok(None) => {}
                    Err(error) => log::debug!("connection from {from} refused: {error}"),
                }
            });
        }
    }

    /// Hands the connection to the runner it asks for. Where there is none, but the session is
    /// declared, the handshake is done here, to learn who wants to run it.
    async fn admit(
        &self,
        tcp: TcpStream,
        from: SocketAddr,
    ) -> Result<Option<Knock>, TransportError> {
        let name = peek::server_name(&tcp, from).await?;
        let tag = name.and_then(|name| Tag::from_server_name(&name).ok());
        let Some(tcp) = self.runners.hand_over(tag.as_ref(), tcp) else { return Ok(None) };
        let declared = tag.and_then(|tag| self.circles.borrow().get(&tag).cloned());
        let incoming = Incoming::read(tcp).await?;
        let Some((session, circle)) = declared else { return Err(incoming.refuse_name().await) };
        let Some(protocol @ (Protocol::Control | Protocol::Check)) = incoming.protocol() else {
            return Err(incoming.refuse_protocol().await);
        };
        // Not accepted, or the peer would take this for the link to a runner: it comes again.
        let peer = incoming.identify(&circle.identity(), protocol, &circle.expect(None)).await?;
        let party = peer.party().filter(|_| protocol == Protocol::Control).cloned();
        Ok(party.map(|party| Knock { session, party }))
    }
}

//! Ports of this machine, exposed to some other parties.
//!
//! Whoever may reach any of them finds this party at the hubs under a tag of its own, and comes in
//! as peers of a session do: at the public TCP port, over the UDP socket, or by a call over a relay.
//! The handshake lets in nobody else. Then one port is asked for; where that is allowed, the bytes
//! go to and fro between the two connections, through this process alone.

mod guest;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mpyc_party_core::candidate::{Candidate, Vantage, admit};
use mpyc_party_core::claims::{Claims, PublicKey};
use mpyc_party_core::expose::{Rule, Rules};
use mpyc_party_core::name::PartyName;
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::gate::{Gate, Limits};
use mpyc_party_transport::{
    Carrier, Expect, Identity, Incoming, Protocol, Secure, TransportError, quic,
};

use crate::relay;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::BoxError;
use super::entrance::Entrance;
use super::moves::Moves;
use super::seats::{Seat, Seats};
use crate::discovery::findable::{Audience, Call, Findable};

/// Connections that may be there at once, and of one party.
const MOST_GUESTS: usize = 256;
const MOST_GUESTS_OF_ONE: usize = 64;
/// Connections to ports, and of one party: a deployment has some ten at once.
const MOST: usize = 128;
const MOST_OF_ONE: usize = 32;
/// Parties towards which is dialled at once.
const MOST_MEETINGS: usize = 16;
/// How long a QUIC connection may be there without a stream.
const UNUSED: Duration = Duration::from_secs(10);

/// What is exposed, and the keys that some parties must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Who may reach what.
    pub rules: Rules,
    /// Keys pinned here.
    pub pins: BTreeMap<PartyName, PublicKey>,
}

impl Allowed {
    /// Whom the handshake lets in.
    fn expect(&self) -> Expect {
        let (parties, groups) = (self.rules.parties(), self.rules.groups());
        Expect::Members { parties, groups, pins: self.pins.clone() }
    }

    /// What `port` is for the party with these claims; nothing where it may not, or has another key
    /// than the one that is pinned by now.
    fn find(&self, claims: &Claims, port: u16) -> Option<&Rule> {
        self.knows(claims).then(|| self.rules.find(claims, port)).flatten()
    }

    /// Whether the party with these claims, who was connected by `rule`, still would be.
    fn still(&self, rule: &Rule, claims: &Claims) -> bool {
        self.knows(claims) && self.rules.still(rule, claims)
    }

    fn knows(&self, claims: &Claims) -> bool {
        let pin = claims.party().and_then(|party| self.pins.get(party));
        pin.is_none_or(|key| *key == claims.key)
    }

    /// Who may know where this party is.
    #[must_use]
    pub fn audience(&self) -> Audience {
        Audience {
            parties: self.rules.parties().into_iter().collect(),
            groups: self.rules.groups().into_iter().collect(),
        }
    }
}

/// What all tasks of the exposing process share.
#[derive(Debug)]
struct House {
    identity: watch::Receiver<Identity>,
    allowed: watch::Receiver<Allowed>,
    tag: Tag,
    quic: quic::Endpoint,
    /// Whoever is there, and whoever is connected with a port.
    guests: Seats,
    seats: Seats,
    meetings: Arc<Semaphore>,
}

/// Lets others in at `entrance`, over the UDP socket of `quic` and by calls that `findable` brings,
/// to what is `allowed` at the moment; never ends.
pub async fn serve(
    identity: watch::Receiver<Identity>,
    allowed: watch::Receiver<Allowed>,
    tag: Tag,
    mut entrance: Entrance,
    quic: quic::Endpoint,
    mut findable: Findable,
) {
    let mut changes = allowed.clone();
    let meetings = Arc::new(Semaphore::new(MOST_MEETINGS));
    let guests = Seats::new(MOST_GUESTS, MOST_GUESTS_OF_ONE);
    let seats = Seats::new(MOST, MOST_OF_ONE);
    let house = Arc::new(House { identity, allowed, tag, quic, guests, seats, meetings });
    let (gate, mut moves) = (Gate::new(Limits::default()), Moves::watch());
    let mut guests = JoinSet::new();
    loop {
        let arrival = tokio::select! {
            (tcp, from) = entrance.next() => Arrival::Tcp(tcp, from, gate.clone()),
            Some(incoming) = house.quic.next() => Arrival::Quic(Box::new(incoming)),
            call = findable.next() => Arrival::Called(call),
            _ = moves.next() => {
                findable.moved();
                continue;
            }
            Ok(()) = changes.changed() => {
                findable.set(changes.borrow_and_update().audience());
                continue;
            }
        };
        while guests.try_join_next().is_some() {}
        if guests.len() >= MOST_GUESTS {
            log::warn!("too many connections at once: one is closed");
            continue;
        }
        let house = Arc::clone(&house);
        guests.spawn(async move {
            if let Err(error) = house.receive(arrival).await {
                // One who knows the tag and is not allowed is worth a line; noise is not.
                let member = matches!(error.downcast_ref(), Some(TransportError::Peer { .. }));
                let level = if member { log::Level::Warn } else { log::Level::Debug };
                log::log!(level, "a connection is refused: {error}");
            }
        });
    }
}

/// One who comes.
enum Arrival {
    Tcp(tokio::net::TcpStream, SocketAddr, Gate),
    Quic(Box<quic::QuicIncoming>),
    Called(Call),
}

impl House {
    fn identity(&self) -> Identity {
        self.identity.borrow().clone()
    }

    fn expect(&self) -> Expect {
        self.allowed.borrow().expect()
    }

    async fn receive(self: &Arc<Self>, arrival: Arrival) -> Result<(), BoxError> {
        match arrival {
            Arrival::Tcp(tcp, from, gate) => {
                let secure = gate.decide(from, self.handshake(tcp)).await?;
                let _seat = self.seat(&secure.peer)?;
                self.attend(secure, None).await
            }
            Arrival::Quic(incoming) => {
                let (identity, name) = (self.identity(), self.tag.server_name());
                let accepted =
                    incoming.accept(&identity, Protocol::Expose, &name, &self.expect()).await?;
                self.visit(accepted).await
            }
            Arrival::Called(Call { hub, call }) => {
                let pipe = relay::join(&hub, &self.identity(), call).await?;
                let secure = self.handshake(pipe).await?;
                let _seat = self.seat(&secure.peer)?;
                self.attend(secure, Some(hub)).await
            }
        }
    }

    /// A place for one more connection of this party.
    fn seat(&self, claims: &Claims) -> Result<Seat, BoxError> {
        Ok(self.guests.take(claims.party().ok_or("not a party")?)?)
    }

    /// Who does not know the tag is shown no certificate, and who may reach nothing gets no further
    /// than that.
    async fn handshake(&self, carrier: impl Into<Carrier>) -> Result<Secure, TransportError> {
        let incoming = Incoming::read(carrier).await?;
        if incoming.server_name() != Some(self.tag.server_name()) {
            return Err(incoming.refuse_name().await);
        }
        if incoming.protocol() != Some(Protocol::Expose) {
            return Err(incoming.refuse_protocol().await);
        }
        incoming.accept(&self.identity(), Protocol::Expose, &self.expect()).await
    }

    /// Attends to every stream of a QUIC connection, until it is over or of no use to anybody.
    async fn visit(self: &Arc<Self>, connection: quic::Connection) -> Result<(), BoxError> {
        let _seat = self.seat(connection.peer())?;
        let mut streams = JoinSet::new();
        loop {
            tokio::select! {
                secure = connection.accept() => {
                    let (house, secure) = (Arc::clone(self), secure?);
                    streams.spawn(async move {
                        if let Err(error) = house.attend(secure, None).await {
                            log::debug!("a stream is refused: {error}");
                        }
                    });
                }
                Some(_) = streams.join_next() => {}
                () = sleep(UNUSED), if streams.is_empty() => return Ok(()),
            }
        }
    }

    /// Dials the party with these `claims`, who does the same, and attends to it where one of both
    /// gets through.
    fn meet(self: &Arc<Self>, claims: &Claims, candidates: &[Candidate], vantage: Vantage) {
        let Some(party) = claims.party() else { return };
        // With so many at it, this one stays on the relay.
        let Ok(permit) = Arc::clone(&self.meetings).try_acquire_owned() else { return };
        let expect = Expect::Parties(vec![(party.clone(), Some(claims.key))]);
        let mut attempts = JoinSet::new();
        for candidate in admit(candidates, vantage) {
            let Candidate::Udp(address) = candidate else { continue };
            let (house, expect) = (Arc::clone(self), expect.clone());
            attempts.spawn(async move {
                let (identity, name) = (house.identity(), house.tag.server_name());
                house.quic.connect(address, &identity, Protocol::Expose, &expect, &name).await
            });
        }
        let house = Arc::clone(self);
        tokio::spawn(async move {
            let mut connected = None;
            while let Some(attempt) = attempts.join_next().await {
                if let Ok(Ok(connection)) = attempt {
                    connected = Some(connection);
                    break;
                }
            }
            drop((attempts, permit));
            if let Some(connection) = connected
                && let Err(error) = house.visit(connection).await
            {
                log::debug!("a connection that was dialled is over: {error}");
            }
        });
    }
}

#[cfg(test)]
mod tests;

//! Looks at a hub the ways a party reaches it, one by one, and takes no part in anything there.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mpyc_party_core::claims::Claims;
use mpyc_party_core::lighthouse::{Answer, MAX_MESSAGE_BYTES, Reason, Request};
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::now;
use mpyc_party_transport::{Expect, HANDSHAKE_TIMEOUT, Identity, Protocol, Secure, frame, quic};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::request as wire;
use crate::packets::{self, Packets};

/// A hub that answers.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where it is.
    pub address: SocketAddr,
    /// How it sees this party.
    pub observed: SocketAddr,
    /// By how many seconds its clock is ahead of this machine's, as it says.
    pub ahead: i64,
    /// What its certificate claims.
    pub claims: Claims,
    /// How long it took from the first packet to its welcome.
    pub took: Duration,
    /// The largest packet that gets through to it over UDP, in bytes with its headers; up to 1500.
    pub path_mtu: Option<u16>,
    /// Which packets get through to it over TCP.
    pub packets: Option<Packets>,
}

/// Why a hub cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Miss {
    /// It answers, and turns this party away.
    #[error("{0}")]
    Refused(Reason),
    /// It does not answer, or not as a hub.
    #[error("{0}")]
    Away(String),
}

impl Miss {
    fn away(why: impl fmt::Display) -> Self {
        Self::Away(why.to_string())
    }
}

/// Looks at `hub`, «host:port», over TCP.
///
/// # Errors
/// Why it cannot be used.
pub async fn tcp(hub: &str, identity: &Identity) -> Result<Found, Miss> {
    let begun = Instant::now();
    let mut secure = wire::open(hub, identity, Protocol::Hub).await.map_err(Miss::away)?;
    let found = welcomed(&mut secure, begun).await?;
    let measured = packets::measure::<_, Answer>(&mut secure, &Request::Ping, MAX_MESSAGE_BYTES);
    Ok(Found { packets: measured.await.map_err(Miss::away)?, ..found })
}

/// Looks at every address of `hub`, «host:port», over the UDP socket of `endpoint`.
///
/// # Errors
/// Why none of them can be used.
pub async fn udp(
    hub: &str,
    identity: &Identity,
    endpoint: &quic::Endpoint,
) -> Result<Vec<Found>, Miss> {
    let addresses = wire::resolve(hub).await.map_err(Miss::away)?;
    let mut attempts = JoinSet::new();
    for address in addresses {
        let (identity, endpoint) = (identity.clone(), endpoint.clone());
        attempts.spawn(async move { over(address, &identity, &endpoint).await });
    }
    let (mut found, mut last) = (Vec::new(), Miss::away("it has no address"));
    for outcome in attempts.join_all().await {
        match outcome {
            Ok(one) => found.push(one),
            Err(why) => last = why,
        }
    }
    if found.is_empty() { Err(last) } else { Ok(found) }
}

async fn over(
    address: SocketAddr,
    identity: &Identity,
    endpoint: &quic::Endpoint,
) -> Result<Found, Miss> {
    let begun = Instant::now();
    let name = Tag::hub(&identity.root().fingerprint).server_name();
    let connected = endpoint.connect(address, identity, Protocol::Hub, &Expect::Hub, &name).await;
    let connection = connected.map_err(Miss::away)?;
    let mut secure = connection.open(Protocol::Hub).await.map_err(Miss::away)?;
    let found = welcomed(&mut secure, begun).await?;
    Ok(Found { path_mtu: Some(connection.searched_path_mtu().await), ..found })
}

/// Hears how the hub sees this party, which it says first of all.
async fn welcomed(secure: &mut Secure, begun: Instant) -> Result<Found, Miss> {
    let answer = frame::read::<Answer>(&mut secure.stream, MAX_MESSAGE_BYTES);
    let answer =
        timeout(HANDSHAKE_TIMEOUT, answer).await.map_err(|_| Miss::away("it says nothing"))?;
    match answer.map_err(Miss::away)? {
        Some(Answer::Welcome { observed, time }) => {
            let (address, claims) = (secure.address, secure.peer.clone());
            let ahead = time.cast_signed().saturating_sub(now().cast_signed());
            let took = begun.elapsed();
            Ok(Found { address, observed, ahead, claims, took, path_mtu: None, packets: None })
        }
        Some(Answer::Goodbye(reason)) => Err(Miss::Refused(reason)),
        Some(_) => Err(Miss::away("it does not speak as a hub does")),
        None => Err(Miss::away("it hung up")),
    }
}

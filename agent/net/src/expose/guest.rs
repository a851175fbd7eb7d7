//! One connection of a party that has been let in: what it asks for, whether it may, and then its
//! bytes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mpyc_party_core::addr::Vantage;
use mpyc_party_core::claims::{Claims, ClaimsError};
use mpyc_party_core::expose::{Answer, Ask, MAX_MESSAGE_BYTES, Refusal, Rule};
use mpyc_party_core::name::PartyName;
use mpyc_party_transport::frame::FrameError;
use mpyc_party_transport::pipe::carry;
use mpyc_party_transport::{Secure, Traffic, frame, now};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::Exposure;
use crate::accept::permits::Permit;
use crate::accept::{AcceptError, Origin, shown};
use crate::packets;
use crate::segment_memory;

/// How long a party may take to say what it wants.
const OPENING_TIMEOUT: Duration = Duration::from_secs(5);
/// How long what listens at a port may take to accept.
const SERVICE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a party that was let in came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum GuestError {
    /// It was not let in.
    #[error(transparent)]
    Accept(#[from] AcceptError),
    /// Its certificate has expired since.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    /// What it says cannot be read.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// It says nothing.
    #[error("it did not say in time what it wants")]
    Silent,
    /// It has gone.
    #[error("it hung up before it asked")]
    HungUp,
    /// It does not keep to the protocol.
    #[error("it asks to meet twice, or for nothing")]
    NoPort,
}

impl Exposure {
    /// Connects the party with what it asks for, if it may.
    pub(super) async fn attend(
        self: &Arc<Self>,
        mut secure: Secure,
        origin: &Origin,
    ) -> Result<(), GuestError> {
        let party = secure.peer.party().cloned().ok_or(AcceptError::NotParty)?;
        // A connection on a route may come long after that has come up.
        secure.peer.check_validity(now())?;
        let from = match &origin.via {
            Some(hub) => format!("through hub {hub}"),
            None => {
                let label = self.stack.label(origin.kind.name);
                format!("from {}, {label}", shown(secure.address, &origin.address))
            }
        };
        let mut ask = next(&mut secure).await?;
        if let (Ask::Meet(addresses), true) = (&ask, origin.kind.relayed) {
            // The hub may be on this machine; where the party is, nobody but the party says.
            self.meet(&secure.peer, addresses, Vantage::Elsewhere);
            ask = next(&mut secure).await?;
        }
        let Ask::Port(port) = ask else {
            return Err(GuestError::NoPort);
        };
        match self.open(&party, &secure.peer, port).await {
            Ok((rule, service, permit)) => {
                let (filler, answer) = (packets::pipe_filler(&secure.stream), Answer::Connected);
                let stream = &mut secure.stream;
                timely(frame::write_before(stream, &answer, MAX_MESSAGE_BYTES, &filler)).await?;
                self.connect(secure, &party, &from, (rule, service, permit)).await;
            }
            Err(refusal) => {
                log::warn!(MPYC_PEER = party.as_str();
                    "{party}, {from}, is not connected with port {port}: {refusal}");
                let answer = Answer::Refused(refusal);
                let answer = frame::write(&mut secure.stream, &answer, MAX_MESSAGE_BYTES);
                timely(answer).await?;
                // Whoever was told has gone, or goes.
                let _ = timeout(OPENING_TIMEOUT, secure.stream.shutdown()).await;
            }
        }
        Ok(())
    }

    /// What listens where `port` leads.
    async fn open(
        &self,
        party: &PartyName,
        claims: &Claims,
        port: u16,
    ) -> Result<(Rule, TcpStream, Permit), Refusal> {
        let rule = self.allowed.borrow().find(claims, port).cloned();
        let rule = rule.ok_or(Refusal::NotAllowed)?;
        let permit = self.port_permits.take(party)?;
        let service = timeout(SERVICE_TIMEOUT, TcpStream::connect(rule.to)).await;
        let service = service.ok().and_then(Result::ok).ok_or(Refusal::Unanswered(rule.to))?;
        // Without it only latency suffers.
        let _ = service.set_nodelay(true);
        Ok((rule, service, permit))
    }

    /// Carries the bytes, for as long as the party may.
    async fn connect(
        &self,
        secure: Secure,
        party: &PartyName,
        from: &str,
        (rule, service, _permit): (Rule, TcpStream, Permit),
    ) {
        let Rule { name, to, .. } = &rule;
        log::info!(MPYC_PEER = party.as_str(), MPYC_PORT = name.as_str();
            "{party}, {from}, is connected with {name} ({to})");
        let (begun, traffic) = (Instant::now(), Traffic::default());
        let left = Duration::from_secs(secure.peer.not_after.saturating_sub(now()));
        let (claims, mut allowed) = (secure.peer.clone(), self.allowed.clone());
        let (reader, writer) = service.into_split();
        let why = tokio::select! {
            ended = carry(secure.stream, reader, writer, &traffic) => match ended {
                Ok(()) => "both have ended".to_owned(),
                Err(broken) => broken.to_string(),
            },
            // Whoever is revoked gets no other certificate.
            () = sleep(left) => "its certificate expired".to_owned(),
            _ = allowed.wait_for(|now| !now.still(&rule, &claims)) => {
                "it is not exposed to this party any more".to_owned()
            }
        };
        let (sent, received, took) =
            (traffic.sent(), traffic.received(), begun.elapsed().as_secs());
        log::info!(MPYC_PEER = party.as_str(), MPYC_PORT = name.as_str();
            "{party} disconnected from {name} after {took} s: {received} bytes in, {sent} out; {why}");
    }
}

/// What is asked next, in packets of full size: where these do not come, they may not get through.
async fn next(secure: &mut Secure) -> Result<Ask, GuestError> {
    let asked = timely(frame::read::<Ask>(&mut secure.stream, MAX_MESSAGE_BYTES)).await;
    if let (Err(GuestError::Silent), Some(bytes)) = (&asked, secure.stream.segment_bytes()) {
        segment_memory::stalled(secure.address.ip(), bytes);
    }
    asked?.ok_or(GuestError::HungUp)
}

/// What is said, if it is in time.
async fn timely<T>(said: impl Future<Output = Result<T, FrameError>>) -> Result<T, GuestError> {
    Ok(timeout(OPENING_TIMEOUT, said).await.map_err(|_| GuestError::Silent)??)
}

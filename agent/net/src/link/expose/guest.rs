//! One connection of a party that has been let in: what it asks for, whether it may, and then its
//! bytes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mpyc_party_core::candidate::{Vantage, canonical};
use mpyc_party_core::claims::Claims;
use mpyc_party_core::expose::{Answer, Ask, LONGEST, Refusal, Rule};
use mpyc_party_core::name::PartyName;
use mpyc_party_transport::pipe::carry;
use mpyc_party_transport::{Secure, Traffic, frame, now};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::House;
use crate::link::BoxError;
use crate::link::seats::Seat;

/// How long a party may take to say what it wants.
const OPENING: Duration = Duration::from_secs(5);
/// How long what listens at a port may take to accept.
const SERVICE: Duration = Duration::from_secs(5);

impl House {
    /// Connects the party with what it asks for, if it may.
    pub(super) async fn attend(
        self: &Arc<Self>,
        mut secure: Secure,
        via: Option<String>,
    ) -> Result<(), BoxError> {
        let party = secure.peer.party().cloned().ok_or("not a party")?;
        // A stream of a QUIC connection may come long after the handshake.
        secure.peer.check_validity(now())?;
        let from = match &via {
            Some(hub) => format!("through hub {hub}"),
            None => format!("from {}, {}", canonical(secure.address), secure.path()),
        };
        let mut ask = next(&mut secure).await?;
        if let (Ask::Meet(candidates), Some(_)) = (&ask, &via) {
            self.meet(&secure.peer, candidates, Vantage::of(secure.address.ip()));
            ask = next(&mut secure).await?;
        }
        let Ask::Port(port) = ask else {
            return Err("it asks to meet twice, or for nothing".into());
        };
        match self.open(&party, &secure.peer, port).await {
            Ok((rule, service, seat)) => {
                let answer = frame::write(&mut secure.stream, &Answer::Connected, LONGEST);
                timeout(OPENING, answer).await??;
                self.connect(secure, &party, &from, (rule, service, seat)).await;
            }
            Err(refusal) => {
                log::warn!(MPYC_PEER = party.as_str();
                    "{party}, {from}, is not connected with port {port}: {refusal}");
                let answer = Answer::Refused(refusal);
                let answer = frame::write(&mut secure.stream, &answer, LONGEST);
                timeout(OPENING, answer).await??;
                timeout(OPENING, secure.stream.shutdown()).await??;
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
    ) -> Result<(Rule, TcpStream, Seat), Refusal> {
        let rule = self.allowed.borrow().find(claims, port).cloned();
        let rule = rule.ok_or(Refusal::NotAllowed)?;
        let seat = self.seats.take(party)?;
        let service = timeout(SERVICE, TcpStream::connect(rule.to)).await;
        let service = service.ok().and_then(Result::ok).ok_or(Refusal::Unanswered(rule.to))?;
        // Without it only latency suffers.
        let _ = service.set_nodelay(true);
        Ok((rule, service, seat))
    }

    /// Carries the bytes, for as long as the party may.
    async fn connect(
        &self,
        secure: Secure,
        party: &PartyName,
        from: &str,
        (rule, service, _seat): (Rule, TcpStream, Seat),
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
            "{party} and {name} are apart after {took} s: {received} bytes in, {sent} out; {why}");
    }
}

async fn next(secure: &mut Secure) -> Result<Ask, BoxError> {
    let ask = frame::read::<Ask>(&mut secure.stream, LONGEST);
    Ok(timeout(OPENING, ask).await??.ok_or("it hung up before it asked")?)
}

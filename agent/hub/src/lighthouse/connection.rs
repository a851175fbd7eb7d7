//! One connection of a party to the lighthouse, from its greeting to its end.

use std::convert::Infallible;
use std::time::Duration;

use mpyc_party_core::claims::PublicKey;
use mpyc_party_core::lighthouse::{Answer, MAX_MESSAGE_BYTES, Member, Reason, Request, Transport};
use mpyc_party_transport::frame::FrameError;
use mpyc_party_transport::rate_limit::MessageRateLimit;
use mpyc_party_transport::{Secure, frame, now, quic};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, sink, split};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::{LighthouseServer, Registration};

/// After how much silence a connection is taken for dead: three keepalives.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the other end may take to hang up once it was told to go.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// The connection of a party, and where it is QUIC, the connection of its one stream.
pub(crate) struct PartyConnection {
    pub(crate) secure: Secure,
    pub(crate) quic: Option<quic::Connection>,
}

/// Why a connection has ended.
#[derive(Debug, thiserror::Error)]
enum ConnectionEnd {
    #[error("it hung up")]
    HungUp,
    #[error("it sent no keepalive for {} s", IDLE_TIMEOUT.as_secs())]
    Silent,
    #[error("it does not read")]
    NotReading,
    #[error("it was told to go")]
    ToldToGo,
    #[error("its certificate expired")]
    Expired,
    #[error(transparent)]
    Broken(#[from] FrameError),
}

impl LighthouseServer {
    /// Serves the connection of a party until either side ends it, the party goes silent, its
    /// certificate expires or it is revoked.
    pub(crate) async fn serve(&self, connection: PartyConnection) {
        let PartyConnection { secure, quic } = connection;
        let transport = if quic.is_some() { Transport::Udp } else { Transport::Tcp };
        let (address, peer) = (secure.address, secure.peer);
        let Some(party) = peer.party().cloned() else { return };
        let member = Member { party: party.clone(), groups: peer.groups.clone() };
        let (mut reader, mut writer) = split(secure.stream);
        let checked = self.membership.check(&peer).await;
        let (registration, answers) =
            match checked.and_then(|()| self.register(member, address, transport)) {
                Ok(registered) => registered,
                Err(reason) => {
                    log::warn!("{party} at {address} was turned away: {reason}");
                    return turn_away(reason, &mut reader, &mut writer).await;
                }
            };
        log::debug!("{party} at {address} is here over {transport}");
        let left = Duration::from_secs(peer.not_after.saturating_sub(now()));
        let why = tokio::select! {
            why = registration.read(&mut reader, quic.as_ref()) => why,
            why = write(answers, &mut writer) => why,
            () = sleep(left) => ConnectionEnd::Expired,
            end = registration.close_when_revoked(peer.key) => match end {},
        };
        drop(registration);
        log::debug!("{party} at {address} left: {why}");
        lingering_close(&mut reader, &mut writer).await;
    }
}

impl Registration<'_> {
    /// Tells the holder of `key` to go once it is revoked; the connection ends when that is written.
    async fn close_when_revoked(&self, key: PublicKey) -> Infallible {
        self.lighthouse.membership.revoked(key).await;
        self.close(Reason::NotMember);
        std::future::pending().await
    }

    async fn read(
        &self,
        mut reader: impl AsyncRead + Unpin,
        quic: Option<&quic::Connection>,
    ) -> ConnectionEnd {
        let mut rate = MessageRateLimit::default();
        loop {
            match timeout(IDLE_TIMEOUT, frame::read::<Request>(&mut reader, MAX_MESSAGE_BYTES))
                .await
            {
                Ok(Ok(Some(request))) => {
                    self.hear(request, quic.map(quic::Connection::address));
                }
                Ok(Ok(None)) => return ConnectionEnd::HungUp,
                Ok(Err(error)) => return error.into(),
                Err(_) => return ConnectionEnd::Silent,
            }
            rate.until_allowed().await;
        }
    }
}

async fn write(
    mut answers: mpsc::Receiver<Answer>,
    mut writer: impl AsyncWrite + Unpin,
) -> ConnectionEnd {
    while let Some(answer) = answers.recv().await {
        match timeout(IDLE_TIMEOUT, frame::write(&mut writer, &answer, MAX_MESSAGE_BYTES)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.into(),
            Err(_) => return ConnectionEnd::NotReading,
        }
    }
    ConnectionEnd::ToldToGo
}

async fn turn_away(
    reason: Reason,
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
) {
    let goodbye = Answer::Goodbye(reason);
    let written = timeout(LINGER_TIMEOUT, frame::write(writer, &goodbye, MAX_MESSAGE_BYTES)).await;
    if matches!(written, Ok(Ok(()))) {
        lingering_close(reader, writer).await;
    }
}

/// Ends the connection so that the last message arrives (lingering close): whoever closes a socket
/// with something unread in it cuts off what is still on its way.
async fn lingering_close(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
) {
    let closing = async {
        writer.shutdown().await?;
        copy(reader, &mut sink()).await
    };
    // Whoever does not hang up in time is cut off.
    let _ = timeout(LINGER_TIMEOUT, closing).await;
}

#[cfg(test)]
mod tests {
    use super::super::MAX_QUEUED_ANSWERS;
    use super::*;
    use crate::membership::Membership;
    use mpyc_party_core::lighthouse::{KEEPALIVE, Limits};
    use mpyc_party_core::name::PartyName;
    use std::net::SocketAddr;
    use tokio::io::duplex;
    use tokio::time::Instant;

    fn lighthouse() -> LighthouseServer {
        LighthouseServer::new(Limits::default(), Membership::default())
    }

    fn alice(lighthouse: &LighthouseServer) -> (Registration<'_>, mpsc::Receiver<Answer>) {
        let from = SocketAddr::from(([203, 0, 113, 1], 5));
        lighthouse.register("alice".parse::<PartyName>().unwrap(), from, Transport::Tcp).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_dropped_and_a_speaking_one_kept() {
        let lighthouse = lighthouse();
        let (registration, _answers) = alice(&lighthouse);
        let (mut far, near) = duplex(1024);
        let begun = Instant::now();
        let speak = async {
            for _ in 0..5 {
                sleep(KEEPALIVE).await;
                frame::write(&mut far, &Request::Ping, MAX_MESSAGE_BYTES).await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        let why = tokio::select! {
            why = registration.read(near, None) => why,
            () = speak => unreachable!(),
        };
        assert!(matches!(why, ConnectionEnd::Silent), "{why}");
        let (lasted, spoke) = (begun.elapsed(), 5 * KEEPALIVE);
        assert!((spoke + IDLE_TIMEOUT..spoke + KEEPALIVE + IDLE_TIMEOUT).contains(&lasted));
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_dropped_and_holds_nobody_up() {
        let lighthouse = lighthouse();
        let (registration, answers) = alice(&lighthouse);
        for _ in 0..=MAX_QUEUED_ANSWERS {
            registration.hear(Request::Ping, None);
        }
        assert!(lighthouse.with(|state| state.queues.is_empty()));
        let (_far, near) = duplex(16);
        let why = write(answers, near).await;
        assert!(matches!(why, ConnectionEnd::NotReading), "{why}");
    }
}

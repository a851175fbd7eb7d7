//! What a connection is for: its ALPN decides, before any certificate is shown.

use std::net::SocketAddr;
use std::sync::Arc;

use mpyc_party_authority::Authority;
use mpyc_party_core::membership::Renewal;
use mpyc_party_transport::handshake_limiter::HandshakeLimiter;
use mpyc_party_transport::{
    Expect, HANDSHAKE_TIMEOUT, Identity, Incoming, Protocol, Secure, TransportError, quic,
};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::enrol::{self, Newcomer};
use crate::lighthouse::{LighthouseServer, PartyConnection};
use crate::relay::RelayServer;
use crate::renew;
use crate::signing::SigningQueue;

/// What serves connections.
pub(crate) struct Hub {
    /// Whoever does not ask for it is shown no certificate.
    pub(crate) name: String,
    /// The hub's own identity, as it is now.
    pub(crate) identity: watch::Receiver<Identity>,
    /// Where the authority lives beside this hub.
    pub(crate) authority: Option<AuthorityServer>,
    pub(crate) lighthouse: LighthouseServer,
    pub(crate) relay: RelayServer,
}

/// The server of the authority beside a hub.
pub(crate) struct AuthorityServer {
    pub(crate) authority: Arc<Authority>,
    /// The identity of the authority's server, as it is now.
    pub(crate) identity: watch::Receiver<Identity>,
    pub(crate) signing: SigningQueue,
}

/// What is left to do once a connection is decided.
enum Decided<'a> {
    Nothing,
    Lighthouse(Secure),
    Relay(Secure),
    Enrolment(Newcomer, &'a AuthorityServer),
    Renewal(Secure, Renewal, &'a AuthorityServer),
}

fn current(identity: &watch::Receiver<Identity>) -> Identity {
    identity.borrow().clone()
}

impl Hub {
    /// Handshakes, and whatever is done for strangers; all of it holds a permit of the limiter.
    async fn decide(&self, tcp: TcpStream) -> Result<Decided<'_>, TransportError> {
        let incoming = Incoming::read(tcp).await?;
        if incoming.server_name().as_deref() != Some(&self.name) {
            return Err(incoming.refuse_name().await);
        }
        match (incoming.protocol(), &self.authority) {
            (Some(protocol @ (Protocol::Hub | Protocol::Relay)), _) => {
                let identity = current(&self.identity);
                let secure = incoming.accept(&identity, protocol, &Expect::AnyParty).await?;
                Ok(match protocol {
                    Protocol::Relay => Decided::Relay(secure),
                    _ => Decided::Lighthouse(secure),
                })
            }
            (Some(Protocol::Enrol), Some(server)) => {
                let newcomer = incoming.accept_to_enrol(&current(&server.identity)).await?;
                Ok(match enrol::check(newcomer, &server.authority).await {
                    Some(newcomer) => Decided::Enrolment(newcomer, server),
                    None => Decided::Nothing,
                })
            }
            (Some(Protocol::Renew), Some(server)) => {
                let (identity, expect) = (current(&server.identity), Expect::Renewing);
                let mut secure = incoming.accept(&identity, Protocol::Renew, &expect).await?;
                Ok(match renew::read_request(&mut secure).await {
                    Some(request) => Decided::Renewal(secure, request, server),
                    None => Decided::Nothing,
                })
            }
            _ => Err(incoming.refuse_protocol().await),
        }
    }

    /// Serves a connection over TCP to its end.
    pub(crate) async fn serve(
        &self,
        limiter: &HandshakeLimiter,
        tcp: TcpStream,
        address: SocketAddr,
    ) {
        match limiter.decide(address, self.decide(tcp)).await {
            Ok(Decided::Nothing) => {}
            Ok(Decided::Enrolment(newcomer, server)) => {
                let authority = Arc::clone(&server.authority);
                enrol::serve(newcomer, authority, &server.signing).await;
            }
            Ok(Decided::Renewal(secure, request, server)) => {
                let authority = Arc::clone(&server.authority);
                renew::serve(secure, request, authority, &server.signing).await;
            }
            Ok(Decided::Lighthouse(secure)) => {
                self.lighthouse.serve(PartyConnection { secure, quic: None }).await;
            }
            Ok(Decided::Relay(secure)) => self.relay.serve(secure).await,
            Err(error) => log::info!("{error}"),
        }
    }

    /// Serves the lighthouse to one who dials over QUIC.
    pub(crate) async fn serve_quic(&self, incoming: quic::QuicIncoming) {
        let (address, identity) = (incoming.address(), current(&self.identity));
        let accepted = incoming
            .accept(&identity, Protocol::Hub, std::slice::from_ref(&self.name), &Expect::AnyParty)
            .await;
        let connection = match accepted {
            Ok(connection) => connection,
            Err(error) => return log::info!("{error}"),
        };
        match timeout(HANDSHAKE_TIMEOUT, connection.accept()).await {
            Ok(Ok(secure)) => {
                self.lighthouse.serve(PartyConnection { secure, quic: Some(connection) }).await;
            }
            Ok(Err(error)) => log::info!("{error}"),
            Err(_) => {
                log::info!("{address} opened no stream in time");
                connection.close("no stream came in time");
            }
        }
    }
}

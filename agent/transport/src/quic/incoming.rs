//! One who dials this endpoint, before anything is decided.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::{Incoming, ServerConfig};

use super::config;
use super::connection::Connection;
use super::error::{self, Side};
use crate::error::TransportError;
use crate::expect::{Expect, Protocol};
use crate::handshake_limiter::HandshakePermit;
use crate::identity::Identity;
use crate::secure::{ACCEPTED, HANDSHAKE_TIMEOUT, bounded, wrong};
use crate::verify::{Trust, Verifier};

/// One who dials; nothing has been answered yet. Dropped, it is refused. Until it is decided it
/// holds a place among the undecided, of which there are as many as at a [`HandshakeLimiter`](crate::handshake_limiter::HandshakeLimiter).
pub struct QuicIncoming {
    pub(super) incoming: Incoming,
    pub(super) permit: HandshakePermit,
    pub(super) reception: Arc<ServerConfig>,
}

impl QuicIncoming {
    /// The other end's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        canonical(self.incoming.remote_address())
    }

    /// Completes the handshake with one whom `expect` admits.
    ///
    /// Nobody who does not name one of `server_names`, and `protocol`, is shown a certificate.
    ///
    /// # Errors
    /// Says who is there instead, or why the other end refuses.
    pub async fn accept(
        self,
        identity: &Identity,
        protocol: Protocol,
        server_names: &[String],
        expect: &Expect,
    ) -> Result<Connection, TransportError> {
        let address = self.address();
        let trust = Trust::Root(identity.root().clone());
        let verifier = Arc::new(Verifier::new(trust, expect.clone()));
        let Self { incoming, permit, reception } = self;
        let known = Arc::clone(&verifier);
        let config = config::server(&reception, known, identity, protocol, server_names);
        let config = config.map_err(wrong(address))?;
        let explain = |error| error::handshake(address, &error, &verifier, Side::Accepting);
        let work = async {
            let quic = incoming.accept_with(config).map_err(explain)?.await.map_err(explain)?;
            let mut word = quic.open_uni().await.map_err(explain)?;
            let said = word.write_all(&[ACCEPTED]).await.is_ok() && word.finish().is_ok();
            if !said {
                return Err(quic
                    .close_reason()
                    .map_or(TransportError::HungUp { address }, explain));
            }
            Connection::new(quic, protocol, &verifier)
        };
        permit.decide(bounded(address, HANDSHAKE_TIMEOUT, work)).await
    }

    /// Forgets it: it will send its first packet again, after a longer pause each time.
    pub fn ignore(self) {
        self.incoming.ignore();
    }

    /// Turns it away, and says so.
    pub fn refuse(self) {
        self.incoming.refuse();
    }
}

/// The address as people and the other modules write it: a socket for both families sees IPv4 as
/// a part of IPv6.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

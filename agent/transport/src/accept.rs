//! The accepting end of a connection.

use std::net::SocketAddr;
use std::sync::Arc;

use mpyc_party_core::claims::Claims;
use rustls::server::{Acceptor, NoServerSessionStorage, ResolvesServerCert};
use rustls::{AlertDescription, ServerConfig, version::TLS13};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream as ServerStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake, TlsStream};

use crate::error::TransportError;
use crate::expect::{Expect, Protocol};
use crate::identity::Identity;
use crate::provider::{has_aes, provider};
use crate::raw::RawStream;
use crate::secure::{
    ACCEPTED, Enrolment, FIRST_MESSAGE_TIMEOUT, HANDSHAKE_TIMEOUT, Secure, SecureStream, bounded,
    exporter, wrong,
};
use crate::verify::{Trust, Verified, Verifier};

/// A connection whose first message has been read and nothing been answered: the caller sees what
/// it is for before a certificate is shown to anybody.
pub struct Incoming {
    start: StartHandshake<RawStream>,
    address: SocketAddr,
}

impl Incoming {
    /// Reads the first message of a connection.
    ///
    /// # Errors
    /// When it is not TLS or does not come in time.
    pub async fn read(raw: impl Into<RawStream>) -> Result<Self, TransportError> {
        let raw = raw.into();
        let address = raw.prepare()?;
        let explain = |source| TransportError::handshake(address, source, None);
        let acceptor = LazyConfigAcceptor::new(Acceptor::default(), raw);
        let work = async { acceptor.await.map_err(explain) };
        Ok(Self { start: bounded(address, FIRST_MESSAGE_TIMEOUT, work).await?, address })
    }

    /// What the connection is for: the first protocol of ours among those that it offers. A later
    /// version may offer its own number before the one that is known here.
    #[must_use]
    pub fn protocol(&self) -> Option<Protocol> {
        self.start.client_hello().alpn()?.find_map(Protocol::from_alpn)
    }

    /// The TLS server name it asks for.
    #[must_use]
    pub fn server_name(&self) -> Option<String> {
        self.start.client_hello().server_name().map(str::to_owned)
    }

    /// The other end's address, or the relaying hub's.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Completes the handshake with one whom `expect` admits.
    ///
    /// # Errors
    /// Says who is there instead, or why the other end refuses.
    pub async fn accept(
        self,
        identity: &Identity,
        protocol: Protocol,
        expect: &Expect,
    ) -> Result<Secure, TransportError> {
        let address = self.address;
        let trust = Trust::Root(identity.root().clone());
        let verifier = Arc::new(Verifier::new(trust, expect.clone()));
        let stream = self.finish(identity, protocol, Some(Arc::clone(&verifier))).await?;
        let Some(Ok(verified)) = verifier.found() else {
            return Err(TransportError::HungUp { address });
        };
        let Verified { claims: peer, certificate: peer_certificate, .. } = verified;
        let stream = SecureStream::Tls(stream);
        Ok(Secure { stream, peer, protocol, peer_certificate, address })
    }

    /// Learns who is there, among those whom `expect` admits, and hangs up without accepting: to the
    /// other end nobody is here yet.
    ///
    /// # Errors
    /// Says who is there instead.
    pub async fn identify(
        self,
        identity: &Identity,
        protocol: Protocol,
        expect: &Expect,
    ) -> Result<Claims, TransportError> {
        let address = self.address;
        let trust = Trust::Root(identity.root().clone());
        let verifier = Arc::new(Verifier::new(trust, expect.clone()));
        let handshake = self.handshake(identity, protocol, Some(Arc::clone(&verifier)));
        let mut stream = bounded(address, HANDSHAKE_TIMEOUT, handshake).await?;
        // That it has gone already is as good.
        let _ = timeout(FIRST_MESSAGE_TIMEOUT, stream.shutdown()).await;
        match verifier.found() {
            Some(Ok(verified)) => Ok(verified.claims),
            _ => Err(TransportError::HungUp { address }),
        }
    }

    /// Completes the handshake of a newcomer, who has no certificate yet.
    ///
    /// # Errors
    /// Says why the other end refuses.
    pub async fn accept_to_enrol(self, authority: &Identity) -> Result<Enrolment, TransportError> {
        let address = self.address;
        let stream = self.finish(authority, Protocol::Enrol, None).await?;
        let exporter = exporter(&stream).map_err(wrong(address))?;
        let stream = SecureStream::Tls(stream);
        Ok(Enrolment { stream, exporter, address })
    }

    /// Hangs up and tells why: no protocol that is served here.
    pub async fn refuse_protocol(self) -> TransportError {
        let address = self.address;
        self.alert(AlertDescription::NoApplicationProtocol).await;
        TransportError::Protocol { address }
    }

    /// Hangs up and tells why: no network or session that is served here.
    pub async fn refuse_name(self) -> TransportError {
        let address = self.address;
        self.alert(AlertDescription::UnrecognisedName).await;
        TransportError::Name { address }
    }

    /// Sends a fatal alert in plain text, as there are no keys yet (RFC 8446, sections 5.1 and 6).
    async fn alert(mut self, alert: AlertDescription) {
        // Nobody is told if it cannot be sent; seven bytes into a fresh socket never wait.
        let _ = self.start.io.write_all(&[21, 3, 3, 0, 2, 2, alert.into()]).await;
    }

    async fn finish(
        self,
        identity: &Identity,
        protocol: Protocol,
        verifier: Option<Arc<Verifier>>,
    ) -> Result<Box<TlsStream<RawStream>>, TransportError> {
        let address = self.address;
        let work = async {
            let mut stream = self.handshake(identity, protocol, verifier.clone()).await?;
            let explain = |source| TransportError::handshake(address, source, verifier.as_deref());
            stream.write_u8(ACCEPTED).await.map_err(explain)?;
            stream.flush().await.map_err(explain)?;
            Ok(Box::new(TlsStream::Server(stream)))
        };
        bounded(address, HANDSHAKE_TIMEOUT, work).await
    }

    async fn handshake(
        self,
        identity: &Identity,
        protocol: Protocol,
        verifier: Option<Arc<Verifier>>,
    ) -> Result<ServerStream<RawStream>, TransportError> {
        let address = self.address;
        let certificate = identity.resolver(verifier.is_none());
        let config =
            server_config(certificate, protocol, verifier.clone()).map_err(wrong(address))?;
        let stream = self.start.into_stream(Arc::new(config)).await;
        let stream = stream
            .map_err(|source| TransportError::handshake(address, source, verifier.as_deref()))?;
        if stream.get_ref().1.alpn_protocol() != Some(protocol.alpn()) {
            return Err(TransportError::Protocol { address });
        }
        Ok(stream)
    }
}

/// What a TLS server is, over TCP and over QUIC: no tickets, no early data, one protocol.
pub(crate) fn server_config(
    certificate: Arc<dyn ResolvesServerCert>,
    protocol: Protocol,
    verifier: Option<Arc<Verifier>>,
) -> Result<ServerConfig, rustls::Error> {
    let builder =
        ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(certificate);
    config.alpn_protocols = vec![protocol.alpn().to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    // ChaCha20 wins as soon as one of the two processors has no instructions for AES.
    config.ignore_client_order = !has_aes();
    Ok(config)
}

/// Accepts a connection for one of `expects`, whichever protocol the other end asks for.
///
/// # Errors
/// Says who is there instead, or that the protocol is not among them.
pub async fn accept(
    raw: impl Into<RawStream>,
    identity: &Identity,
    expects: &[(Protocol, Expect)],
) -> Result<Secure, TransportError> {
    let incoming = Incoming::read(raw).await?;
    let asked = incoming.protocol();
    match expects.iter().find(|(protocol, _)| Some(*protocol) == asked) {
        Some((protocol, expect)) => incoming.accept(identity, *protocol, expect).await,
        None => Err(incoming.refuse_protocol().await),
    }
}

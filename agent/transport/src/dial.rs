//! The dialling end of a connection.

use std::net::SocketAddr;
use std::sync::Arc;

use mpyc_party_core::claims::{Fingerprint, Root};
use mpyc_party_core::sni::Tag;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, version::TLS13};
use tokio::io::AsyncReadExt;
use tokio_rustls::{TlsConnector, TlsStream};

use crate::error::TransportError;
use crate::expect::{Expect, Protocol};
use crate::identity::Identity;
use crate::provider::provider;
use crate::raw::RawStream;
use crate::secure::{
    ACCEPTED, Enrolment, HANDSHAKE_TIMEOUT, Secure, SecureStream, bounded, exporter, wrong,
};
use crate::verify::{Trust, Verified, Verifier};

/// What a TLS client is, over TCP and over QUIC: no resumption, no early data, one protocol.
pub(crate) fn client_config(
    verifier: Arc<Verifier>,
    identity: Option<&Identity>,
    protocol: Protocol,
) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(identity.resolver(false)),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![protocol.alpn().to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

async fn dial(
    raw: RawStream,
    address: SocketAddr,
    verifier: Arc<Verifier>,
    identity: Option<&Identity>,
    protocol: Protocol,
    server_name: &str,
) -> Result<(Box<TlsStream<RawStream>>, Verified), TransportError> {
    let explain = |source| TransportError::handshake(address, source, Some(&verifier));
    let config =
        client_config(Arc::clone(&verifier), identity, protocol).map_err(wrong(address))?;
    let name = ServerName::try_from(server_name.to_owned())
        .map_err(|_| wrong(address)(rustls::Error::General("no server name".to_owned())))?;
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, raw).await.map_err(explain)?;
    if stream.get_ref().1.alpn_protocol() != Some(protocol.alpn()) {
        return Err(TransportError::Protocol { address });
    }
    let answer = stream.read_u8().await.map_err(explain)?;
    match verifier.found() {
        Some(Ok(verified)) if answer == ACCEPTED => {
            Ok((Box::new(TlsStream::Client(stream)), verified))
        }
        Some(Err(reason)) => Err(TransportError::Peer { address, reason }),
        _ => Err(TransportError::Protocol { address }),
    }
}

/// Makes `raw` a connection to one whom `expect` admits.
///
/// `server_name` is that of a session's or a hub's [`Tag`].
///
/// # Errors
/// Says who is there instead, or why the other end refuses.
pub async fn connect<R: Into<RawStream>>(
    raw: R,
    identity: &Identity,
    protocol: Protocol,
    expect: &Expect,
    server_name: &str,
) -> Result<Secure, TransportError> {
    let raw = raw.into();
    let address = raw.prepare()?;
    let verifier = Arc::new(Verifier::new(Trust::Root(identity.root().clone()), expect.clone()));
    let work = dial(raw, address, verifier, Some(identity), protocol, server_name);
    let (stream, Verified { claims: peer, certificate: peer_certificate, .. }) =
        bounded(address, HANDSHAKE_TIMEOUT, work).await?;
    let stream = SecureStream::Tls(stream);
    Ok(Secure { stream, peer, protocol, peer_certificate, address })
}

/// Makes `raw` a connection to the authority of which only the root's fingerprint is known.
///
/// # Errors
/// Says who is there instead: another root, or another role under the right one.
pub async fn connect_to_enrol<R: Into<RawStream>>(
    raw: R,
    root: Fingerprint,
) -> Result<(Enrolment, Root), TransportError> {
    let raw = raw.into();
    let address = raw.prepare()?;
    let verifier = Arc::new(Verifier::new(Trust::Fingerprint(root), Expect::Authority));
    let name = Tag::hub(&root).server_name();
    let work = dial(raw, address, verifier, None, Protocol::Enrol, &name);
    let (stream, verified) = bounded(address, HANDSHAKE_TIMEOUT, work).await?;
    let exporter = exporter(&stream).map_err(wrong(address))?;
    let stream = SecureStream::Tls(stream);
    Ok((Enrolment { stream, exporter, address }, verified.root))
}

//! How QUIC is set up here: what the handshake shows and to whom, and what a connection may take.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, IdleTimeout, MtuDiscoveryConfig, NoneTokenStore, ServerConfig, TransportConfig,
    ValidationTokenConfig, VarInt,
};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::accept::server_config;
use crate::dial::client_config;
use crate::expect::Protocol;
use crate::identity::Identity;
use crate::verify::Verifier;

/// The round trip assumed before one is measured. A lost first packet is sent again after three of
/// them, then after twice that, and so on (RFC 9002, section 6.2): at 0.15, 0.45, 1.05 s.
const INITIAL_RTT: Duration = Duration::from_millis(50);
/// Keeps the mapping in a NAT alive, which may forget after 15 s, and the connection.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
/// A connection of which nothing was heard for so long is over, in milliseconds. Whoever needs a
/// link has made another by then.
const IDLE_TIMEOUT_MS: u32 = 12_000;
/// The same for a connection to a hub, which answers pings where it matters: it may be busy with
/// thousands, and they shall not be more work than need be.
const HUB_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const HUB_IDLE_TIMEOUT_MS: u32 = 30_000;
/// Bytes of one stream that may wait to be read: 1 Gbit/s over 25 ms.
const STREAM_WINDOW_BYTES: u32 = 3 << 20;
/// Streams that a peer may have open: a control link, and a few MPyC connections that end or
/// resume.
const MAX_STREAMS: u32 = 16;
/// Unread bytes of all streams to or from one peer: a few neglected streams do not stop the others.
const CONNECTION_WINDOW_BYTES: u32 = 4 * STREAM_WINDOW_BYTES;
/// The same on a connection to a hub, of which there may be thousands and which carries messages.
const HUB_WINDOW_BYTES: u32 = 64 << 10;
/// The largest UDP payload that fits into a packet of Ethernet (1500 bytes), over IPv4 and over IPv6.
const MAX_PAYLOAD_BYTES: [u16; 2] = [1500 - HEADER_BYTES[0], 1500 - HEADER_BYTES[1]];
/// Headers of IP and UDP in bytes, over IPv4 and over IPv6.
pub(super) const HEADER_BYTES: [u16; 2] = [28, 48];
/// How exact the search for the path MTU is, in bytes (RFC 8899): the difference between PPPoE and
/// Ethernet is 8.
const PATH_MTU_STEP_BYTES: u16 = 4;
/// First packets that wait for a decision, and bytes that wait with them: one, and all together.
const MAX_INCOMING: usize = 256;
const MAX_INCOMING_BYTES: [u64; 2] = [16 << 10, 1 << 20];
/// Bytes that wait with one on average: one packet of a handshake, or two.
pub(super) const WAITING_BYTES: u64 = 4 << 10;

/// Shows the certificate to none but those who ask for one of these names.
#[derive(Debug)]
struct Named {
    names: Vec<String>,
    certificate: Arc<SingleCertAndKey>,
}

impl ResolvesServerCert for Named {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let known =
            hello.server_name().is_some_and(|name| self.names.iter().any(|own| own == name));
        if known { self.certificate.resolve(hello) } else { None }
    }
}

/// Shows nothing to anybody.
#[derive(Debug)]
struct Nothing;

impl ResolvesServerCert for Nothing {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

fn unsuitable(error: NoInitialCipherSuite) -> rustls::Error {
    rustls::Error::General(error.to_string())
}

/// What a connection that is dialled to `ip` for `protocol` does and may take.
pub(super) fn client(
    verifier: Arc<Verifier>,
    identity: &Identity,
    protocol: Protocol,
    ip: IpAddr,
) -> Result<ClientConfig, rustls::Error> {
    let tls = client_config(verifier, Some(identity), protocol)?;
    let crypto = QuicClientConfig::try_from(tls).map_err(unsuitable)?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    let mut transport = transport(protocol);
    let mut search = MtuDiscoveryConfig::default();
    search.upper_bound(MAX_PAYLOAD_BYTES[usize::from(ip.is_ipv6())]);
    search.minimum_change(PATH_MTU_STEP_BYTES);
    transport.mtu_discovery_config(Some(search));
    // The one unidirectional stream is the server's, on which it says that it accepts.
    transport.max_concurrent_uni_streams(VarInt::from_u32(1));
    config.transport_config(Arc::new(transport));
    config.token_store(Arc::new(NoneTokenStore));
    Ok(config)
}

/// What an endpoint does with those who dial it, before it has been decided whom it accepts.
pub(super) fn reception() -> Result<ServerConfig, rustls::Error> {
    let tls = server_config(Arc::new(Nothing), Protocol::Peer, None)?;
    let crypto = QuicServerConfig::try_from(tls).map_err(unsuitable)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    let mut tokens = ValidationTokenConfig::default();
    // A token would let an observer recognise who comes back.
    tokens.sent(0);
    config.validation_token_config(tokens);
    config.max_incoming(MAX_INCOMING);
    config
        .incoming_buffer_size(MAX_INCOMING_BYTES[0])
        .incoming_buffer_size_total(MAX_INCOMING_BYTES[1]);
    Ok(config)
}

/// What an accepted connection does and may take.
pub(super) fn server(
    reception: &ServerConfig,
    verifier: Arc<Verifier>,
    identity: &Identity,
    protocol: Protocol,
    names: &[String],
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let certificate = Named { names: names.to_vec(), certificate: identity.resolver(false) };
    let tls = server_config(Arc::new(certificate), protocol, Some(verifier))?;
    let mut config = reception.clone();
    config.crypto = Arc::new(QuicServerConfig::try_from(tls).map_err(unsuitable)?);
    let mut transport = transport(protocol);
    if protocol == Protocol::Hub {
        // The parties see to that: a hub with thousands of them need not do it as well.
        transport.keep_alive_interval(None);
    }
    config.transport_config(Arc::new(transport));
    Ok(Arc::new(config))
}

fn transport(protocol: Protocol) -> TransportConfig {
    let (streams, stream_window, window) = match protocol {
        Protocol::Peer | Protocol::Expose => {
            (MAX_STREAMS, STREAM_WINDOW_BYTES, CONNECTION_WINDOW_BYTES)
        }
        _ => (1, HUB_WINDOW_BYTES, HUB_WINDOW_BYTES),
    };
    let (keep_alive, idle) = match protocol {
        Protocol::Peer | Protocol::Expose => (KEEPALIVE_INTERVAL, IDLE_TIMEOUT_MS),
        _ => (HUB_KEEPALIVE_INTERVAL, HUB_IDLE_TIMEOUT_MS),
    };
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(streams.into())
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(stream_window.into())
        .receive_window(window.into())
        .send_window(window.into())
        .initial_rtt(INITIAL_RTT)
        .keep_alive_interval(Some(keep_alive))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle))))
        // Observers need not be told the round trip.
        .allow_spin(false);
    config
}

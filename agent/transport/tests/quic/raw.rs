//! Ends built on plain quinn and rustls, which do what no proper end does.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mpyc_party_transport::Protocol;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use super::trusting::Trusting;

/// The pieces of an identity that no check has seen.
pub(crate) struct Papers {
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: rcgen::KeyPair,
}

impl Papers {
    fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivatePkcs8KeyDer<'static>) {
        let chain = self.chain.iter().cloned().map(CertificateDer::from).collect();
        (chain, PrivatePkcs8KeyDer::from(self.key.serialize_der()))
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A client that believes every server, keeps what it could resume with, and counts certificates.
pub(crate) struct Client {
    pub(crate) tls: ClientConfig,
    seen: Arc<Trusting>,
}

impl Client {
    pub(crate) fn new(papers: &Papers) -> Self {
        let seen = Arc::new(Trusting::default());
        let (chain, key) = papers.parts();
        let mut tls = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(seen.clone())
            .with_client_auth_cert(chain, key.into())
            .unwrap();
        tls.alpn_protocols = vec![Protocol::Peer.alpn().to_vec()];
        tls.enable_early_data = true;
        Self { tls, seen }
    }

    /// How many certificates servers have shown.
    pub(crate) fn certificates(&self) -> usize {
        self.seen.certificates()
    }

    pub(crate) fn config(&self) -> quinn::ClientConfig {
        let crypto = QuicClientConfig::try_from(self.tls.clone()).unwrap();
        quinn::ClientConfig::new(Arc::new(crypto))
    }

    /// Dials `at` from a socket of its own; the handshake may fail later.
    pub(crate) fn dial(&self, at: SocketAddr, name: &str) -> quinn::Connecting {
        let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        endpoint.connect_with(self.config(), at, name).unwrap()
    }
}

/// A server that demands no certificate.
pub(crate) fn server(papers: &Papers, set: impl FnOnce(&mut ServerConfig)) -> quinn::Endpoint {
    let (chain, key) = papers.parts();
    let mut tls = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key.into())
        .unwrap();
    tls.alpn_protocols = vec![Protocol::Peer.alpn().to_vec()];
    set(&mut tls);
    let crypto = Arc::new(QuicServerConfig::try_from(tls).unwrap());
    let config = quinn::ServerConfig::with_crypto(crypto);
    quinn::Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap()
}

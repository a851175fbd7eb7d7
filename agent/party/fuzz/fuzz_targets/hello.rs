//! Whatever comes first on a connection to the agent: it asks for a name, for none, is incomplete or
//! is refused; and it never takes more to tell than the longest first message.
//!
//! The input is that beginning, or changes to a valid one. Run it with
//! `cargo +nightly fuzz run hello` in `agent/party`.

#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use mpyc_party_core::sni::Tag;
use mpyc_party_fuzz::{NETWORK, changed};
use mpyc_party_transport::peek::in_first_message;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

static VALID: LazyLock<Vec<u8>> = LazyLock::new(|| first().expect("a first message"));

fn first() -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = Tag::hub(&NETWORK.root.fingerprint).server_name();
    let mut bytes = Vec::new();
    ClientConnection::new(Arc::new(config), name.try_into()?)?.write_tls(&mut bytes)?;
    assert!(matches!(in_first_message(&bytes), Some(Ok(Some(_)))));
    Ok(bytes)
}

fuzz_target!(|data: &[u8]| {
    let bytes = changed(&VALID, data);
    if let Some(Ok(Some(name))) = in_first_message(&bytes) {
        let _ = Tag::from_server_name(&name);
    }
    // More of the same ends the waiting.
    let long = bytes.iter().chain([&0]).copied().cycle().take(16 * 1024).collect::<Vec<_>>();
    assert!(in_first_message(&long).is_some());
});

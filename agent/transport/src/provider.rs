//! The one set of algorithms: TLS 1.3, X25519, Ed25519, and two ciphers in the order that suits
//! this machine.

use std::sync::{Arc, OnceLock};

use rustls::SignatureScheme;
use rustls::crypto::ring::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::SignatureVerificationAlgorithm;

/// Ed25519 for certificates and handshakes, and nothing else.
pub(crate) static SIGNATURES: WebPkiSupportedAlgorithms =
    WebPkiSupportedAlgorithms { all: ED25519, mapping: &[(SignatureScheme::ED25519, ED25519)] };
const ED25519: &[&dyn SignatureVerificationAlgorithm] = &[webpki::ring::ED25519];

/// Whether the processor has instructions for AES; without them ChaCha20 is several times faster.
pub(crate) fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

/// The algorithms of every connection.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let make = || {
        let aes = cipher_suite::TLS13_AES_128_GCM_SHA256;
        let chacha = cipher_suite::TLS13_CHACHA20_POLY1305_SHA256;
        Arc::new(CryptoProvider {
            cipher_suites: if has_aes() { vec![aes, chacha] } else { vec![chacha, aes] },
            kx_groups: vec![kx_group::X25519],
            signature_verification_algorithms: SIGNATURES,
            ..default_provider()
        })
    };
    Arc::clone(PROVIDER.get_or_init(make))
}

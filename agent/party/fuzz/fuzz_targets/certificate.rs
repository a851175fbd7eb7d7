//! Whatever is shown as a certificate: it is none, or one that claims what it claims.
//!
//! The input is a certificate, or changes to a valid one. Run it with
//! `cargo +nightly fuzz run certificate` in `agent/party`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mpyc_party_core::claims::{Claims, Root};
use mpyc_party_fuzz::{NETWORK, changed};
use mpyc_party_transport::{certified, now, verify_issued};

fuzz_target!(|data: &[u8]| {
    let network = &*NETWORK;
    let leaf = changed(network.alice.certificate(), data);
    if let Ok(claims) = Claims::from_der(&leaf) {
        let _ = claims.check_validity(now());
        let _ = network.root.covers(&claims);
        let _ = (claims.role.to_string(), claims.renewal_due());
    }
    // Signed is what was signed, and nothing else.
    let genuine = leaf == network.alice.certificate();
    assert!(certified(&leaf, &network.root, now()).is_err() || genuine);
    assert!(verify_issued(&network.root, &leaf).is_err() || genuine);
    if let Ok(root) = Root::from_der(&changed(network.root.der(), data)) {
        let _ = root.check_validity(now());
        let _ = certified(network.alice.certificate(), &root, now());
    }
});

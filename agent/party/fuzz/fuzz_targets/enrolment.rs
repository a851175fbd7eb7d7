//! Whatever a newcomer sends to the authority, without a token and with one: nobody becomes a member
//! for another key than the one whose holder knows the token.
//!
//! The input is a certificate request, or changes to a valid one. Run it with
//! `cargo +nightly fuzz run enrolment` in `agent/party`.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mpyc_party_authority::EnrolmentRequest;
use mpyc_party_core::claims::{Claims, PublicKey};
use mpyc_party_core::role::Role;
use mpyc_party_core::token::Secret;
use mpyc_party_fuzz::{NETWORK, changed, key};
use mpyc_party_transport::now;
use rcgen::{CertificateParams, KeyPair, PublicKeyData};

/// A valid request and the key in it, and the secret of a token.
static VALID: LazyLock<(Vec<u8>, [u8; 32], Secret)> =
    LazyLock::new(|| valid().expect("a certificate request"));

fn valid() -> Result<(Vec<u8>, [u8; 32], Secret), Box<dyn std::error::Error>> {
    let key = KeyPair::try_from(key().as_slice())?;
    let request = CertificateParams::default().serialize_request(&key)?.der().to_vec();
    let role = Role::party("newcomer".parse()?)?;
    let token = NETWORK.authority.new_token(&role, &[], 3600, vec!["hub:1".into()], now())?;
    Ok((request, key.der_bytes().try_into()?, token.secret))
}

fuzz_target!(|data: &[u8]| {
    let (request, key, secret) = &*VALID;
    let request = changed(request, data);
    let exporter = [7; 32];
    // Who knows the token can show that it does for any key.
    let proof = secret.proof(&exporter, &PublicKey(*key));
    let token = &secret.hash().id();
    let asked = EnrolmentRequest { token, proof: &proof, exporter: &exporter, csr: &request };
    let enrolled = NETWORK.authority.enrol(asked, now());
    // A request may be written in other ways than one; it is for the same key.
    if let Ok(certificate) = enrolled {
        assert!(Claims::from_der(&certificate).is_ok_and(|claims| claims.key.0 == *key));
    }
});

//! A member's key pair: made here, where it is used, and shown to hold by a certificate request.
//!
//! Ed25519 keys are held by ring alone: rcgen's own key pair keeps a second copy of the private key
//! that nothing wipes.

use std::fmt;

use mpyc_party_core::claims::PublicKey;
use rcgen::{CertificateParams, PKCS_ED25519, PublicKeyData, SignatureAlgorithm, SigningKey};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use zeroize::Zeroizing;

/// Why a private key cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// What was read is something else.
    #[error("the private key is no Ed25519 key in PKCS#8")]
    NotEd25519,
    /// There is no randomness to make one.
    #[error("the system gives no randomness for a private key")]
    NoRandomness,
    /// A certificate request cannot be written.
    #[error("the certificate request cannot be made: {0}")]
    Request(#[from] rcgen::Error),
}

/// A fresh private key in PKCS#8, wiped when dropped.
///
/// # Errors
/// When the system gives no randomness.
pub fn generate_key() -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let document =
        Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::NoRandomness)?;
    Ok(Zeroizing::new(document.as_ref().to_vec()))
}

/// A private key that signs certificate requests.
pub struct KeyPair(Ed25519KeyPair);

impl KeyPair {
    /// Reads a private key in PKCS#8.
    ///
    /// # Errors
    /// When it is no Ed25519 key.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8)
            .map(Self)
            .map_err(|_| KeyError::NotEd25519)
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let bytes = self.0.public_key().as_ref();
        PublicKey(std::array::from_fn(|i| bytes[i]))
    }

    /// A certificate request in DER (PKCS#10, RFC 2986), which shows that this key is held. The
    /// names in it are empty: an authority takes nothing from it but the public key.
    ///
    /// # Errors
    /// When rcgen cannot write it.
    pub fn certificate_request(&self) -> Result<Vec<u8>, KeyError> {
        Ok(CertificateParams::default().serialize_request(self)?.der().to_vec())
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.public())
    }
}

impl PublicKeyData for KeyPair {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl SigningKey for KeyPair {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}

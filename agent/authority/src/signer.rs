//! Ed25519 keys as rcgen takes them, held by ring alone: rcgen's own key pair keeps a second copy
//! of the private key that nothing wipes.

use mpyc_party_core::claims::PublicKey;
use rcgen::{PKCS_ED25519, PublicKeyData, SignatureAlgorithm, SigningKey};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use zeroize::Zeroizing;

/// No Ed25519 key, or no randomness to make one.
#[derive(Debug, thiserror::Error)]
#[error("the private key is no Ed25519 key in PKCS#8")]
pub struct SignerError;

/// A fresh private key in PKCS#8, wiped when dropped.
pub(crate) fn generate_key() -> Result<Zeroizing<Vec<u8>>, SignerError> {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| SignerError)?;
    Ok(Zeroizing::new(document.as_ref().to_vec()))
}

/// A private key that signs certificates.
pub(crate) struct Signer(Ed25519KeyPair);

impl Signer {
    pub(crate) fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, SignerError> {
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map(Self).map_err(|_| SignerError)
    }

    pub(crate) fn public(&self) -> PublicKey {
        let bytes = self.0.public_key().as_ref();
        PublicKey(std::array::from_fn(|i| bytes[i]))
    }
}

impl PublicKeyData for Signer {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl SigningKey for Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}

/// Somebody else's public key: all that a request contributes to a certificate.
pub(crate) struct Subject(pub(crate) PublicKey);

impl PublicKeyData for Subject {
    fn der_bytes(&self) -> &[u8] {
        &self.0.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

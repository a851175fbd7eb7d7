//! The root's private key in this process, held by ring alone: rcgen's own key pair keeps a second
//! copy of the private key that nothing wipes.

use std::fmt;

use mpyc_party_core::claims::PublicKey;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use zeroize::Zeroizing;

use crate::signer::{Signature, Signer, SignerError, SigningRequest};

/// Why there is no private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Damaged, or of another algorithm.
    #[error("the private key is no Ed25519 key in PKCS#8")]
    Encoding,
    /// The system has no randomness to make one.
    #[error("the system gives no randomness for a private key")]
    Random,
}

/// A fresh private key in PKCS#8, wiped when dropped.
pub(crate) fn generate_key() -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
    let document = made.map_err(|_| KeyError::Random)?;
    Ok(Zeroizing::new(document.as_ref().to_vec()))
}

/// A signer with the private key in memory.
pub struct LocalSigner(Ed25519KeyPair);

impl LocalSigner {
    /// The signer with this private key (PKCS#8 in DER). ring's copy of the key lives as long as the
    /// signer.
    ///
    /// # Errors
    /// When this is no Ed25519 key.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map(Self).map_err(|_| KeyError::Encoding)
    }
}

impl Signer for LocalSigner {
    fn public_key(&self) -> PublicKey {
        let bytes = self.0.public_key().as_ref();
        PublicKey(std::array::from_fn(|i| bytes[i]))
    }

    fn sign(&self, request: &SigningRequest) -> Result<Signature, SignerError> {
        let signature = self.0.sign(request.tbs());
        Ok(Signature(std::array::from_fn(|i| signature.as_ref()[i])))
    }
}

impl fmt::Debug for LocalSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LocalSigner").field(&self.public_key()).finish()
    }
}

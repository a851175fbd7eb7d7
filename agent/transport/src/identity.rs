//! A member's own identity: certificate, private key and the network's root, without any files.

use std::fmt;
use std::sync::Arc;

use mpyc_party_core::claims::{Claims, ClaimsError, PublicKey, Root, RootError};
use mpyc_party_core::credentials::Credentials;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use zeroize::Zeroizing;

/// Certificate, key and root of one member. Cloning is cheap.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    certificate: CertificateDer<'static>,
    key: Ed25519Key,
    claims: Claims,
    root: Root,
}

/// Why certificate, key and root make no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The certificate cannot be used.
    #[error("the own certificate cannot be used: {0}; enrol again")]
    Certificate(#[from] ClaimsError),
    /// The root cannot be used, or is another network's.
    #[error("certificate and root do not fit: {0}; enrol again")]
    Root(#[from] RootError),
    /// The private key cannot be read.
    #[error("the private key is no Ed25519 key in PKCS#8")]
    Key,
    /// The private key belongs to another certificate.
    #[error("the private key does not belong to the certificate, whose key is {0}")]
    Mismatch(PublicKey),
}

impl TryFrom<Credentials> for Identity {
    type Error = IdentityError;

    fn try_from(
        Credentials { certificate, key, root }: Credentials,
    ) -> Result<Self, IdentityError> {
        Self::new(certificate, key, root)
    }
}

impl Identity {
    /// Puts an identity together and checks that its parts fit; whether it is valid now is for
    /// others to check.
    ///
    /// `key_pkcs8` is wiped when this returns. The copy inside ring lives as long as the identity
    /// and is not wiped after it: ring offers no way.
    ///
    /// # Errors
    /// When a part cannot be read or does not belong to the others.
    pub fn new(
        certificate_der: Vec<u8>,
        key_pkcs8: Zeroizing<Vec<u8>>,
        root_der: Vec<u8>,
    ) -> Result<Self, IdentityError> {
        let claims = Claims::from_der(&certificate_der)?;
        let root = Root::from_der(&root_der)?;
        root.covers(&claims)?;
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&key_pkcs8)
            .map_err(|_| IdentityError::Key)?;
        if key.public_key().as_ref() != claims.key.0 {
            return Err(IdentityError::Mismatch(claims.key));
        }
        let (certificate, key) = (CertificateDer::from(certificate_der), Ed25519Key(Arc::new(key)));
        Ok(Self(Arc::new(Inner { certificate, key, claims, root })))
    }

    /// What the own certificate claims.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.0.claims
    }

    /// The network's root.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.0.root
    }

    /// The own certificate in DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.0.certificate
    }

    /// Signs `message` with the own key; [`verify`] checks it.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = self.0.key.0.sign(message);
        std::array::from_fn(|i| signature.as_ref()[i])
    }

    /// For rustls: the leaf alone, or with the root behind it for those who know only its hash.
    pub(crate) fn resolver(&self, with_root: bool) -> Arc<SingleCertAndKey> {
        let mut chain = vec![self.0.certificate.clone()];
        if with_root {
            chain.push(CertificateDer::from(self.0.root.der().to_vec()));
        }
        Arc::new(CertifiedKey::new(chain, Arc::new(self.0.key.clone())).into())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("claims", &self.0.claims).finish_non_exhaustive()
    }
}

/// Whether `signature` is `key`'s over `message`.
#[must_use]
pub fn verify(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, key.0).verify(message, signature).is_ok()
}

/// One key for TLS and for other signatures, so that memory holds it once.
#[derive(Clone)]
struct Ed25519Key(Arc<Ed25519KeyPair>);

impl fmt::Debug for Ed25519Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[private key]")
    }
}

impl SigningKey for Ed25519Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SignatureScheme::ED25519).then(|| Box::new(self.clone()) as Box<_>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Ed25519Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

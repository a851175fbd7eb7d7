//! The bytes that are signed, a `TBSCertificate` in DER (RFC 5280, section 4.1), and what goes
//! round them once they are.
//!
//! rcgen writes certificates whole: it asks a key for a signature in the middle of it, and waits.
//! Here that key only keeps what it should have signed. The certificate is assembled later from
//! exactly these bytes and the signature, however long that took to come.

use std::sync::{Mutex, PoisonError};

use mpyc_party_core::claims::{Claims, ClaimsError, PublicKey, Root};
use rcgen::{
    CertificateParams, Issuer, PKCS_ED25519, PublicKeyData, SignatureAlgorithm, SigningKey,
};
use x509_parser::asn1_rs::{BitString, Sequence, SerializeError, ToDer, oid};

use crate::profile::{self, ProfileError};
use crate::signer::Signature;

/// Somebody's public key: all that a request contributes to a certificate.
struct Subject(PublicKey);

impl PublicKeyData for Subject {
    fn der_bytes(&self) -> &[u8] {
        &self.0.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

/// Stands in for the root's private key, and keeps what it is asked to sign.
struct Capture {
    public: Subject,
    tbs: Mutex<Vec<u8>>,
}

impl Capture {
    fn new(public: PublicKey) -> Self {
        Self { public: Subject(public), tbs: Mutex::default() }
    }

    fn tbs(&self) -> Vec<u8> {
        self.tbs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl PublicKeyData for Capture {
    fn der_bytes(&self) -> &[u8] {
        self.public.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.public.algorithm()
    }
}

impl SigningKey for Capture {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        *self.tbs.lock().unwrap_or_else(PoisonError::into_inner) = message.to_vec();
        Ok(vec![0; 64])
    }
}

/// The to-be-signed bytes of a root that signs itself with the private half of `key`.
pub(crate) fn root(params: &CertificateParams, key: PublicKey) -> Result<Vec<u8>, ProfileError> {
    let capture = Capture::new(key);
    params.self_signed(&capture)?;
    Ok(capture.tbs())
}

/// The to-be-signed bytes of a member's certificate.
pub(crate) fn member(root: &Root, claims: &Claims) -> Result<Vec<u8>, ProfileError> {
    let issuer = Issuer::from_ca_cert_der(&root.der().to_vec().into(), Capture::new(root.key))?;
    profile::member(claims)?.signed_by(&Subject(claims.key), &issuer)?;
    Ok(issuer.key().tbs())
}

/// What to-be-signed bytes of a member's certificate say.
pub(crate) fn claims(tbs: &[u8]) -> Result<Claims, ClaimsError> {
    Claims::from_der(&assemble(tbs, &Signature([0; 64]))?)
}

/// The certificate in DER: the signed bytes, the algorithm and the signature in a row.
pub(crate) fn assemble(tbs: &[u8], signature: &Signature) -> Result<Vec<u8>, ClaimsError> {
    let write = || -> Result<Vec<u8>, SerializeError> {
        let algorithm = Sequence::new(oid!(1.3.101.112).to_der_vec()?.into()).to_der_vec()?;
        let signature = BitString::new(0, &signature.0).to_der_vec()?;
        Sequence::new([tbs, &algorithm, &signature].concat().into()).to_der_vec()
    };
    write().map_err(|_| ClaimsError::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local_signer::{LocalSigner, generate_key};
    use crate::signer::{Purpose, RootClaims, Signer, SigningRequest};
    use rcgen::KeyPair;

    fn claims(key: PublicKey) -> Claims {
        Claims {
            network: "example".parse().unwrap(),
            role: mpyc_party_core::role::Role::Hub(7),
            address: "10.64.0.9".parse().unwrap(),
            groups: vec!["lab".to_owned()],
            key,
            not_before: 1_700_000_000,
            not_after: 1_700_086_400,
            serial: profile::serial().unwrap(),
        }
    }

    #[test]
    fn what_is_assembled_is_what_rcgen_signs() {
        let pkcs8 = generate_key().unwrap();
        let key = KeyPair::try_from(pkcs8.as_slice()).unwrap();
        let signer = LocalSigner::from_pkcs8(&pkcs8).unwrap();
        let root = RootClaims {
            network: "example".parse().unwrap(),
            pool: "10.64.0.0/24".parse().unwrap(),
            not_before: 1_700_000_000,
            not_after: 1_800_000_000,
        };
        let params = profile::root(&root, &profile::serial().unwrap()).unwrap();
        let whole = params.self_signed(&key).unwrap();
        let root = Root::from_der(whole.der()).unwrap();

        let claims = claims(PublicKey([9; 32]));
        let request =
            SigningRequest::member(Purpose::Own, member(&root, &claims).unwrap()).unwrap();
        let assembled = assemble(request.tbs(), &signer.sign(&request).unwrap()).unwrap();
        let issuer = Issuer::new(params.clone(), &key);
        let subject = Subject(claims.key);
        let expected = profile::member(&claims).unwrap().signed_by(&subject, &issuer).unwrap();
        assert_eq!(assembled, expected.der().as_ref());
        assert_eq!(Claims::from_der(&assembled).unwrap(), claims);

        let request = SigningRequest::member(Purpose::Own, self::root(&params, root.key).unwrap());
        assert_eq!(request, Err(ClaimsError::IsAuthority), "a root is no member's certificate");
    }

    #[test]
    fn to_be_signed_bytes_of_anything_else_make_no_request() {
        for bytes in [&[][..], &[0x30, 0], &[0x30, 0x80], &[7; 300]] {
            assert!(SigningRequest::member(Purpose::Renewal, bytes.to_vec()).is_err());
        }
    }
}

//! Certificates for the benchmarks: a network's own for our link, plain ones for stunnel and for
//! MPyC's own TLS.

use std::fs;
use std::path::Path;

use anyhow::Result;
use mpyc_party_authority::{Authority, EnrolmentRequest};
use mpyc_party_core::claims::PublicKey;
use mpyc_party_core::role::Role;
use mpyc_party_transport::{generate_key, now};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
};
use time::{Duration, OffsetDateTime};

/// How long the certificates and tokens of a benchmark live.
const LIFETIME: Duration = Duration::DAY;

/// Enrols a party with the network's authority, in place of a connection; writes
/// `certificate.der`, `key.der` and `root.der`.
pub(crate) fn enrol(authority: &Authority, name: &str, directory: &Path) -> Result<()> {
    let lifetime = LIFETIME.whole_seconds().unsigned_abs();
    let hubs = vec!["hub.example:4747".to_owned()];
    let token = authority.new_token(&Role::Party(name.parse()?), &[], lifetime, hubs, now())?;
    let pkcs8 = generate_key()?;
    let key = KeyPair::try_from(pkcs8.as_slice())?;
    let request = CertificateParams::default().serialize_request(&key)?;
    let exporter = [0; 32];
    let proof = token.secret.proof(&exporter, &PublicKey(key.der_bytes().try_into()?));
    let id = token.secret.hash().id();
    let asked =
        EnrolmentRequest { token: &id, proof: &proof, exporter: &exporter, csr: request.der() };
    let certificate = authority.enrol(asked, now())?;
    fs::write(directory.join("certificate.der"), certificate)?;
    fs::write(directory.join("key.der"), &pkcs8)?;
    Ok(fs::write(directory.join("root.der"), authority.root().der())?)
}

/// One who signs for programs that know nothing of networks. OpenSSL does not read the Ed25519
/// keys that ring writes (RFC 5958, with the public key), so these are ECDSA.
pub(crate) struct Signer {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its private key.
pub(crate) struct Signed {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Signer {
    /// A fresh root.
    pub(crate) fn new() -> Result<Self> {
        let mut params = dated("root");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.self_signed(&key)?;
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// A certificate with nothing but a name, for either end.
    pub(crate) fn named(&self, name: &str) -> Result<Signed> {
        let mut params = dated(name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = vec![SanType::DnsName(name.to_owned().try_into()?)];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        Ok(Signed { certificate: params.signed_by(&key, &self.issuer)?, key })
    }

    /// Writes the root's certificate as PEM.
    pub(crate) fn write_pem(&self, path: &Path) -> Result<()> {
        Ok(fs::write(path, self.certificate.pem())?)
    }
}

impl Signed {
    /// Writes certificate and key as PEM.
    pub(crate) fn write_pem(&self, certificate: &Path, key: &Path) -> Result<()> {
        fs::write(certificate, self.certificate.pem())?;
        Ok(fs::write(key, self.key.serialize_pem())?)
    }
}

fn dated(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = OffsetDateTime::now_utc() - Duration::HOUR;
    params.not_after = params.not_before + LIFETIME;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

//! Certificates for the benchmarks: a network's for our link, and plain ones for stunnel and for
//! MPyC's own TLS, all valid for a day.

use std::fs;
use std::path::Path;

use anyhow::Result;
use mpyc_party_core::claims::{GROUPS_ARCS, groups_to_der};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SanType, SignatureAlgorithm,
};
use time::{Duration, OffsetDateTime};

/// The network of the benchmarks.
const NETWORK: &str = "bench";

/// One who signs.
pub(crate) struct Signer {
    algorithm: &'static SignatureAlgorithm,
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its private key.
pub(crate) struct Signed {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Signer {
    /// The root of a network, as parties expect it.
    pub(crate) fn network() -> Result<Self> {
        let constraints = NameConstraints {
            permitted_subtrees: vec![
                GeneralSubtree::DnsName(format!("{NETWORK}.mpyc.internal")),
                GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([10, 64, 0, 0], 10)),
            ],
            excluded_subtrees: vec![],
        };
        Self::new(&PKCS_ED25519, Some(constraints))
    }

    /// A root for programs that know nothing of networks. OpenSSL does not read the Ed25519 keys
    /// that ring writes (RFC 5958, with the public key), so these are of another kind.
    pub(crate) fn plain() -> Result<Self> {
        Self::new(&PKCS_ECDSA_P256_SHA256, None)
    }

    fn new(
        algorithm: &'static SignatureAlgorithm,
        name_constraints: Option<NameConstraints>,
    ) -> Result<Self> {
        let mut params = dated("root");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.name_constraints = name_constraints;
        let key = KeyPair::generate_for(algorithm)?;
        let certificate = params.self_signed(&key)?;
        Ok(Self { algorithm, certificate, issuer: Issuer::new(params, key) })
    }

    /// The certificate of a party of the network.
    pub(crate) fn party(&self, name: &str) -> Result<Signed> {
        let mut params = leaf(name);
        params.subject_alt_names = vec![
            SanType::DnsName(format!("{name}.{NETWORK}.mpyc.internal").try_into()?),
            SanType::IpAddress([10, 64, 0, 1].into()),
            SanType::URI(format!("spiffe://{NETWORK}/party/{name}").try_into()?),
        ];
        let groups = groups_to_der(&[])?;
        params.custom_extensions = vec![CustomExtension::from_oid_content(&GROUPS_ARCS, groups)];
        self.sign(&params)
    }

    /// A certificate with nothing but a name.
    pub(crate) fn named(&self, name: &str) -> Result<Signed> {
        let mut params = leaf(name);
        params.subject_alt_names = vec![SanType::DnsName(name.to_owned().try_into()?)];
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Result<Signed> {
        let key = KeyPair::generate_for(self.algorithm)?;
        Ok(Signed { certificate: params.signed_by(&key, &self.issuer)?, key })
    }

    /// Writes the root's certificate as PEM.
    pub(crate) fn write_pem(&self, path: &Path) -> Result<()> {
        Ok(fs::write(path, self.certificate.pem())?)
    }
}

impl Signed {
    /// Writes `certificate.der`, `key.der` and `root.der` for our link.
    pub(crate) fn write_der(&self, directory: &Path, root: &Signer) -> Result<()> {
        fs::write(directory.join("certificate.der"), self.certificate.der())?;
        fs::write(directory.join("key.der"), self.key.serialize_der())?;
        Ok(fs::write(directory.join("root.der"), root.certificate.der())?)
    }

    /// Writes certificate and key as PEM.
    pub(crate) fn write_pem(&self, certificate: &Path, key: &Path) -> Result<()> {
        fs::write(certificate, self.certificate.pem())?;
        Ok(fs::write(key, self.key.serialize_pem())?)
    }
}

fn dated(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::hours(23);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn leaf(name: &str) -> CertificateParams {
    let mut params = dated(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    params
}

//! A forge of roots and certificates, proper ones and every bad one a test can think of.

use mpyc_party_core::claims::{GROUPS_ARCS, groups_to_der};
use mpyc_party_transport::Identity;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, CustomExtension, DnType, DnValue,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints, PKCS_ED25519, SanType,
};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

/// A root and its key.
pub(crate) struct Forge {
    pub(crate) root: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub(crate) struct Forged {
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: KeyPair,
}

pub(crate) fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).unwrap()
}

/// The parameters of a proper root of `network`.
pub(crate) fn root_params(network: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::days(1);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, DnValue::Utf8String(format!("root of {network}")));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName(format!("{network}.mpyc.internal")),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([10, 64, 0, 0], 10)),
        ],
        excluded_subtrees: vec![],
    });
    params
}

/// The parameters of a proper certificate: `path` is such as «party/alice».
pub(crate) fn leaf_params(network: &str, label: &str, path: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::minutes(5);
    params.not_after = now + Duration::hours(1);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, label);
    params.subject_alt_names = vec![
        SanType::DnsName(format!("{label}.{network}.mpyc.internal").try_into().unwrap()),
        SanType::IpAddress([10, 64, 0, 1].into()),
        SanType::URI(format!("spiffe://{network}/{path}").try_into().unwrap()),
    ];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    let groups = groups_to_der(&["lab".to_owned()]).unwrap();
    params.custom_extensions = vec![CustomExtension::from_oid_content(&GROUPS_ARCS, groups)];
    params
}

impl Forge {
    pub(crate) fn new(network: &str) -> Self {
        Self::with(root_params(network))
    }

    pub(crate) fn with(params: CertificateParams) -> Self {
        let key = key();
        let root = params.self_signed(&key).unwrap().der().to_vec();
        Self { root, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn sign(&self, params: &CertificateParams) -> Forged {
        let key = key();
        let certificate = self.sign_for(params, &key);
        Forged { certificate, key }
    }

    pub(crate) fn sign_for(&self, params: &CertificateParams, key: &KeyPair) -> Vec<u8> {
        params.signed_by(key, &self.issuer).unwrap().der().to_vec()
    }

    pub(crate) fn identity(&self, label: &str, path: &str) -> Identity {
        let network = "example";
        self.sign(&leaf_params(network, label, path)).identity(self)
    }

    pub(crate) fn party(&self, name: &str) -> Identity {
        self.identity(name, &format!("party/{name}"))
    }
}

impl Forged {
    pub(crate) fn identity(self, forge: &Forge) -> Identity {
        let key = Zeroizing::new(self.key.serialize_der());
        Identity::new(self.certificate, key, forge.root.clone()).unwrap()
    }
}

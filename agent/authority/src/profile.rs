//! The two kinds of certificate an authority makes, field by field.
//!
//! Everything is stated here; rcgen's defaults (a validity from 1975 to 4096) are overwritten.

use std::net::IpAddr;

use ipnet::IpNet;
use mpyc_party_core::claims::{ClaimsError, GROUPS_ARCS, groups_to_der};
use mpyc_party_core::name::NetworkName;
use mpyc_party_core::role::{Role, SUFFIX};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyUsagePurpose, NameConstraints, SanType,
    SerialNumber,
};
use time::OffsetDateTime;

/// How long a root is valid, in seconds: ten years.
pub(crate) const ROOT_LIFETIME: u64 = 10 * 365 * 86_400;
/// How long a member's certificate is valid, in seconds: a day, so that whoever is revoked is out
/// within one.
pub const LIFETIME: u64 = 86_400;
/// How far validity is set back, in seconds: machines without a clock of their own start late.
pub const SET_BACK: u64 = 3600;

/// Why a certificate cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Too many groups, or one not spelled like a name.
    #[error(transparent)]
    Groups(#[from] ClaimsError),
    /// A time beyond the year 9999.
    #[error("the certificate's validity is out of range")]
    Time,
    /// Refused by rcgen.
    #[error("the certificate cannot be made: {0}")]
    Rcgen(#[from] rcgen::Error),
    /// No randomness for a serial number.
    #[error("the system gives no randomness")]
    Random,
}

/// First and last second of a validity, Unix time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Period {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

fn moment(seconds: u64) -> Result<OffsetDateTime, ProfileError> {
    let seconds = i64::try_from(seconds).map_err(|_| ProfileError::Time)?;
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| ProfileError::Time)
}

/// What both kinds have in common; the serial number has 127 random bits (RFC 5280, 4.1.2.2).
fn base(name: &str, period: Period) -> Result<CertificateParams, ProfileError> {
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(|_| ProfileError::Random)?;
    // Positive, and without leading zeros that DER would drop.
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut params = CertificateParams::default();
    params.not_before = moment(period.first)?;
    params.not_after = moment(period.last)?;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "mpyc-party");
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// The root of `network`: signs leaves only, for names of this network and addresses of this pool.
/// No constraint on URIs, which webpki answers by refusing everything.
pub(crate) fn root(
    network: &NetworkName,
    pool: IpNet,
    period: Period,
) -> Result<CertificateParams, ProfileError> {
    let mut params = base(network.as_str(), period)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName(format!("{network}.{SUFFIX}")),
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(
                pool.network(),
                pool.prefix_len(),
            )),
        ],
        excluded_subtrees: Vec::new(),
    });
    Ok(params)
}

/// A member's certificate.
pub(crate) fn leaf(
    network: &NetworkName,
    role: &Role,
    address: IpAddr,
    groups: &[String],
    period: Period,
) -> Result<CertificateParams, ProfileError> {
    let dns = role.dns_name(network);
    // A common name holds 64 characters (RFC 5280, A.1), a label at most 63.
    let label = dns.split('.').next().unwrap_or_default();
    let mut params = base(label, period)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.subject_alt_names = vec![
        SanType::DnsName(dns.as_str().try_into()?),
        SanType::IpAddress(address),
        SanType::URI(role.spiffe_id(network).try_into()?),
    ];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    if !groups.is_empty() {
        let content = groups_to_der(groups)?;
        params.custom_extensions = vec![CustomExtension::from_oid_content(&GROUPS_ARCS, content)];
    }
    Ok(params)
}

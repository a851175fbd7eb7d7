//! The two kinds of certificate an authority makes, field by field.
//!
//! Everything is stated here; rcgen's defaults (a validity from 1975 to 4096) are overwritten.

use mpyc_party_core::claims::{Claims, ClaimsError, GROUPS_ARCS, Serial, groups_to_der};
use mpyc_party_core::role::SUFFIX;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyUsagePurpose, NameConstraints, SanType,
    SerialNumber,
};
use time::OffsetDateTime;

use crate::signer::RootClaims;

/// How long a root is valid, in seconds: ten years.
pub(crate) const ROOT_LIFETIME: u64 = 10 * 365 * 86_400;
/// How long a member's certificate is valid, in seconds: a day, so that whoever is revoked is out
/// within one.
pub const CERTIFICATE_LIFETIME: u64 = 86_400;
/// How far a certificate is backdated, in seconds: machines without a clock of their own start late.
pub const BACKDATING: u64 = 3600;

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

fn moment(seconds: u64) -> Result<OffsetDateTime, ProfileError> {
    let seconds = i64::try_from(seconds).map_err(|_| ProfileError::Time)?;
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| ProfileError::Time)
}

/// A fresh serial number with 126 random bits (RFC 5280, section 4.1.2.2): positive, and without
/// leading zeros that DER would drop.
pub(crate) fn serial() -> Result<Serial, ProfileError> {
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(|_| ProfileError::Random)?;
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(Serial(serial.to_vec()))
}

/// What both kinds have in common.
fn base(
    name: &str,
    not_before: u64,
    not_after: u64,
    serial: &Serial,
) -> Result<CertificateParams, ProfileError> {
    let mut params = CertificateParams::default();
    params.not_before = moment(not_before)?;
    params.not_after = moment(not_after)?;
    params.serial_number = Some(SerialNumber::from_slice(&serial.0));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "mpyc-party");
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// A network's root: signs leaves only, for names of its network and addresses of its pool.
/// No constraint on URIs, which webpki answers by refusing everything.
pub(crate) fn root(
    claims: &RootClaims,
    serial: &Serial,
) -> Result<CertificateParams, ProfileError> {
    let RootClaims { network, pool, not_before, not_after } = claims;
    let mut params = base(network.as_str(), *not_before, *not_after, serial)?;
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
pub(crate) fn member(claims: &Claims) -> Result<CertificateParams, ProfileError> {
    let Claims { network, role, address, groups, key: _, not_before, not_after, serial } = claims;
    let dns = role.dns_name(network);
    // A common name holds 64 characters (RFC 5280, A.1), a label at most 63.
    let label = dns.split('.').next().unwrap_or_default();
    let mut params = base(label, *not_before, *not_after, serial)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.subject_alt_names = vec![
        SanType::DnsName(dns.as_str().try_into()?),
        SanType::IpAddress(*address),
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

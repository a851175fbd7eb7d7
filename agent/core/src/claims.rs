//! What a certificate claims: name, network, role, overlay address, groups, key and validity, read
//! strictly.
//!
//! webpki checks signatures and name constraints but ignores much: this module demands that the
//! DNS name, IP address and SPIFFE id are there exactly once and agree. Reading a certificate here
//! does not verify its signature; the handshake does.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use x509_parser::asn1_rs::{FromDer, Oid, ToDer, Utf8String, oid};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use crate::name::{GroupName, NetworkName, PartyName};
use crate::role::{Role, RoleError};

pub use crate::key::{Fingerprint, PublicKey};
pub use crate::root::{Root, RootError};

/// The longest certificate that is looked at, in bytes; real ones are under 1 KiB.
pub const MAX_CERTIFICATE_BYTES: usize = 8192;

/// The most groups in a certificate.
pub const MAX_GROUPS: usize = 16;

/// The extension that lists a party's groups: a SEQUENCE OF UTF8String, never critical, because
/// webpki and openssl reject critical extensions they do not know.
///
/// The arc below 2.25 is meant for UUIDs (ITU-T X.667); this one is a random number of 63 bits,
/// the most that rcgen can write.
pub const GROUPS_ARCS: [u64; 3] = [2, 25, 1_426_728_923_699_536_132];
const GROUPS: Oid<'static> = oid!(2.25.1426728923699536132);
const ED25519: Oid<'static> = oid!(1.3.101.112);

/// The serial number of a certificate, big-endian.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(pub Vec<u8>);

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a certificate says about its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The network it belongs to.
    pub network: NetworkName,
    /// Who the holder is.
    pub role: Role,
    /// The holder's overlay address.
    pub address: IpAddr,
    /// The holder's groups, in the certificate's order.
    pub groups: Vec<String>,
    /// The holder's public key.
    pub key: PublicKey,
    /// First second of validity, Unix time.
    pub not_before: u64,
    /// Last second of validity, Unix time.
    pub not_after: u64,
    /// The serial number.
    pub serial: Serial,
}

/// Why a certificate makes no acceptable claims.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// Not an X.509 certificate.
    #[error("it is no readable X.509 certificate")]
    Encoding,
    /// A key of another algorithm.
    #[error("its key is not Ed25519")]
    Algorithm,
    /// A certificate of an authority where one of a member is wanted.
    #[error("it is an authority's root, not a member's certificate")]
    IsAuthority,
    /// Not usable for both ends of a TLS connection.
    #[error("it does not allow both client and server authentication")]
    Usage,
    /// Names missing, repeated, or of other kinds.
    #[error("it must hold exactly one DNS name, one IP address and one URI, and holds others")]
    Names,
    /// A name of another shape.
    #[error(transparent)]
    Role(#[from] RoleError),
    /// DNS name and URI say different things.
    #[error("its DNS name says «{dns}», its URI says «{uri}»")]
    Disagree {
        /// The DNS name.
        dns: String,
        /// The URI.
        uri: String,
    },
    /// Groups unreadable or too many.
    #[error("its groups are unreadable or more than {MAX_GROUPS}")]
    Groups,
    /// A validity before 1970 or ending before it begins.
    #[error("its validity makes no sense")]
    Validity,
    /// Past its validity.
    #[error("it expired {} ago", about(*.seconds))]
    Expired {
        /// How long ago, in seconds.
        seconds: u64,
    },
    /// Before its validity.
    #[error("it is valid only in {}; check the clocks of both machines", about(*.seconds))]
    NotYetValid {
        /// How far ahead, in seconds.
        seconds: u64,
    },
}

/// A length of time in one rounded unit: what a person wants to know about a certificate.
#[must_use]
pub fn about(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Checks `now` against a validity; all three in Unix seconds.
pub(crate) fn check_period(now: u64, not_before: u64, not_after: u64) -> Result<(), ClaimsError> {
    if now < not_before {
        return Err(ClaimsError::NotYetValid { seconds: not_before - now });
    }
    if now > not_after {
        return Err(ClaimsError::Expired { seconds: now - not_after });
    }
    Ok(())
}

/// The one certificate in `der`, with nothing behind it.
pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, ClaimsError> {
    if der.len() > MAX_CERTIFICATE_BYTES {
        return Err(ClaimsError::Encoding);
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(ClaimsError::Encoding),
    }
}

pub(crate) fn ed25519_key(certificate: &X509Certificate<'_>) -> Result<PublicKey, ClaimsError> {
    let spki = certificate.public_key();
    let plain = spki.algorithm.algorithm == ED25519 && spki.algorithm.parameters.is_none();
    let bytes = spki.subject_public_key.data.as_ref().try_into();
    match (plain, bytes) {
        (true, Ok(bytes)) => Ok(PublicKey(bytes)),
        _ => Err(ClaimsError::Algorithm),
    }
}

pub(crate) fn period(certificate: &X509Certificate<'_>) -> Result<(u64, u64), ClaimsError> {
    let validity = certificate.validity();
    let seconds = |time: i64| u64::try_from(time).map_err(|_| ClaimsError::Validity);
    let first = seconds(validity.not_before.timestamp())?;
    let last = seconds(validity.not_after.timestamp())?;
    if first <= last { Ok((first, last)) } else { Err(ClaimsError::Validity) }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|b| IpAddr::V4(Ipv4Addr::from(b)));
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|b| IpAddr::V6(Ipv6Addr::from(b)))).ok()
}

/// The DNS name, address and URI: exactly one each, in any order.
fn names<'a>(
    certificate: &'a X509Certificate<'a>,
) -> Result<(&'a str, IpAddr, &'a str), ClaimsError> {
    let extension = certificate.subject_alternative_name().map_err(|_| ClaimsError::Names)?;
    let names = &extension.ok_or(ClaimsError::Names)?.value.general_names;
    let (mut dns, mut ip, mut uri) = (None, None, None);
    for name in names {
        let again = match name {
            GeneralName::DNSName(text) => dns.replace(*text).is_some(),
            GeneralName::IPAddress(bytes) => ip.replace(*bytes).is_some(),
            GeneralName::URI(text) => uri.replace(*text).is_some(),
            _ => true,
        };
        if again {
            return Err(ClaimsError::Names);
        }
    }
    match (dns, ip.and_then(address), uri) {
        (Some(dns), Some(ip), Some(uri)) => Ok((dns, ip, uri)),
        _ => Err(ClaimsError::Names),
    }
}

/// Both usages, because every party dials and accepts; and never an authority's.
fn check_usage(certificate: &X509Certificate<'_>) -> Result<(), ClaimsError> {
    let key_usage = certificate.key_usage().map_err(|_| ClaimsError::Usage)?;
    if certificate.is_ca() || key_usage.is_some_and(|usage| usage.value.key_cert_sign()) {
        return Err(ClaimsError::IsAuthority);
    }
    let extended = certificate.extended_key_usage().map_err(|_| ClaimsError::Usage)?;
    match extended {
        Some(usage) if usage.value.client_auth && usage.value.server_auth => Ok(()),
        _ => Err(ClaimsError::Usage),
    }
}

fn groups(certificate: &X509Certificate<'_>) -> Result<Vec<String>, ClaimsError> {
    let found = certificate.get_extension_unique(&GROUPS).map_err(|_| ClaimsError::Groups)?;
    let Some(extension) = found else { return Ok(Vec::new()) };
    let parsed: Result<(&[u8], Vec<Utf8String<'_>>), _> = FromDer::from_der(extension.value);
    match parsed {
        Ok(([], list)) => check_groups(list.iter().map(|group| group.string()).collect()),
        _ => Err(ClaimsError::Groups),
    }
}

/// Groups are spelled like names, and there are at most [`MAX_GROUPS`] of them.
fn check_groups(groups: Vec<String>) -> Result<Vec<String>, ClaimsError> {
    let fine = groups.iter().all(|group| group.parse::<PartyName>().is_ok());
    if fine && groups.len() <= MAX_GROUPS { Ok(groups) } else { Err(ClaimsError::Groups) }
}

/// The content of the groups extension.
///
/// # Errors
/// When there are too many groups or one is not spelled like a name.
pub fn groups_to_der(groups: &[String]) -> Result<Vec<u8>, ClaimsError> {
    let list: Vec<Utf8String<'_>> =
        check_groups(groups.to_vec())?.into_iter().map(Utf8String::from).collect();
    list.to_der_vec().map_err(|_| ClaimsError::Groups)
}

impl Claims {
    /// Reads the certificate of a party, a hub or the authority's server.
    ///
    /// # Errors
    /// When anything is missing, repeated, contradictory or of another algorithm.
    pub fn from_der(leaf: &[u8]) -> Result<Self, ClaimsError> {
        let certificate = parse(leaf)?;
        let key = ed25519_key(&certificate)?;
        check_usage(&certificate)?;
        let (dns, address, uri) = names(&certificate)?;
        let (network, role) = Role::from_dns_name(dns)?;
        if Role::from_spiffe_id(uri)? != (network.clone(), role.clone()) {
            return Err(ClaimsError::Disagree { dns: dns.to_owned(), uri: uri.to_owned() });
        }
        let (not_before, not_after) = period(&certificate)?;
        let groups = groups(&certificate)?;
        let serial = Serial(certificate.raw_serial().to_vec());
        Ok(Self { network, role, address, groups, key, not_before, not_after, serial })
    }

    /// Checks the validity at `now`, in Unix seconds.
    ///
    /// # Errors
    /// Says since when it has expired or how far ahead it begins.
    pub fn check_validity(&self, now: u64) -> Result<(), ClaimsError> {
        check_period(now, self.not_before, self.not_after)
    }

    /// When to renew, in Unix seconds: at two thirds of the validity.
    #[must_use]
    pub fn renewal_due(&self) -> u64 {
        self.not_before + (self.not_after - self.not_before) / 3 * 2
    }

    /// Whether the holder is in this group.
    #[must_use]
    pub fn is_in(&self, group: &GroupName) -> bool {
        self.groups.iter().any(|own| own == group.as_str())
    }

    /// The name, when the holder is a party.
    #[must_use]
    pub fn party(&self) -> Option<&PartyName> {
        match &self.role {
            Role::Party(name) => Some(name),
            Role::Hub(_) | Role::Authority => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validity_has_two_ends() {
        assert_eq!(check_period(10, 10, 20), Ok(()));
        assert_eq!(check_period(20, 10, 20), Ok(()));
        assert_eq!(check_period(9, 10, 20), Err(ClaimsError::NotYetValid { seconds: 1 }));
        assert_eq!(check_period(21, 10, 20), Err(ClaimsError::Expired { seconds: 1 }));
        let message = ClaimsError::Expired { seconds: 7300 }.to_string();
        assert_eq!(message, "it expired 2 h ago");
    }

    #[test]
    fn groups_are_bounded_and_spelled_like_names() {
        assert!(groups_to_der(&["lab".to_owned()]).is_ok());
        assert!(groups_to_der(&["Not a name".to_owned()]).is_err());
        assert!(groups_to_der(&vec!["lab".to_owned(); MAX_GROUPS + 1]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            assert!(Claims::from_der(&bytes).is_err());
        }
    }
}

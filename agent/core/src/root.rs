//! The root of a network: the authority's certificate, from which network, address pool and trust
//! follow.
//!
//! webpki keeps only a trust anchor's subject, key and name constraints, so everything else that
//! makes a root acceptable is checked here: that it is one, may sign leaves only, is constrained
//! to one network and one pool, and is valid now.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use crate::claims::{self, Claims, ClaimsError};
use crate::key::{Fingerprint, PublicKey};
use crate::name::NetworkName;
use crate::role::SUFFIX;

/// The authority's certificate, read and found acceptable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The network it stands for.
    pub network: NetworkName,
    /// The addresses it may give out.
    pub pool: IpNet,
    /// The authority's public key.
    pub key: PublicKey,
    /// SHA-256 of the certificate.
    pub fingerprint: Fingerprint,
    /// First second of validity, Unix time.
    pub not_before: u64,
    /// Last second of validity, Unix time.
    pub not_after: u64,
    der: Vec<u8>,
}

/// Why a certificate is no root of a network, or does not cover another certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// Unreadable, or of another algorithm.
    #[error("the root cannot be used: {0}")]
    Certificate(ClaimsError),
    /// Not an authority's, or one that may make further authorities.
    #[error("the root must be an authority of path length 0")]
    NotAuthority,
    /// Its own signature is wrong: the file is damaged.
    #[error("the root's own signature is wrong; the file may be damaged")]
    Signature,
    /// Other name constraints than one network and one pool.
    #[error("the root must be constrained to one network and one address pool")]
    Constraints,
    /// Outside its validity.
    #[error("the network's root cannot be used now: {0}")]
    Validity(ClaimsError),
    /// A certificate of another network.
    #[error("it belongs to the network «{found}», this is «{expected}»")]
    OtherNetwork {
        /// The network of the root.
        expected: NetworkName,
        /// The network in the certificate.
        found: NetworkName,
    },
    /// An address outside of the pool.
    #[error("its address {address} is outside the network's pool {pool}")]
    OutsidePool {
        /// The address in the certificate.
        address: IpAddr,
        /// The pool of the root.
        pool: IpNet,
    },
}

impl Root {
    /// Reads a root.
    ///
    /// # Errors
    /// When it is not exactly what an authority of this project makes.
    pub fn from_der(der: &[u8]) -> Result<Self, RootError> {
        let certificate = claims::parse(der).map_err(RootError::Certificate)?;
        let key = claims::ed25519_key(&certificate).map_err(RootError::Certificate)?;
        check_authority(&certificate)?;
        certificate.verify_signature(None).map_err(|_| RootError::Signature)?;
        let (network, pool) = constraints(&certificate).ok_or(RootError::Constraints)?;
        let (not_before, not_after) =
            claims::period(&certificate).map_err(RootError::Certificate)?;
        let fingerprint = Fingerprint(Sha256::digest(der).into());
        Ok(Self { network, pool, key, fingerprint, not_before, not_after, der: der.to_vec() })
    }

    /// The certificate itself.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Checks the root's own validity at `now`, in Unix seconds.
    ///
    /// # Errors
    /// Says since when it has expired or how far ahead it begins.
    pub fn check_validity(&self, now: u64) -> Result<(), RootError> {
        claims::check_period(now, self.not_before, self.not_after).map_err(RootError::Validity)
    }

    /// Checks that `claims` stay within this root's network and pool.
    ///
    /// # Errors
    /// Says which of the two they leave.
    pub fn covers(&self, claims: &Claims) -> Result<(), RootError> {
        if claims.network != self.network {
            let (expected, found) = (self.network.clone(), claims.network.clone());
            return Err(RootError::OtherNetwork { expected, found });
        }
        if !self.pool.contains(&claims.address) {
            return Err(RootError::OutsidePool { address: claims.address, pool: self.pool });
        }
        Ok(())
    }
}

fn check_authority(certificate: &X509Certificate<'_>) -> Result<(), RootError> {
    let basic = certificate.basic_constraints().map_err(|_| RootError::NotAuthority)?;
    let usage = certificate.key_usage().map_err(|_| RootError::NotAuthority)?;
    let leaf_only = basic.is_some_and(|b| b.value.ca && b.value.path_len_constraint == Some(0));
    let signs = usage.is_some_and(|usage| usage.value.key_cert_sign());
    if leaf_only && signs { Ok(()) } else { Err(RootError::NotAuthority) }
}

/// Permitted: one DNS suffix and one block of addresses. Excluded: nothing.
fn constraints(certificate: &X509Certificate<'_>) -> Option<(NetworkName, IpNet)> {
    let constraints = certificate.name_constraints().ok()??.value;
    let permitted = constraints.permitted_subtrees.as_deref()?;
    let [first, second] = permitted else { return None };
    let (dns, bytes) = match (&first.base, &second.base) {
        (GeneralName::DNSName(dns), GeneralName::IPAddress(bytes)) => (dns, bytes),
        (GeneralName::IPAddress(bytes), GeneralName::DNSName(dns)) => (dns, bytes),
        _ => return None,
    };
    if constraints.excluded_subtrees.is_some() {
        return None;
    }
    let network = dns.strip_suffix(SUFFIX)?.strip_suffix('.')?.parse().ok()?;
    Some((network, block(bytes)?))
}

/// Address and mask in a row (RFC 5280, section 4.2.1.10).
fn block(bytes: &[u8]) -> Option<IpNet> {
    let (address, mask) = bytes.split_at(bytes.len() / 2);
    let whole = |half: &[u8]| -> Option<IpAddr> {
        match half.len() {
            4 => Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(half).ok()?))),
            16 => Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(half).ok()?))),
            _ => None,
        }
    };
    let block = IpNet::with_netmask(whole(address)?, whole(mask)?).ok()?;
    (block.trunc() == block).then_some(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_an_address_and_a_contiguous_mask() {
        assert_eq!(block(&[10, 64, 0, 0, 255, 192, 0, 0]), "10.64.0.0/10".parse().ok());
        for bad in
            [&[10, 64, 0, 0, 255, 0, 255, 0][..], &[10, 64, 0, 1, 255, 192, 0, 0], &[10; 7], &[]]
        {
            assert_eq!(block(bad), None, "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            assert!(Root::from_der(&bytes).is_err());
        }
    }
}

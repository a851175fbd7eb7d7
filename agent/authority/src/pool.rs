//! The address pool of a network and who gets which address of it.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv6Net};

use crate::error::AuthorityError;
use crate::profile::ProfileError;

/// A fresh pool: a random unique local prefix (RFC 4193, section 3.2.2). It collides neither with
/// the private IPv4 networks people are in nor with another network's pool, and it never runs out.
///
/// # Errors
/// When the system gives no randomness.
pub fn random_pool() -> Result<IpNet, AuthorityError> {
    let mut octets = [0; 16];
    getrandom::fill(&mut octets[1..6]).map_err(|_| ProfileError::Random)?;
    octets[0] = 0xfd;
    Ok(IpNet::V6(Ipv6Net::new_assert(octets.into(), 64)))
}

/// The address of member number `id`: the pool's `id`-th, never an IPv4 broadcast address.
pub(crate) fn address(pool: IpNet, id: i64) -> Result<IpAddr, AuthorityError> {
    let exhausted = AuthorityError::Exhausted(pool);
    let address = match pool.network() {
        IpAddr::V4(base) => {
            let offset = u32::try_from(id).ok();
            offset
                .and_then(|offset| u32::from(base).checked_add(offset))
                .map(|a| IpAddr::V4(a.into()))
        }
        IpAddr::V6(base) => {
            let offset = u128::try_from(id).ok();
            offset
                .and_then(|offset| u128::from(base).checked_add(offset))
                .map(|a| IpAddr::V6(a.into()))
        }
    };
    match address {
        Some(address) if pool.contains(&address) && address != pool.broadcast() => Ok(address),
        _ => Err(exhausted),
    }
}

pub(crate) fn check(pool: IpNet) -> Result<(), AuthorityError> {
    let room = pool.max_prefix_len() - pool.prefix_len();
    if room < 2 || pool.trunc() != pool { Err(AuthorityError::Pool(pool)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_counted_from_the_start_of_the_pool() {
        let pool: IpNet = "10.64.0.0/30".parse().unwrap();
        assert_eq!(address(pool, 1).unwrap().to_string(), "10.64.0.1");
        assert_eq!(address(pool, 2).unwrap().to_string(), "10.64.0.2");
        assert!(matches!(address(pool, 3), Err(AuthorityError::Exhausted(_))), "broadcast");
        for outside in [4, i64::MAX, -1] {
            assert!(matches!(address(pool, outside), Err(AuthorityError::Exhausted(_))));
        }
    }

    #[test]
    fn random_pools_are_unique_local_and_differ() {
        let (one, other) = (random_pool().unwrap(), random_pool().unwrap());
        assert!("fd00::/8".parse::<IpNet>().unwrap().contains(&one));
        assert_ne!(one, other);
        assert!(check(one).is_ok());
    }

    #[test]
    fn pools_hold_somebody() {
        for bad in ["10.64.0.0/31", "fd00::/127", "10.64.0.1/24"] {
            assert!(check(bad.parse().unwrap()).is_err(), "{bad}");
        }
    }
}

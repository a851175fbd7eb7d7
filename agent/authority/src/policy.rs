//! What a certificate would say, or why there is none: decided from the records and the time alone.
//!
//! Nothing here writes, signs or waits. Whoever acts on a decision does so in the transaction in
//! which it was made.

use std::ops::RangeInclusive;

use mpyc_party_core::claims::{Claims, PublicKey, Root, Serial};
use mpyc_party_core::name::NetworkName;
use mpyc_party_core::role::{Role, SUFFIX};
use mpyc_party_core::token::TokenHash;
use rusqlite::Connection;

use crate::date::sql_seconds;
use crate::error::AuthorityError;
use crate::profile::{BACKDATING, CERTIFICATE_LIFETIME};
use crate::records::members::{self, MemberRow};
use crate::records::{certificates, tokens};

/// The least time between two certificates of one member, in seconds. Whoever asks again sooner
/// gets the same one: nobody fills the records.
const MIN_RENEWAL_INTERVAL: u64 = 60;

/// Somebody who wants to become a member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newcomer<'a> {
    /// Which token it has.
    pub(crate) token: &'a [u8; 16],
    /// That it knows the token's secret.
    pub(crate) proof: &'a [u8; 32],
    /// What binds the proof to its connection (RFC 8446, section 7.5).
    pub(crate) exporter: &'a [u8; 32],
    /// Its key, whose private half it has shown to hold.
    pub(crate) key: PublicKey,
}

/// What becomes of a newcomer.
pub(crate) enum Enrolment {
    /// It was given this certificate before.
    Issued(Vec<u8>),
    /// It is a member that was never given its certificate.
    Resumed(MemberRow),
    /// It becomes a member of this label, in these groups.
    Admitted { label: String, groups: Vec<String> },
}

/// What becomes of a member's request for a fresh certificate.
pub(crate) enum Renewal {
    /// It was given this one a moment ago, or should have been.
    Issued(Vec<u8>),
    /// It gets one.
    Due(MemberRow),
}

/// When something was reserved or issued that is still good for whoever asks again: those who ask at
/// once may have read the clock in another order, so a moment in the future counts as well.
pub(crate) fn recent(now: u64) -> RangeInclusive<i64> {
    let (first, last) =
        (now.saturating_sub(MIN_RENEWAL_INTERVAL), now.saturating_add(MIN_RENEWAL_INTERVAL));
    sql_seconds(first)..=sql_seconds(last)
}

/// How the records name the holder of a role: by the first label of its DNS name.
pub(crate) fn label(role: &Role, network: &NetworkName) -> String {
    role.dns_name(network).split('.').next().unwrap_or_default().to_owned()
}

/// The role of whoever has this label.
pub(crate) fn role(root: &Root, label: &str) -> Result<Role, AuthorityError> {
    Ok(Role::from_dns_name(&format!("{label}.{}.{SUFFIX}", root.network))?.1)
}

/// The same token with the same key leads to the same certificate, so that neither a lost reply nor
/// a crash is a dead end; with another key it leads nowhere once it is spent.
pub(crate) fn enrolment(
    c: &Connection,
    root: &Root,
    newcomer: &Newcomer<'_>,
    now: u64,
) -> Result<Enrolment, AuthorityError> {
    let Newcomer { token, proof, exporter, key } = *newcomer;
    let token = tokens::by_id(c, token)?.ok_or(AuthorityError::UnknownToken)?;
    if !TokenHash(token.hash).accepts(proof, exporter, &key) {
        return Err(AuthorityError::UnknownToken);
    }
    if let Some(member) = token.member {
        return match (members::by_id(c, member)?, token.certificate) {
            (Some(member), _) if member.key != key => Err(AuthorityError::UsedToken),
            (Some(MemberRow { revoked: None, .. }), Some(issued)) => Ok(Enrolment::Issued(issued)),
            (Some(member @ MemberRow { revoked: None, .. }), None) => {
                Ok(Enrolment::Resumed(member))
            }
            _ => Err(AuthorityError::Revoked(token.label)),
        };
    }
    if token.expires < sql_seconds(now) {
        return Err(AuthorityError::ExpiredToken);
    }
    if members::by_label(c, &token.label)?.is_some() {
        return Err(AuthorityError::Taken(role(root, &token.label)?));
    }
    if members::by_key(c, key)?.is_some() || key == root.key {
        return Err(AuthorityError::KnownKey);
    }
    Ok(Enrolment::Admitted { label: token.label, groups: token.groups })
}

/// A member gets a fresh certificate for the key that it has. One that shows another than its
/// latest has not received that: the reply was lost, or it did not wait for the signature.
pub(crate) fn renewal(
    c: &Connection,
    root: &Root,
    claims: &Claims,
    now: u64,
) -> Result<Renewal, AuthorityError> {
    let member = membership(c, root, claims)?;
    if let Some(certificate) = certificates::issued(c, member.id, &recent(now))? {
        return Ok(Renewal::Issued(certificate));
    }
    let latest = certificates::latest(c, member.id)?.map(|(_, certificate)| certificate);
    let missed = |latest: &Vec<u8>| {
        Claims::from_der(latest).is_ok_and(|latest| {
            let other = latest.serial != claims.serial && latest.key == claims.key;
            // One of a time when the clock ran ahead is of no use yet.
            other && latest.check_validity(now).is_ok() && now < latest.renewal_due()
        })
    };
    Ok(match latest.filter(missed) {
        Some(certificate) => Renewal::Issued(certificate),
        None => Renewal::Due(member),
    })
}

/// The member of this label, if the authority may hold its key: none has enrolled with a token.
pub(crate) fn own(
    c: &Connection,
    root: &Root,
    label: &str,
) -> Result<Option<MemberRow>, AuthorityError> {
    match members::by_label(c, label)? {
        Some(member) if tokens::spent_on(c, member.id)? => {
            Err(AuthorityError::Taken(role(root, label)?))
        }
        found => Ok(found),
    }
}

/// The member that these claims are about, unless it is revoked or its certificate is no longer the
/// one in the records.
pub(crate) fn membership(
    c: &Connection,
    root: &Root,
    claims: &Claims,
) -> Result<MemberRow, AuthorityError> {
    let label = label(&claims.role, &root.network);
    match members::by_key(c, claims.key)? {
        Some(member) if member.label != label => {
            Err(AuthorityError::NotEnrolled(claims.role.clone()))
        }
        Some(MemberRow { revoked: Some(_), .. }) => Err(AuthorityError::Revoked(label)),
        Some(member) => Ok(member),
        None => Err(AuthorityError::NotEnrolled(claims.role.clone())),
    }
}

/// All that the certificate of a recorded member says, if it is made now.
pub(crate) fn claims(
    root: &Root,
    member: &MemberRow,
    key: PublicKey,
    serial: Serial,
    now: u64,
) -> Result<Claims, AuthorityError> {
    root.check_validity(now)?;
    let claims = Claims {
        network: root.network.clone(),
        role: role(root, &member.label)?,
        address: member.address.parse().map_err(|_| AuthorityError::Exhausted(root.pool))?,
        groups: member.groups.clone(),
        key,
        not_before: now.saturating_sub(BACKDATING),
        not_after: now.saturating_add(CERTIFICATE_LIFETIME).min(root.not_after),
        serial,
    };
    root.covers(&claims)?;
    Ok(claims)
}

//! How a certificate comes about: reserved, signed, checked, confirmed.
//!
//! Reserving and confirming are one short transaction each. What lies between takes as long as the
//! signer does, and holds nothing: a crash there leaves a reservation that is never used for
//! anything else. Whoever asks again a moment later takes it up where it was left; the signer then
//! sees the same bytes again.

use mpyc_party_core::claims::{Claims, PublicKey};
use ring::signature::{ED25519, UnparsedPublicKey};
use rusqlite::Connection;

use super::Authority;
use crate::date::sql_seconds;
use crate::error::AuthorityError;
use crate::records::members::{self, MemberRow};
use crate::records::{certificates, tokens, trail};
use crate::signer::{Purpose, SigningRequest, Statement};
use crate::{policy, pool, profile, tbs};

/// What a certificate is reserved for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Use {
    /// The enrolment with this token.
    Enrolment([u8; 16]),
    Renewal,
    Own,
}

impl Use {
    fn purpose(self) -> Purpose {
        match self {
            Self::Enrolment(_) => Purpose::Enrolment,
            Self::Renewal => Purpose::Renewal,
            Self::Own => Purpose::Own,
        }
    }
}

/// A certificate that is decided and recorded, and lacks nothing but the signature.
#[derive(Debug)]
pub(crate) struct Reservation {
    claims: Claims,
    request: SigningRequest,
    member: i64,
    used_for: Use,
}

impl Reservation {
    fn new(
        member: i64,
        used_for: Use,
        claims: Claims,
        tbs: Vec<u8>,
    ) -> Result<Self, AuthorityError> {
        let request = SigningRequest::member(used_for.purpose(), tbs)?;
        // No signer is asked for anything but what was decided.
        if *request.statement() != Statement::Member(used_for.purpose(), claims.clone()) {
            return Err(AuthorityError::Mismatch);
        }
        Ok(Self { claims, request, member, used_for })
    }
}

/// What a request for a certificate leads to.
#[derive(Debug)]
pub(crate) enum Issue {
    /// A certificate that was issued before.
    Issued(Vec<u8>),
    /// One that has to be signed.
    Reserved(Box<Reservation>),
}

impl Authority {
    /// Adds a member; its address is its own for good.
    pub(crate) fn reserve_member(
        &self,
        c: &Connection,
        label: &str,
        groups: &[String],
        key: PublicKey,
        now: u64,
    ) -> Result<MemberRow, AuthorityError> {
        let id = members::add(c, sql_seconds(now), label, groups, key)?;
        members::set_address(c, id, pool::address(self.root.pool, id)?)?;
        members::by_id(c, id)?.ok_or_else(|| AuthorityError::Unknown(label.to_owned()))
    }

    /// Reserves a certificate for the member, with a serial number that nothing else has; or takes
    /// up the one that was reserved for the same a moment ago.
    pub(crate) fn reserve_certificate(
        &self,
        c: &Connection,
        member: &MemberRow,
        key: PublicKey,
        used_for: Use,
        now: u64,
    ) -> Result<Issue, AuthorityError> {
        let fresh = policy::claims(&self.root, member, key, profile::serial()?, now)?;
        let reserved = |claims, tbs| {
            let reservation = Reservation::new(member.id, used_for, claims, tbs)?;
            Ok(Issue::Reserved(Box::new(reservation)))
        };
        for tbs in certificates::reserved(c, member.id, &policy::recent(now))? {
            let open = tbs::claims(&tbs)?;
            let Claims { not_before, not_after, serial, .. } = open.clone();
            if open == (Claims { not_before, not_after, serial, ..fresh.clone() }) {
                return reserved(open, tbs);
            }
        }
        let tbs = tbs::member(&self.root, &fresh)?;
        let expires = sql_seconds(fresh.not_after);
        certificates::reserve(c, &fresh.serial, member.id, sql_seconds(now), expires, &tbs)?;
        reserved(fresh, tbs)
    }

    /// Has a certificate signed where it is not yet, and records it.
    pub(super) fn issue(&self, issue: Issue, now: u64) -> Result<Vec<u8>, AuthorityError> {
        match issue {
            Issue::Issued(certificate) => Ok(certificate),
            Issue::Reserved(reservation) => {
                let certificate = self.sign(&reservation)?;
                self.records.change(|c| self.confirm(c, &reservation, certificate, now))
            }
        }
    }

    /// The signed certificate, read again and found to say what was decided.
    pub(crate) fn sign(&self, reservation: &Reservation) -> Result<Vec<u8>, AuthorityError> {
        let Reservation { claims, request, .. } = reservation;
        let signature = self.signer.sign(request)?;
        UnparsedPublicKey::new(&ED25519, self.root.key.0)
            .verify(request.tbs(), &signature.0)
            .map_err(|_| AuthorityError::WrongSignature)?;
        let certificate = tbs::assemble(request.tbs(), &signature)?;
        let read = Claims::from_der(&certificate)?;
        self.root.covers(&read)?;
        if read == *claims { Ok(certificate) } else { Err(AuthorityError::Mismatch) }
    }

    /// Records a signed certificate; returns the one to hand out, which is the one that was recorded
    /// first for this use.
    pub(crate) fn confirm(
        &self,
        c: &Connection,
        reservation: &Reservation,
        certificate: Vec<u8>,
        now: u64,
    ) -> Result<Vec<u8>, AuthorityError> {
        let Reservation { claims: Claims { role, key, serial, .. }, member, used_for, .. } =
            reservation;
        // Much may have happened while it was being signed.
        let member = match members::by_id(c, *member)? {
            Some(member) if member.revoked.is_none() => member,
            Some(member) => return Err(AuthorityError::Revoked(member.label)),
            None => return Err(AuthorityError::NotEnrolled(role.clone())),
        };
        if let Use::Enrolment(token) = used_for
            && let Some(issued) = tokens::by_id(c, token)?.and_then(|token| token.certificate)
        {
            return Ok(issued);
        }
        if !certificates::confirm(c, serial, &certificate)? {
            return certificates::by_serial(c, serial)?.ok_or(AuthorityError::Unreserved);
        }
        certificates::empty_expired(c, member.id, sql_seconds(now))?;
        let (event, detail) = match used_for {
            Use::Enrolment(token) => {
                tokens::set_certificate(c, token, &certificate)?;
                ("enrol", format!("{} {key}", member.address))
            }
            Use::Renewal => ("renew", String::new()),
            Use::Own => {
                members::set_key(c, member.id, *key)?;
                ("own", key.to_string())
            }
        };
        trail::note(c, sql_seconds(now), event, &member.label, &detail)?;
        Ok(certificate)
    }
}

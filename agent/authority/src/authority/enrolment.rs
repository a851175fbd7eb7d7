//! Enrolment: whoever has a token becomes a member, once.

use mpyc_party_core::claims::PublicKey;
use rusqlite::Connection;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::Authority;
use super::issue::{Issue, Use};
use crate::error::AuthorityError;
use crate::policy::{self, Enrolment, Newcomer};
use crate::records::tokens;

/// What somebody with a token asks to become a member with.
#[derive(Clone, Copy, Debug)]
pub struct EnrolmentRequest<'a> {
    /// Which token it is.
    pub token: &'a [u8; 16],
    /// That the requester knows the token's secret.
    pub proof: &'a [u8; 32],
    /// What binds the proof to its connection (RFC 8446, section 7.5).
    pub exporter: &'a [u8; 32],
    /// The certificate request, in DER (RFC 2986).
    pub csr: &'a [u8],
}

impl<'a> EnrolmentRequest<'a> {
    fn newcomer(self) -> Result<Newcomer<'a>, AuthorityError> {
        let Self { token, proof, exporter, csr } = self;
        Ok(Newcomer { token, proof, exporter, key: requested_key(csr)? })
    }
}

impl Authority {
    /// Whether the holder of a token can enrol, without a signature and without a change.
    ///
    /// # Errors
    /// Those of [`enrol`](Self::enrol) that need no signature.
    pub fn check_enrolment(
        &self,
        request: EnrolmentRequest<'_>,
        now: u64,
    ) -> Result<(), AuthorityError> {
        let newcomer = request.newcomer()?;
        self.records.read(|c| policy::enrolment(c, &self.root, &newcomer, now).map(drop))
    }

    /// Enrols the holder of a token. The same token with the same key yields the same certificate
    /// again, so that a lost reply is no dead end; nor is a signature that failed.
    ///
    /// # Errors
    /// Says whether token, proof, request, name or signer is the reason.
    pub fn enrol(
        &self,
        request: EnrolmentRequest<'_>,
        now: u64,
    ) -> Result<Vec<u8>, AuthorityError> {
        let newcomer = request.newcomer()?;
        let issue = self.records.change(|c| self.reserve_enrolment(c, &newcomer, now))?;
        self.issue(issue, now)
    }

    pub(crate) fn reserve_enrolment(
        &self,
        c: &Connection,
        newcomer: &Newcomer<'_>,
        now: u64,
    ) -> Result<Issue, AuthorityError> {
        let key = newcomer.key;
        let member = match policy::enrolment(c, &self.root, newcomer, now)? {
            Enrolment::Issued(certificate) => return Ok(Issue::Issued(certificate)),
            Enrolment::Resumed(member) => member,
            Enrolment::Admitted { label, groups } => {
                let member = self.reserve_member(c, &label, &groups, key, now)?;
                tokens::spend(c, newcomer.token, member.id)?;
                member
            }
        };
        let used_for = Use::Enrolment(*newcomer.token);
        self.reserve_certificate(c, &member, key, used_for, now)
    }
}

/// The public key of a certificate request, once its own signature shows that the requester holds
/// the private one (RFC 2986). Nothing else in it is looked at.
fn requested_key(request: &[u8]) -> Result<PublicKey, AuthorityError> {
    let Ok(([], request)) = X509CertificationRequest::from_der(request) else {
        return Err(AuthorityError::Request);
    };
    request.verify_signature().map_err(|_| AuthorityError::Request)?;
    let spki = &request.certification_request_info.subject_pki;
    let algorithm = spki.algorithm.algorithm.to_id_string();
    let key = spki.subject_public_key.data.as_ref().try_into();
    match key {
        Ok(key) if algorithm == "1.3.101.112" => Ok(PublicKey(key)),
        _ => Err(AuthorityError::Request),
    }
}

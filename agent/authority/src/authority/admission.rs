//! Who becomes a member: tokens, and the enrolment of whoever has one.

use mpyc_party_core::claims::{PublicKey, groups_to_der};
use mpyc_party_core::role::Role;
use mpyc_party_core::token::{Secret, Token, TokenHash};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::{Authority, label};
use crate::date::{date, signed};
use crate::error::AuthorityError;
use crate::profile::ProfileError;
use crate::records::{self, MemberRow};

impl Authority {
    /// Makes a token that enrols one member as `role`, a party or a hub, within `lifetime` seconds;
    /// `hubs` are the places where this authority answers.
    ///
    /// # Errors
    /// When the role is taken, or groups or hubs are not acceptable.
    pub fn new_token(
        &self,
        role: &Role,
        groups: &[String],
        lifetime: u64,
        hubs: Vec<String>,
        now: u64,
    ) -> Result<Token, AuthorityError> {
        if *role == Role::Authority {
            return Err(AuthorityError::Taken(Role::Authority));
        }
        groups_to_der(groups)?;
        let mut secret = Secret([0; 32]);
        getrandom::fill(&mut secret.0).map_err(|_| ProfileError::Random)?;
        let hash = secret.hash();
        let (network, fingerprint) = (self.root.network.clone(), self.root.fingerprint);
        let token = Token { network, hubs, root: fingerprint, secret };
        token.to_text()?;
        let label = label(role, &self.root.network);
        let mut records = self.records();
        let change = records::begin(&mut records)?;
        if records::by_label(&change, &label)?.is_some() {
            return Err(AuthorityError::Taken(role.clone()));
        }
        let expires = signed(now.saturating_add(lifetime));
        records::add_token(&change, &hash.id(), &hash.0, &label, groups, expires)?;
        records::note(&change, signed(now), "token", &label, &format!("until {}", date(expires)))?;
        change.commit()?;
        Ok(token)
    }

    /// Enrols the holder of a token. The same token with the same key yields the same certificate
    /// again, so that a lost reply is no dead end.
    ///
    /// # Errors
    /// Says whether token, proof, request or name is the reason.
    pub fn enrol(
        &self,
        token: &[u8; 16],
        proof: &[u8; 32],
        exporter: &[u8; 32],
        request: &[u8],
        now: u64,
    ) -> Result<Vec<u8>, AuthorityError> {
        let key = requested_key(request)?;
        let mut records = self.records();
        let change = records::begin(&mut records)?;
        let row = records::token(&change, token)?.ok_or(AuthorityError::UnknownToken)?;
        if !TokenHash(row.hash).accepts(proof, exporter, &key) {
            return Err(AuthorityError::UnknownToken);
        }
        if let Some((member, certificate)) = row.used {
            return match records::by_id(&change, member)? {
                Some(member) if member.key != key => Err(AuthorityError::UsedToken),
                Some(MemberRow { revoked: None, .. }) => Ok(certificate),
                _ => Err(AuthorityError::Revoked(row.label)),
            };
        }
        if row.expires < signed(now) {
            return Err(AuthorityError::ExpiredToken);
        }
        if records::by_label(&change, &row.label)?.is_some() {
            return Err(AuthorityError::Taken(self.role(&row.label)?));
        }
        if records::by_key(&change, key)?.is_some() || key == self.root.key {
            return Err(AuthorityError::KnownKey);
        }
        let member = self.add(&change, &row.label, &row.groups, key, now)?;
        let certificate = self.sign(&change, &member, now)?;
        records::use_token(&change, token, member.id, &certificate)?;
        let detail = format!("{} {key}", member.address);
        records::note(&change, signed(now), "enrol", &row.label, &detail)?;
        change.commit()?;
        Ok(certificate)
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

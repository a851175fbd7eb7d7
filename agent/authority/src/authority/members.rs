//! Who is a member, and who is no longer.

use mpyc_party_core::claims::PublicKey;

use super::Authority;
use crate::date::sql_seconds;
use crate::error::AuthorityError;
use crate::records::members::{self, MemberRow};
use crate::records::trail::{self, TrailEntry};
use crate::records::{certificates, tokens};

/// A member as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The first label of its DNS name: «alice», «hub-1», «authority».
    pub name: String,
    /// Its overlay address.
    pub address: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// Its public key.
    pub key: PublicKey,
    /// When it enrolled, Unix seconds.
    pub enrolled: i64,
    /// When it was revoked, Unix seconds.
    pub revoked: Option<i64>,
    /// When its latest certificate expires, Unix seconds; nothing where it was never given one,
    /// because the signer failed or this machine did.
    pub expires: Option<i64>,
}

/// What a revocation has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// A member, and the tokens for its name.
    Member,
    /// Tokens that nobody had used.
    Tokens,
}

impl Authority {
    /// Revokes a member: no renewal from now on, no place at the lighthouse beside this authority.
    /// A certificate that is being signed for it is not handed out. One that it has stays valid
    /// elsewhere until it expires, at most a day. The unused tokens for the name end as well; where
    /// nobody has enrolled under it, there is nothing else to end.
    ///
    /// # Errors
    /// When there is neither such a member nor such a token.
    pub fn revoke(&self, name: &str, now: u64) -> Result<Revoked, AuthorityError> {
        let now = sql_seconds(now);
        self.records.change(|c| {
            let tokens = tokens::expire_unspent(c, name, now)?;
            let (revoked, detail) = match members::by_label(c, name)? {
                Some(member) => {
                    members::revoke(c, member.id, now)?;
                    (Revoked::Member, member.key.to_string())
                }
                None if tokens > 0 => (Revoked::Tokens, "unused tokens".to_owned()),
                None => return Err(AuthorityError::Unknown(name.to_owned())),
            };
            trail::note(c, now, "revoke", name, &detail)?;
            Ok(revoked)
        })
    }

    /// The keys of everybody who was ever revoked.
    ///
    /// # Errors
    /// When the records fail.
    pub fn revoked(&self) -> Result<Vec<PublicKey>, AuthorityError> {
        self.records.read(|c| Ok(members::revoked(c)?))
    }

    /// Every member there ever was, in order of enrolment.
    ///
    /// # Errors
    /// When the records fail.
    pub fn list(&self) -> Result<Vec<Member>, AuthorityError> {
        self.records.read(|c| {
            let mut list = Vec::new();
            for row in members::all(c)? {
                let MemberRow { id, label: name, groups, key, address, enrolled, revoked } = row;
                let expires = certificates::latest(c, id)?.map(|(expires, _)| expires);
                list.push(Member { name, address, groups, key, enrolled, revoked, expires });
            }
            Ok(list)
        })
    }

    /// The audit trail, oldest first.
    ///
    /// # Errors
    /// When the records fail.
    pub fn trail(&self) -> Result<Vec<TrailEntry>, AuthorityError> {
        self.records.read(|c| Ok(trail::all(c)?))
    }
}

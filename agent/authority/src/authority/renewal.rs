//! What members ask for: a fresh certificate, and the certificates of others.

use mpyc_party_core::claims::Claims;
use mpyc_party_core::name::PartyName;
use mpyc_party_core::role::Role;
use rusqlite::Connection;

use super::Authority;
use super::issue::{Issue, Use};
use crate::error::AuthorityError;
use crate::policy::{self, Renewal};
use crate::records::{certificates, members};

impl Authority {
    /// A fresh certificate for the member with these claims, for the same key. Whoever asks again
    /// within a minute gets the same one: nobody fills the records. So does whoever asks later and
    /// still shows the one before it.
    ///
    /// # Errors
    /// When it is no member, or no longer; or when the signer does not sign.
    pub fn renew(&self, claims: &Claims, now: u64) -> Result<Vec<u8>, AuthorityError> {
        let issue = self.records.change(|c| self.reserve_renewal(c, claims, now))?;
        self.issue(issue, now)
    }

    pub(crate) fn reserve_renewal(
        &self,
        c: &Connection,
        claims: &Claims,
        now: u64,
    ) -> Result<Issue, AuthorityError> {
        match policy::renewal(c, &self.root, claims, now)? {
            Renewal::Issued(certificate) => Ok(Issue::Issued(certificate)),
            Renewal::Due(member) => {
                self.reserve_certificate(c, &member, member.key, Use::Renewal, now)
            }
        }
    }

    /// Whether the holder of these claims is a member still.
    ///
    /// # Errors
    /// When it is not, or the records fail.
    pub fn check(&self, claims: &Claims) -> Result<(), AuthorityError> {
        self.records.read(|c| policy::membership(c, &self.root, claims).map(drop))
    }

    /// The latest certificates of those among `names` that are parties, in the order asked for.
    ///
    /// # Errors
    /// When the records fail.
    pub fn directory(&self, names: &[PartyName]) -> Result<Vec<Vec<u8>>, AuthorityError> {
        self.records.read(|c| {
            let mut found = Vec::new();
            for name in names {
                // Labels of hubs and of the authority are no party's names.
                let Ok(Role::Party(name)) = Role::party(name.clone()) else { continue };
                if let Some(member) = members::by_label(c, name.as_str())?
                    && let Some((_, certificate)) = certificates::latest(c, member.id)?
                {
                    found.push(certificate);
                }
            }
            Ok(found)
        })
    }
}

//! The authority's own certificates: its server's, and those of the hub beside it.

use mpyc_party_core::claims::PublicKey;
use mpyc_party_core::credentials::Credentials;
use mpyc_party_core::role::Role;
use rusqlite::Connection;

use super::Authority;
use super::issue::{Issue, Use};
use crate::error::AuthorityError;
use crate::local_signer::{LocalSigner, generate_key};
use crate::policy;
use crate::signer::Signer;

impl Authority {
    /// Credentials of the authority's own, with a key that never leaves memory: its server's, or
    /// those of the hub beside it.
    ///
    /// # Errors
    /// When the records fail, the hub of this number is somebody else, or the signer does not sign.
    pub fn own_credentials(&self, role: &Role, now: u64) -> Result<Credentials, AuthorityError> {
        let key = generate_key()?;
        let public = LocalSigner::from_pkcs8(&key)?.public_key();
        let issue = self.records.change(|c| self.reserve_own(c, role, public, now))?;
        let certificate = self.issue(issue, now)?;
        Ok(Credentials { certificate, key, root: self.root.der().to_vec() })
    }

    pub(crate) fn reserve_own(
        &self,
        c: &Connection,
        role: &Role,
        key: PublicKey,
        now: u64,
    ) -> Result<Issue, AuthorityError> {
        let label = policy::label(role, &self.root.network);
        let member = match policy::own(c, &self.root, &label)? {
            Some(member) => member,
            None => self.reserve_member(c, &label, &[], key, now)?,
        };
        self.reserve_certificate(c, &member, key, Use::Own, now)
    }
}

//! The authority of a network: its root, its signer and its records.
//!
//! It lives in a directory: the root certificate, the root's private key (mode 0600, made there)
//! and the records.

mod enrolment;
mod issue;
mod members;
mod own;
mod renewal;
mod tokens;

use std::path::Path;

use ipnet::IpNet;
use mpyc_party_core::claims::Root;
use mpyc_party_core::name::NetworkName;

use crate::date::sql_seconds;
use crate::error::AuthorityError;
use crate::local_signer::{LocalSigner, generate_key};
use crate::profile::{self, BACKDATING, ROOT_LIFETIME};
use crate::records::{Records, trail};
use crate::signer::{RootClaims, Signer, SigningRequest};
use crate::{files, pool, tbs};

pub use enrolment::EnrolmentRequest;
pub use members::{Member, Revoked};
pub use tokens::{TOKEN_LIFETIME, TOKEN_LIFETIMES};

const ROOT: &str = "root.der";
const KEY: &str = "root.key";
const RECORDS: &str = "records.sqlite";

/// The authority of one network. Methods that issue certificates block while the signer signs.
#[derive(Debug)]
pub struct Authority {
    root: Root,
    signer: Box<dyn Signer>,
    records: Records,
}

impl Authority {
    /// Makes an authority in `dir`, which must not hold one, with a key of its own; `pool` is
    /// [`random_pool`](crate::random_pool)'s by default.
    ///
    /// # Errors
    /// When there is one, the pool is unusable, or the files cannot be written.
    pub fn init(
        dir: &Path,
        network: &NetworkName,
        pool: Option<IpNet>,
        now: u64,
    ) -> Result<Self, AuthorityError> {
        let pool = pool.map_or_else(pool::random_pool, Ok)?;
        pool::check(pool)?;
        files::make_dir(dir)?;
        let key = generate_key()?;
        let root = RootClaims {
            network: network.clone(),
            pool,
            not_before: now.saturating_sub(BACKDATING),
            not_after: now.saturating_add(ROOT_LIFETIME),
        };
        let root = sign_root(&LocalSigner::from_pkcs8(&key)?, root)?;
        // The key first: of two that start at once, only one gets past it.
        files::write_new(dir, KEY, 0o600, &key)?;
        files::write_new(dir, ROOT, 0o644, root.der())?;
        files::write_new(dir, RECORDS, 0o600, &[])?;
        let authority = Self::open(dir)?;
        let detail = root.fingerprint.to_string();
        authority
            .records
            .change(|c| Ok(trail::note(c, sql_seconds(now), "init", network.as_str(), &detail)?))?;
        Ok(authority)
    }

    /// Opens the authority in `dir`, which signs with the key that is there.
    ///
    /// # Errors
    /// When a file is missing, damaged or not another's counterpart.
    pub fn open(dir: &Path) -> Result<Self, AuthorityError> {
        let key = files::read_private(&dir.join(KEY))?;
        let authority = Self::with_signer(dir, Box::new(LocalSigner::from_pkcs8(&key)?));
        authority.map_err(|error| match error {
            AuthorityError::OtherSigner => AuthorityError::OtherKey(dir.join(KEY)),
            error => error,
        })
    }

    /// Opens the authority in `dir`, which signs with `signer`; no private key is looked for.
    ///
    /// # Errors
    /// When a file is missing or damaged, or the signer is another root's.
    pub fn with_signer(dir: &Path, signer: Box<dyn Signer>) -> Result<Self, AuthorityError> {
        let root = Root::from_der(&files::read(&dir.join(ROOT))?)?;
        if signer.public_key() != root.key {
            return Err(AuthorityError::OtherSigner);
        }
        // Checked before opening, because SQLite would make an empty one in its place.
        let path = dir.join(RECORDS);
        files::demand(&path)?;
        let records = Records::open(&path)?;
        Ok(Self { root, signer, records })
    }

    /// The network's root.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }
}

/// A root that `signer` signs with the key that it is for.
fn sign_root(signer: &dyn Signer, claims: RootClaims) -> Result<Root, AuthorityError> {
    let params = profile::root(&claims, &profile::serial()?)?;
    let request = SigningRequest::root(claims, tbs::root(&params, signer.public_key())?);
    let signature = signer.sign(&request)?;
    // What is no root, or not signed by itself, is refused here.
    Ok(Root::from_der(&tbs::assemble(request.tbs(), &signature)?)?)
}

#[cfg(test)]
mod tests;

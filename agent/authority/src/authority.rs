//! The authority of a network: decides who is a member, gives out addresses, signs certificates.
//!
//! It lives in a directory: the root certificate, the root's private key (mode 0600, made there)
//! and the records. A certificate is made from the records alone; a request contributes nothing but
//! a public key whose private half the requester has shown to hold.

mod admission;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use mpyc_party_core::claims::{Claims, PublicKey, Root};
use mpyc_party_core::credentials::Credentials;
use mpyc_party_core::name::{NetworkName, PartyName};
use mpyc_party_core::role::{Role, SUFFIX};
use rcgen::Issuer;
use rusqlite::Connection;

use crate::date::signed;
use crate::error::AuthorityError;
use crate::profile::{self, LIFETIME, Period, ProfileError, ROOT_LIFETIME, SET_BACK};
use crate::records::{self, MemberRow, TrailEntry};
use crate::signer::{Signer, Subject, generate_key};
use crate::{files, pool};

/// How long a token is good for when nothing else is said, in seconds: a day, because people are
/// in other time zones.
pub const TOKEN_LIFETIME: u64 = 86_400;

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
    /// When its latest certificate expires, Unix seconds.
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

/// The authority of one network.
#[derive(Debug)]
pub struct Authority {
    root: Root,
    issuer: Issuer<'static, Signer>,
    records: Mutex<Connection>,
}

fn label(role: &Role, network: &NetworkName) -> String {
    role.dns_name(network).split('.').next().unwrap_or_default().to_owned()
}

/// The least time between two certificates of one member, in seconds.
const RENEWAL_PAUSE: u64 = 60;

const ROOT: &str = "root.der";
const KEY: &str = "root.key";
const RECORDS: &str = "records.sqlite";

impl Authority {
    /// Makes an authority in `dir`, which must not hold one; `pool` is [`random_pool`](crate::random_pool)'s by
    /// default.
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
        let signer = Signer::from_pkcs8(&key)?;
        let period = Period { first: now.saturating_sub(SET_BACK), last: now + ROOT_LIFETIME };
        let root = profile::root(network, pool, period)?;
        let root = root.self_signed(&signer).map_err(ProfileError::from)?;
        // The key first: of two that start at once, only one gets past it.
        files::write_new(dir, KEY, 0o600, &key)?;
        files::write_new(dir, ROOT, 0o644, root.der())?;
        files::write_new(dir, RECORDS, 0o600, &[])?;
        let authority = Self::open(dir)?;
        let detail = authority.root.fingerprint.to_string();
        records::note(&authority.records(), signed(now), "init", network.as_str(), &detail)?;
        Ok(authority)
    }

    /// Opens the authority in `dir`.
    ///
    /// # Errors
    /// When a file is missing, damaged or not another's counterpart.
    pub fn open(dir: &Path) -> Result<Self, AuthorityError> {
        let root = Root::from_der(&files::read(&dir.join(ROOT))?)?;
        let key = files::read_private(&dir.join(KEY))?;
        let signer = Signer::from_pkcs8(&key)?;
        if signer.public() != root.key {
            return Err(AuthorityError::OtherKey(dir.join(KEY)));
        }
        let der = root.der().to_vec().into();
        let issuer = Issuer::from_ca_cert_der(&der, signer).map_err(ProfileError::from)?;
        // Checked before opening, because SQLite would make an empty one in its place.
        let path = dir.join(RECORDS);
        files::demand(&path)?;
        let records = Mutex::new(records::open(&path)?);
        Ok(Self { root, issuer, records })
    }

    /// The network's root.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    fn records(&self) -> MutexGuard<'_, Connection> {
        // A panic in a transaction rolls it back; the connection itself stays usable.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn role(&self, label: &str) -> Result<Role, AuthorityError> {
        let name = format!("{label}.{}.{}", self.root.network, SUFFIX);
        Ok(Role::from_dns_name(&name)?.1)
    }

    /// Signs a certificate for a recorded member and records it in place of those that have expired.
    fn sign(
        &self,
        c: &Connection,
        member: &MemberRow,
        now: u64,
    ) -> Result<Vec<u8>, AuthorityError> {
        self.root.check_validity(now)?;
        let last = (now + LIFETIME).min(self.root.not_after);
        let period = Period { first: now.saturating_sub(SET_BACK), last };
        let address =
            member.address.parse().map_err(|_| AuthorityError::Exhausted(self.root.pool))?;
        let role = self.role(&member.label)?;
        let params = profile::leaf(&self.root.network, &role, address, &member.groups, period)?;
        let certificate =
            params.signed_by(&Subject(member.key), &self.issuer).map_err(ProfileError::from)?;
        let certificate = certificate.der().to_vec();
        let claims = Claims::from_der(&certificate)?;
        self.root.covers(&claims)?;
        records::empty_expired(c, member.id, signed(now))?;
        records::add_certificate(c, &claims.serial.0, member.id, signed(last), &certificate)?;
        Ok(certificate)
    }

    fn add(
        &self,
        c: &Connection,
        label: &str,
        groups: &[String],
        key: PublicKey,
        now: u64,
    ) -> Result<MemberRow, AuthorityError> {
        let id = records::add_member(c, signed(now), label, groups, key)?;
        records::set_address(c, id, pool::address(self.root.pool, id)?)?;
        records::by_id(c, id)?.ok_or_else(|| AuthorityError::Unknown(label.to_owned()))
    }

    /// A fresh certificate for the member with these claims, for the same key. Whoever asks again
    /// within a minute gets the same one: nobody fills the records.
    ///
    /// # Errors
    /// When it is no member, or no longer.
    pub fn renew(&self, claims: &Claims, now: u64) -> Result<Vec<u8>, AuthorityError> {
        let mut records = self.records();
        let change = records::begin(&mut records)?;
        let member = self.standing(&change, claims)?;
        if let Some((expires, certificate)) = records::certificate(&change, member.id)?
            && expires > signed(now + LIFETIME - RENEWAL_PAUSE)
        {
            return Ok(certificate);
        }
        let certificate = self.sign(&change, &member, now)?;
        records::note(&change, signed(now), "renew", &member.label, "")?;
        change.commit()?;
        Ok(certificate)
    }

    /// Whether the holder of these claims is a member still.
    ///
    /// # Errors
    /// When it is not, or the records fail.
    pub fn check(&self, claims: &Claims) -> Result<(), AuthorityError> {
        self.standing(&self.records(), claims).map(drop)
    }

    fn standing(&self, c: &Connection, claims: &Claims) -> Result<MemberRow, AuthorityError> {
        let label = label(&claims.role, &self.root.network);
        match records::by_key(c, claims.key)? {
            Some(member) if member.label != label => {
                Err(AuthorityError::NotEnrolled(claims.role.clone()))
            }
            Some(MemberRow { revoked: Some(_), .. }) => Err(AuthorityError::Revoked(label)),
            Some(member) => Ok(member),
            None => Err(AuthorityError::NotEnrolled(claims.role.clone())),
        }
    }

    /// The keys of everybody who was ever revoked.
    ///
    /// # Errors
    /// When the records fail.
    pub fn revoked(&self) -> Result<Vec<PublicKey>, AuthorityError> {
        Ok(records::revoked(&self.records())?)
    }

    /// The latest certificates of those among `names` that are parties, in the order asked for.
    ///
    /// # Errors
    /// When the records fail.
    pub fn directory(&self, names: &[PartyName]) -> Result<Vec<Vec<u8>>, AuthorityError> {
        let records = self.records();
        let mut found = Vec::new();
        for name in names {
            // Labels of hubs and of the authority are no party's names.
            let Ok(Role::Party(name)) = Role::party(name.clone()) else { continue };
            if let Some(member) = records::by_label(&records, name.as_str())?
                && let Some((_, certificate)) = records::certificate(&records, member.id)?
            {
                found.push(certificate);
            }
        }
        Ok(found)
    }

    /// Credentials of the authority's own, with a key that never leaves memory: its server's, or
    /// those of the hub beside it.
    ///
    /// # Errors
    /// When the records fail or the hub of this number is somebody else.
    pub fn own_credentials(&self, role: &Role, now: u64) -> Result<Credentials, AuthorityError> {
        let key = generate_key()?;
        let public = Signer::from_pkcs8(&key)?.public();
        let label = label(role, &self.root.network);
        let mut records = self.records();
        let change = records::begin(&mut records)?;
        let member = match records::by_label(&change, &label)? {
            Some(member) if records::has_used_token(&change, member.id)? => {
                return Err(AuthorityError::Taken(self.role(&member.label)?));
            }
            Some(member) => {
                records::set_key(&change, member.id, public)?;
                MemberRow { key: public, ..member }
            }
            None => self.add(&change, &label, &[], public, now)?,
        };
        let certificate = self.sign(&change, &member, now)?;
        records::note(&change, signed(now), "own", &label, &public.to_string())?;
        change.commit()?;
        Ok(Credentials { certificate, key, root: self.root.der().to_vec() })
    }

    /// Revokes a member: no renewal from now on, no place at the lighthouse beside this authority.
    /// Its certificate stays valid elsewhere until it expires, at most a day. The unused tokens for
    /// the name end as well; where nobody has enrolled under it, there is nothing else to end.
    ///
    /// # Errors
    /// When there is neither such a member nor such a token.
    pub fn revoke(&self, name: &str, now: u64) -> Result<Revoked, AuthorityError> {
        let mut records = self.records();
        let change = records::begin(&mut records)?;
        let tokens = records::expire_tokens(&change, name, signed(now))?;
        let (revoked, detail) = match records::by_label(&change, name)? {
            Some(member) => {
                records::revoke(&change, member.id, signed(now))?;
                (Revoked::Member, member.key.to_string())
            }
            None if tokens > 0 => (Revoked::Tokens, "unused tokens".to_owned()),
            None => return Err(AuthorityError::Unknown(name.to_owned())),
        };
        records::note(&change, signed(now), "revoke", name, &detail)?;
        change.commit()?;
        Ok(revoked)
    }

    /// Every member there ever was, in order of enrolment.
    ///
    /// # Errors
    /// When the records fail.
    pub fn list(&self) -> Result<Vec<Member>, AuthorityError> {
        let records = self.records();
        let mut list = Vec::new();
        for row in records::members(&records)? {
            let MemberRow { id, label: name, groups, key, address, enrolled, revoked } = row;
            let expires = records::certificate(&records, id)?.map(|(expires, _)| expires);
            list.push(Member { name, address, groups, key, enrolled, revoked, expires });
        }
        Ok(list)
    }

    /// The audit trail, oldest first.
    ///
    /// # Errors
    /// When the records fail.
    pub fn trail(&self) -> Result<Vec<TrailEntry>, AuthorityError> {
        Ok(records::trail(&self.records())?)
    }
}

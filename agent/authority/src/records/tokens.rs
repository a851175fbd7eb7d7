//! Tokens: who may enrol once, and who did.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{join_groups, split_groups};

/// A token as recorded.
pub(crate) struct TokenRow {
    pub(crate) hash: [u8; 32],
    pub(crate) label: String,
    pub(crate) groups: Vec<String>,
    pub(crate) expires: i64,
    /// The member that it was spent on.
    pub(crate) member: Option<i64>,
    /// The certificate that this member was given first, once it was given one.
    pub(crate) certificate: Option<Vec<u8>>,
}

/// A token as listed that nobody has used yet, and that can still be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusedToken {
    /// For whom it is: the first label of the DNS name, «alice» or «hub-1».
    pub name: String,
    /// The groups that the member will have.
    pub groups: Vec<String>,
    /// Until when it can be used, Unix seconds.
    pub expires: i64,
}

fn token(row: &Row<'_>) -> rusqlite::Result<TokenRow> {
    Ok(TokenRow {
        hash: row.get(0)?,
        label: row.get(1)?,
        groups: split_groups(&row.get::<_, String>(2)?),
        expires: row.get(3)?,
        member: row.get(4)?,
        certificate: row.get(5)?,
    })
}

pub(crate) fn by_id(c: &Connection, id: &[u8; 16]) -> rusqlite::Result<Option<TokenRow>> {
    let sql = "SELECT hash, label, groups, expires, member, certificate FROM tokens WHERE id = ?1";
    c.query_row(sql, [id.as_slice()], token).optional()
}

pub(crate) fn add(
    c: &Connection,
    id: &[u8; 16],
    hash: &[u8; 32],
    label: &str,
    groups: &[String],
    expires: i64,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO tokens (id, hash, label, groups, expires) VALUES (?1, ?2, ?3, ?4, ?5)";
    let (id, hash) = (id.as_slice(), hash.as_slice());
    c.execute(sql, params![id, hash, label, join_groups(groups), expires]).map(drop)
}

/// Spends a token on a member: from now on it is of use for the key of this member alone.
pub(crate) fn spend(c: &Connection, id: &[u8; 16], member: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE tokens SET member = ?2 WHERE id = ?1";
    c.execute(sql, params![id.as_slice(), member]).map(drop)
}

/// Records the certificate that the holder of a token was given.
pub(crate) fn set_certificate(
    c: &Connection,
    id: &[u8; 16],
    certificate: &[u8],
) -> rusqlite::Result<()> {
    let sql = "UPDATE tokens SET certificate = ?2 WHERE id = ?1";
    c.execute(sql, params![id.as_slice(), certificate]).map(drop)
}

/// Whether a token was spent on this member: then its key is on a machine of its own.
pub(crate) fn spent_on(c: &Connection, member: i64) -> rusqlite::Result<bool> {
    c.prepare("SELECT 1 FROM tokens WHERE member = ?1")?.exists([member])
}

/// The tokens that are not spent and good at `now`, those first that end first.
pub(crate) fn unused(c: &Connection, now: i64) -> rusqlite::Result<Vec<UnusedToken>> {
    let sql = "SELECT label, groups, expires FROM tokens
               WHERE member IS NULL AND expires >= ?1 ORDER BY expires, label";
    let unused = |row: &Row<'_>| {
        let (name, groups) = (row.get(0)?, split_groups(&row.get::<_, String>(1)?));
        Ok(UnusedToken { name, groups, expires: row.get(2)? })
    };
    c.prepare(sql)?.query_map([now], unused)?.collect()
}

/// Makes the token with this number expire.
pub(crate) fn expire(c: &Connection, id: &[u8; 16], now: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE tokens SET expires = ?2 - 1 WHERE id = ?1";
    c.execute(sql, params![id.as_slice(), now]).map(drop)
}

/// Makes the unspent tokens for `label` expire; how many there were.
pub(crate) fn expire_unspent(c: &Connection, label: &str, now: i64) -> rusqlite::Result<usize> {
    let sql = "UPDATE tokens SET expires = ?2 - 1
               WHERE label = ?1 AND member IS NULL AND expires >= ?2";
    c.execute(sql, params![label, now])
}

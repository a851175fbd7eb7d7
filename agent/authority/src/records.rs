//! The authority's records in SQLite: members, tokens, issued certificates and the audit trail.
//!
//! Two processes may use them at once, a hub and the command line: every change is one immediate
//! transaction. Rows are never deleted, so that no address, key or serial number comes up twice.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use mpyc_party_core::claims::PublicKey;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

/// AUTOINCREMENT promises that a member's number, and so its address, is never used again.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS members (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    label TEXT NOT NULL,
    groups TEXT NOT NULL,
    key BLOB NOT NULL,
    address TEXT NOT NULL DEFAULT '',
    enrolled INTEGER NOT NULL,
    revoked INTEGER
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS member_names ON members (label) WHERE revoked IS NULL;
CREATE INDEX IF NOT EXISTS member_keys ON members (key);
CREATE TABLE IF NOT EXISTS tokens (
    id BLOB PRIMARY KEY,
    hash BLOB NOT NULL,
    label TEXT NOT NULL,
    groups TEXT NOT NULL,
    expires INTEGER NOT NULL,
    member INTEGER REFERENCES members (id),
    certificate BLOB
) STRICT;
CREATE TABLE IF NOT EXISTS certificates (
    serial BLOB PRIMARY KEY,
    member INTEGER NOT NULL REFERENCES members (id),
    expires INTEGER NOT NULL,
    certificate BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS certificate_members ON certificates (member, expires);
CREATE TABLE IF NOT EXISTS trail (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time INTEGER NOT NULL,
    event TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
";

/// A public key as a column.
struct Key(PublicKey);

impl FromSql for Key {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = value.as_blob()?.try_into().map_err(|_| FromSqlError::InvalidType)?;
        Ok(Self(PublicKey(bytes)))
    }
}

impl ToSql for Key {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.0.as_slice().to_sql()
    }
}

/// A member as recorded; `label` is the first label of its DNS name, which states its role.
#[derive(Clone, Debug)]
pub(crate) struct MemberRow {
    pub(crate) id: i64,
    pub(crate) label: String,
    pub(crate) groups: Vec<String>,
    pub(crate) key: PublicKey,
    pub(crate) address: String,
    pub(crate) enrolled: i64,
    pub(crate) revoked: Option<i64>,
}

const MEMBER: &str = "SELECT id, label, groups, key, address, enrolled, revoked FROM members";

fn split(groups: &str) -> Vec<String> {
    groups.split(',').filter(|group| !group.is_empty()).map(str::to_owned).collect()
}

fn member(row: &Row<'_>) -> rusqlite::Result<MemberRow> {
    Ok(MemberRow {
        id: row.get(0)?,
        label: row.get(1)?,
        groups: split(&row.get::<_, String>(2)?),
        key: row.get::<_, Key>(3)?.0,
        address: row.get(4)?,
        enrolled: row.get(5)?,
        revoked: row.get(6)?,
    })
}

/// A token as recorded.
pub(crate) struct TokenRow {
    pub(crate) hash: [u8; 32],
    pub(crate) label: String,
    pub(crate) groups: Vec<String>,
    pub(crate) expires: i64,
    /// The member who used it and the certificate it was given.
    pub(crate) used: Option<(i64, Vec<u8>)>,
}

/// One line of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrailEntry {
    /// When, Unix seconds.
    pub time: i64,
    /// What happened: «token», «enrol», «renew», «revoke», …
    pub event: String,
    /// To whom.
    pub subject: String,
    /// More about it, such as a serial number.
    pub detail: String,
}

/// Opens the records, creating what is missing.
pub(crate) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

/// Begins a change; no other process changes anything until it ends.
pub(crate) fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

pub(crate) fn note(
    connection: &Connection,
    now: i64,
    event: &str,
    subject: &str,
    detail: &str,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO trail (time, event, subject, detail) VALUES (?1, ?2, ?3, ?4)";
    connection.execute(sql, params![now, event, subject, detail]).map(drop)
}

pub(crate) fn trail(connection: &Connection) -> rusqlite::Result<Vec<TrailEntry>> {
    let mut query =
        connection.prepare("SELECT time, event, subject, detail FROM trail ORDER BY id")?;
    let entry = |row: &Row<'_>| {
        let (time, event, subject, detail) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        Ok(TrailEntry { time, event, subject, detail })
    };
    query.query_map([], entry)?.collect()
}

pub(crate) fn members(connection: &Connection) -> rusqlite::Result<Vec<MemberRow>> {
    connection.prepare(&format!("{MEMBER} ORDER BY id"))?.query_map([], member)?.collect()
}

/// The member of this label that is not revoked.
pub(crate) fn by_label(c: &Connection, label: &str) -> rusqlite::Result<Option<MemberRow>> {
    let sql = format!("{MEMBER} WHERE label = ?1 AND revoked IS NULL");
    c.query_row(&sql, [label], member).optional()
}

pub(crate) fn by_id(c: &Connection, id: i64) -> rusqlite::Result<Option<MemberRow>> {
    c.query_row(&format!("{MEMBER} WHERE id = ?1"), [id], member).optional()
}

/// The latest member with this key, revoked or not.
pub(crate) fn by_key(c: &Connection, key: PublicKey) -> rusqlite::Result<Option<MemberRow>> {
    let sql = format!("{MEMBER} WHERE key = ?1 ORDER BY id DESC LIMIT 1");
    c.query_row(&sql, [Key(key)], member).optional()
}

/// Adds a member; its number, counted from 1, decides the address, which is recorded next.
pub(crate) fn add_member(
    c: &Connection,
    now: i64,
    label: &str,
    groups: &[String],
    key: PublicKey,
) -> rusqlite::Result<i64> {
    let sql = "INSERT INTO members (label, groups, key, enrolled) VALUES (?1, ?2, ?3, ?4)";
    c.execute(sql, params![label, groups.join(","), Key(key), now])?;
    Ok(c.last_insert_rowid())
}

pub(crate) fn set_address(c: &Connection, id: i64, address: IpAddr) -> rusqlite::Result<()> {
    let sql = "UPDATE members SET address = ?2 WHERE id = ?1";
    c.execute(sql, params![id, address.to_string()]).map(drop)
}

pub(crate) fn set_key(c: &Connection, id: i64, key: PublicKey) -> rusqlite::Result<()> {
    c.execute("UPDATE members SET key = ?2 WHERE id = ?1", params![id, Key(key)]).map(drop)
}

pub(crate) fn revoke(c: &Connection, id: i64, now: i64) -> rusqlite::Result<()> {
    c.execute("UPDATE members SET revoked = ?2 WHERE id = ?1", params![id, now]).map(drop)
}

/// The keys of all that were ever revoked.
pub(crate) fn revoked(c: &Connection) -> rusqlite::Result<Vec<PublicKey>> {
    let mut query = c.prepare_cached("SELECT key FROM members WHERE revoked IS NOT NULL")?;
    query.query_map([], |row| Ok(row.get::<_, Key>(0)?.0))?.collect()
}

/// Makes the unused tokens for `label` expire; how many there were.
pub(crate) fn expire_tokens(c: &Connection, label: &str, now: i64) -> rusqlite::Result<usize> {
    let sql = "UPDATE tokens SET expires = ?2 - 1
               WHERE label = ?1 AND member IS NULL AND expires >= ?2";
    c.execute(sql, params![label, now])
}

pub(crate) fn add_token(
    c: &Connection,
    id: &[u8; 16],
    hash: &[u8; 32],
    label: &str,
    groups: &[String],
    expires: i64,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO tokens (id, hash, label, groups, expires) VALUES (?1, ?2, ?3, ?4, ?5)";
    let (id, hash) = (id.as_slice(), hash.as_slice());
    c.execute(sql, params![id, hash, label, groups.join(","), expires]).map(drop)
}

pub(crate) fn token(c: &Connection, id: &[u8; 16]) -> rusqlite::Result<Option<TokenRow>> {
    let sql = "SELECT hash, label, groups, expires, member, certificate FROM tokens WHERE id = ?1";
    let token = |row: &Row<'_>| {
        let (member, certificate): (Option<i64>, Option<Vec<u8>>) = (row.get(4)?, row.get(5)?);
        Ok(TokenRow {
            hash: row.get(0)?,
            label: row.get(1)?,
            groups: split(&row.get::<_, String>(2)?),
            expires: row.get(3)?,
            used: member.zip(certificate),
        })
    };
    c.query_row(sql, [id.as_slice()], token).optional()
}

pub(crate) fn use_token(
    c: &Connection,
    id: &[u8; 16],
    member: i64,
    certificate: &[u8],
) -> rusqlite::Result<()> {
    let sql = "UPDATE tokens SET member = ?2, certificate = ?3 WHERE id = ?1";
    c.execute(sql, params![id.as_slice(), member, certificate]).map(drop)
}

/// Whether a member enrolled with a token: then its key is on a machine of its own.
pub(crate) fn has_used_token(c: &Connection, member: i64) -> rusqlite::Result<bool> {
    c.prepare("SELECT 1 FROM tokens WHERE member = ?1")?.exists([member])
}

pub(crate) fn add_certificate(
    c: &Connection,
    serial: &[u8],
    member: i64,
    expires: i64,
    certificate: &[u8],
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO certificates (serial, member, expires, certificate)
               VALUES (?1, ?2, ?3, ?4)";
    c.execute(sql, params![serial, member, expires, certificate]).map(drop)
}

/// Empties the certificates of a member that have expired: of those, the serial numbers are enough.
pub(crate) fn empty_expired(c: &Connection, member: i64, now: i64) -> rusqlite::Result<usize> {
    let sql = "UPDATE certificates SET certificate = x''
               WHERE member = ?1 AND expires < ?2 AND certificate <> x''";
    c.execute(sql, params![member, now])
}

/// A member's latest certificate and when it expires.
pub(crate) fn certificate(c: &Connection, member: i64) -> rusqlite::Result<Option<(i64, Vec<u8>)>> {
    let sql = "SELECT expires, certificate FROM certificates WHERE member = ?1
               ORDER BY expires DESC, rowid DESC LIMIT 1";
    c.query_row(sql, [member], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_never_comes_up_again_even_if_somebody_deletes_the_row() {
        let connection = open(Path::new(":memory:")).unwrap();
        let add = || add_member(&connection, 1, "alice", &[], PublicKey([1; 32])).unwrap();
        let first = add();
        connection.execute("DELETE FROM members", []).unwrap();
        assert!(add() > first);
    }

    #[test]
    fn an_expired_certificate_leaves_its_serial_number() {
        let connection = open(Path::new(":memory:")).unwrap();
        let member = add_member(&connection, 1, "alice", &[], PublicKey([1; 32])).unwrap();
        for (serial, expires) in [(1, 10), (2, 20), (3, 30)] {
            add_certificate(&connection, &[serial], member, expires, &[7; 600]).unwrap();
        }
        assert_eq!(empty_expired(&connection, member, 21).unwrap(), 2);
        assert_eq!(empty_expired(&connection, member, 21).unwrap(), 0, "emptied once");
        let sql = "SELECT count(*), sum(length(certificate)) FROM certificates";
        let kept = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        assert_eq!(connection.query_row(sql, [], kept).unwrap(), (3, 600));
        assert_eq!(certificate(&connection, member).unwrap(), Some((30, vec![7; 600])));
    }
}

//! Members: who has which name, key, groups and address.

use std::net::IpAddr;

use mpyc_party_core::claims::PublicKey;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Key, join_groups, split_groups};

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

const SELECT: &str = "SELECT id, label, groups, key, address, enrolled, revoked FROM members";

fn member(row: &Row<'_>) -> rusqlite::Result<MemberRow> {
    Ok(MemberRow {
        id: row.get(0)?,
        label: row.get(1)?,
        groups: split_groups(&row.get::<_, String>(2)?),
        key: row.get::<_, Key>(3)?.0,
        address: row.get(4)?,
        enrolled: row.get(5)?,
        revoked: row.get(6)?,
    })
}

/// Every member there ever was, in order of enrolment.
pub(crate) fn all(c: &Connection) -> rusqlite::Result<Vec<MemberRow>> {
    c.prepare(&format!("{SELECT} ORDER BY id"))?.query_map([], member)?.collect()
}

/// The member of this label that is not revoked.
pub(crate) fn by_label(c: &Connection, label: &str) -> rusqlite::Result<Option<MemberRow>> {
    let sql = format!("{SELECT} WHERE label = ?1 AND revoked IS NULL");
    c.query_row(&sql, [label], member).optional()
}

pub(crate) fn by_id(c: &Connection, id: i64) -> rusqlite::Result<Option<MemberRow>> {
    c.query_row(&format!("{SELECT} WHERE id = ?1"), [id], member).optional()
}

/// The latest member with this key, revoked or not.
pub(crate) fn by_key(c: &Connection, key: PublicKey) -> rusqlite::Result<Option<MemberRow>> {
    let sql = format!("{SELECT} WHERE key = ?1 ORDER BY id DESC LIMIT 1");
    c.query_row(&sql, [Key(key)], member).optional()
}

/// Adds a member; its number, counted from 1, decides the address, which is recorded next.
pub(crate) fn add(
    c: &Connection,
    now: i64,
    label: &str,
    groups: &[String],
    key: PublicKey,
) -> rusqlite::Result<i64> {
    let sql = "INSERT INTO members (label, groups, key, enrolled) VALUES (?1, ?2, ?3, ?4)";
    c.execute(sql, params![label, join_groups(groups), Key(key), now])?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Records;

    #[test]
    fn a_number_never_comes_up_again_even_if_somebody_deletes_the_row() {
        let records = Records::open(":memory:".as_ref()).unwrap();
        let add = || records.change(|c| Ok(add(c, 1, "alice", &[], PublicKey([1; 32]))?)).unwrap();
        let first = add();
        records.change(|c| Ok(c.execute("DELETE FROM members", [])?)).unwrap();
        assert!(add() > first);
    }
}

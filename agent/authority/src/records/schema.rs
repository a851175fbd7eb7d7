//! The tables, and how older ones become these.
//!
//! SQLite's `user_version` counts the steps that a file has taken. The first step changes nothing
//! in files from before they were counted.

use rusqlite::{Connection, TransactionBehavior};

use crate::error::AuthorityError;

const STEPS: [&str; 2] = [FIRST, RESERVATIONS];

/// AUTOINCREMENT promises that a member's number, and so its address, is never used again.
const FIRST: &str = "
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

/// A certificate is reserved before it is signed: then it has to-be-signed bytes (`tbs`) and the
/// time of the reservation, and no `certificate` yet. What was issued before this step has
/// neither.
const RESERVATIONS: &str = "
ALTER TABLE certificates RENAME TO issued;
DROP INDEX certificate_members;
CREATE TABLE certificates (
    serial BLOB PRIMARY KEY,
    member INTEGER NOT NULL REFERENCES members (id),
    expires INTEGER NOT NULL,
    certificate BLOB,
    reserved INTEGER,
    tbs BLOB
) STRICT;
INSERT INTO certificates (serial, member, expires, certificate)
    SELECT serial, member, expires, certificate FROM issued ORDER BY rowid;
DROP TABLE issued;
CREATE INDEX certificate_members ON certificates (member, expires);
";

/// Takes the steps that this file has not taken.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), AuthorityError> {
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let taken: i64 = change.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let left = usize::try_from(taken).ok().and_then(|taken| STEPS.get(taken..));
    let left = left.ok_or(AuthorityError::NewerRecords)?;
    if !left.is_empty() {
        left.iter().try_for_each(|step| change.execute_batch(step))?;
        change.execute_batch(&format!("PRAGMA user_version = {}", STEPS.len()))?;
    }
    Ok(change.commit()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_taken_once_and_unknown_ones_are_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        for _ in 0..2 {
            migrate(&mut connection).unwrap();
        }
        connection.execute_batch(&format!("PRAGMA user_version = {}", STEPS.len() + 1)).unwrap();
        assert!(matches!(migrate(&mut connection), Err(AuthorityError::NewerRecords)));
    }
}

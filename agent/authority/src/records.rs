//! The authority's records in SQLite: members, tokens, certificates and the audit trail.
//!
//! Two processes may use them at once, a hub and the command line, so every change is one immediate
//! transaction. Rows are never deleted, so that no address, key or serial number is given twice.
//! A transaction is short: nothing in it waits for anything but the disk and the other process.

pub(crate) mod certificates;
pub(crate) mod members;
mod schema;
pub(crate) mod tokens;
pub(crate) mod trail;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mpyc_party_core::claims::PublicKey;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::error::AuthorityError;

/// How long a change waits for one of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The records of one authority. The lock is held while they are read or changed, and never while
/// somebody signs.
#[derive(Debug)]
pub(crate) struct Records(Mutex<Connection>);

impl Records {
    /// Opens the records; those of an older version are brought up to date.
    pub(crate) fn open(path: &Path) -> Result<Self, AuthorityError> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        schema::migrate(&mut connection)?;
        Ok(Self(Mutex::new(connection)))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic in a transaction rolls it back; the connection itself stays usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks something up.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, AuthorityError>,
    ) -> Result<T, AuthorityError> {
        work(&self.connection())
    }

    /// Makes one change: all of it is on disk when this returns, or nothing is where it fails. No
    /// other process changes anything meanwhile.
    pub(crate) fn change<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, AuthorityError>,
    ) -> Result<T, AuthorityError> {
        let mut connection = self.connection();
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&change)?;
        change.commit()?;
        Ok(done)
    }
}

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

/// Groups as one column: their names have no commas.
fn join_groups(groups: &[String]) -> String {
    groups.join(",")
}

fn split_groups(column: &str) -> Vec<String> {
    column.split(',').filter(|group| !group.is_empty()).map(str::to_owned).collect()
}

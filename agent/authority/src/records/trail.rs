//! The audit trail: what the authority did, and when.

use rusqlite::{Connection, Row, params};

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

pub(crate) fn note(
    c: &Connection,
    now: i64,
    event: &str,
    subject: &str,
    detail: &str,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO trail (time, event, subject, detail) VALUES (?1, ?2, ?3, ?4)";
    c.execute(sql, params![now, event, subject, detail]).map(drop)
}

/// Everything, oldest first.
pub(crate) fn all(c: &Connection) -> rusqlite::Result<Vec<TrailEntry>> {
    let mut query = c.prepare("SELECT time, event, subject, detail FROM trail ORDER BY id")?;
    let entry = |row: &Row<'_>| {
        let (time, event, subject, detail) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        Ok(TrailEntry { time, event, subject, detail })
    };
    query.query_map([], entry)?.collect()
}

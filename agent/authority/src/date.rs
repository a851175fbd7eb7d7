//! Times as the records and people have them.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Unix seconds as SQLite has them, whose integers are signed.
pub(crate) fn sql_seconds(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// Unix seconds as a date in UTC (RFC 3339); as a number where that has no date.
#[must_use]
pub fn date(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| seconds.to_string())
}

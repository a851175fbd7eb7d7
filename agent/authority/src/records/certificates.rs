//! Certificates: reserved before they are signed, confirmed afterwards.
//!
//! A row without a certificate is a reservation. One that stays so tells that somebody may have
//! signed these bytes and that nobody was given the certificate; its serial number is never used
//! for anything else.

use std::ops::RangeInclusive;

use mpyc_party_core::claims::Serial;
use rusqlite::{Connection, OptionalExtension, params};

/// Reserves a serial number for what `tbs` says; fails if it was reserved before.
pub(crate) fn reserve(
    c: &Connection,
    serial: &Serial,
    member: i64,
    now: i64,
    expires: i64,
    tbs: &[u8],
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO certificates (serial, member, reserved, expires, tbs)
               VALUES (?1, ?2, ?3, ?4, ?5)";
    c.execute(sql, params![serial.0, member, now, expires, tbs]).map(drop)
}

/// What was reserved for a member in this time and is not confirmed, latest first: to-be-signed
/// bytes.
pub(crate) fn reserved(
    c: &Connection,
    member: i64,
    time: &RangeInclusive<i64>,
) -> rusqlite::Result<Vec<Vec<u8>>> {
    let sql = "SELECT tbs FROM certificates
               WHERE member = ?1 AND certificate IS NULL AND reserved BETWEEN ?2 AND ?3
               ORDER BY rowid DESC";
    c.prepare(sql)?
        .query_map(params![member, time.start(), time.end()], |row| row.get(0))?
        .collect()
}

/// The certificate that was reserved for a member in this time, and confirmed.
pub(crate) fn issued(
    c: &Connection,
    member: i64,
    time: &RangeInclusive<i64>,
) -> rusqlite::Result<Option<Vec<u8>>> {
    let sql = "SELECT certificate FROM certificates
               WHERE member = ?1 AND certificate IS NOT NULL AND reserved BETWEEN ?2 AND ?3
               ORDER BY rowid DESC LIMIT 1";
    c.query_row(sql, params![member, time.start(), time.end()], |row| row.get(0)).optional()
}

/// Confirms a reservation; false if there is none that is open.
pub(crate) fn confirm(
    c: &Connection,
    serial: &Serial,
    certificate: &[u8],
) -> rusqlite::Result<bool> {
    let sql = "UPDATE certificates SET certificate = ?2, tbs = NULL
               WHERE serial = ?1 AND certificate IS NULL";
    Ok(c.execute(sql, params![serial.0, certificate])? > 0)
}

/// The certificate with this serial number, where it is confirmed and not emptied.
pub(crate) fn by_serial(c: &Connection, serial: &Serial) -> rusqlite::Result<Option<Vec<u8>>> {
    let sql = "SELECT certificate FROM certificates
               WHERE serial = ?1 AND certificate IS NOT NULL AND certificate <> x''";
    c.query_row(sql, [&serial.0], |row| row.get(0)).optional()
}

/// A member's latest certificate and when it expires.
pub(crate) fn latest(c: &Connection, member: i64) -> rusqlite::Result<Option<(i64, Vec<u8>)>> {
    let sql = "SELECT expires, certificate FROM certificates
               WHERE member = ?1 AND certificate IS NOT NULL
               ORDER BY expires DESC, rowid DESC LIMIT 1";
    c.query_row(sql, [member], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

/// Empties the certificates of a member that have expired: of those, the serial numbers are enough.
pub(crate) fn empty_expired(c: &Connection, member: i64, now: i64) -> rusqlite::Result<usize> {
    let sql = "UPDATE certificates SET certificate = x''
               WHERE member = ?1 AND expires < ?2 AND certificate <> x''";
    c.execute(sql, params![member, now])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{Records, members};
    use mpyc_party_core::claims::PublicKey;
    use rusqlite::Row;

    fn with_member<T>(work: impl FnOnce(&Connection, i64) -> rusqlite::Result<T>) -> T {
        let records = Records::open(":memory:".as_ref()).unwrap();
        let work = |c: &Connection| {
            let member = members::add(c, 1, "alice", &[], PublicKey([1; 32]))?;
            work(c, member)
        };
        records.change(|c| Ok(work(c)?)).unwrap()
    }

    fn serial(number: u8) -> Serial {
        Serial(vec![number])
    }

    #[test]
    fn an_expired_certificate_leaves_its_serial_number() {
        with_member(|c, member| {
            for (number, expires) in [(1, 10), (2, 20), (3, 30)] {
                reserve(c, &serial(number), member, 1, expires, &[5; 300])?;
                assert!(confirm(c, &serial(number), &[7; 600])?);
            }
            assert_eq!(empty_expired(c, member, 21)?, 2);
            assert_eq!(empty_expired(c, member, 21)?, 0, "emptied once");
            let sql = "SELECT count(*), sum(length(certificate)) FROM certificates";
            let kept = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
            assert_eq!(c.query_row(sql, [], kept)?, (3, 600));
            assert_eq!(latest(c, member)?, Some((30, vec![7; 600])));
            assert_eq!(by_serial(c, &serial(1))?, None);
            Ok(())
        });
    }

    #[test]
    fn a_serial_number_is_reserved_once_and_confirmed_once() {
        with_member(|c, member| {
            reserve(c, &serial(1), member, 50, 100, &[5])?;
            assert!(reserve(c, &serial(1), member, 51, 100, &[6]).is_err());
            assert_eq!(reserved(c, member, &(0..=50))?, [[5]]);
            assert!(reserved(c, member, &(51..=60))?.is_empty());
            assert_eq!((latest(c, member)?, issued(c, member, &(0..=60))?), (None, None));
            assert!(!confirm(c, &serial(2), &[8])?, "never reserved");
            assert!(confirm(c, &serial(1), &[7])?);
            assert!(!confirm(c, &serial(1), &[8])?);
            assert_eq!(issued(c, member, &(50..=60))?, Some(vec![7]));
            assert!(reserved(c, member, &(0..=60))?.is_empty());
            assert!(reserve(c, &serial(1), member, 52, 100, &[5]).is_err());
            Ok(())
        });
    }
}

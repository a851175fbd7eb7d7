//! Records that an older version has written (`records-v0.sql`) are brought up to date, and keep
//! every promise that was made with them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::{ca, enrol_at, network, seeded_key, serials, unconfirmed};
use mpyc_party_authority::{Authority, AuthorityError, Revoked};
use mpyc_party_core::claims::Claims;
use mpyc_party_core::token::{Secret, Token};
use rusqlite::Connection;
use tempfile::TempDir;

/// When the old authority was made.
const MADE: u64 = 1_700_000_000;
/// When it did something last: it renewed alice's certificate.
const LAST: u64 = MADE + 172_800;

/// An authority whose records are the old ones.
fn old() -> TempDir {
    let dir = TempDir::new().unwrap();
    let pool = "10.64.0.0/24".parse().unwrap();
    Authority::init(&ca(&dir), &network(), Some(pool), MADE).unwrap();
    for beside in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(ca(&dir).join(format!("records.sqlite{beside}")));
    }
    let records = Connection::open(ca(&dir).join("records.sqlite")).unwrap();
    records.execute_batch(include_str!("records-v0.sql")).unwrap();
    dir
}

/// One of the tokens in these records.
fn token(authority: &Authority, secret: &str) -> Token {
    let bytes = (0..32).map(|i| u8::from_str_radix(&secret[2 * i..2 * i + 2], 16).unwrap());
    let secret = Secret(bytes.collect::<Vec<_>>().try_into().unwrap());
    Token { network: network(), hubs: Vec::new(), root: authority.root().fingerprint, secret }
}

const ALICES: &str = "0f79ee36d5c202c96f24db11fe711bc3f09b407f44bb8c410056fd5e41bd8784";
const CAROLS: &str = "85112fa72f8045c9e8a9d40a6bcf276a98109e18e118d43cc9c7e47cb78caefd";

#[test]
fn members_tokens_and_serial_numbers_are_kept() {
    let dir = old();
    let before = serials(&ca(&dir), "true");
    for _ in 0..2 {
        let authority = Authority::open(&ca(&dir)).unwrap();
        let listed = authority.list().unwrap();
        let summary = |i: usize| (&*listed[i].name, &*listed[i].address, listed[i].expires);
        assert_eq!(summary(0), ("alice", "10.64.0.1", Some(1_700_259_200)));
        assert_eq!(summary(1), ("bob", "10.64.0.2", Some(1_700_086_400)));
        assert_eq!(summary(2), ("hub-1", "10.64.0.3", Some(1_700_086_400)));
        assert_eq!((listed.len(), listed[1].revoked), (3, Some(1_700_000_005)));
        assert_eq!(authority.trail().unwrap().len(), 9);
        assert_eq!((serials(&ca(&dir), "true"), unconfirmed(&ca(&dir)).len()), (before.clone(), 0));
    }
}

#[test]
fn the_network_goes_on_where_it_was() {
    let dir = old();
    let authority = Authority::open(&ca(&dir)).unwrap();
    let (alices, carols) = (token(&authority, ALICES), token(&authority, CAROLS));
    let (alice, carol) = (seeded_key([1; 32]), seeded_key([3; 32]));
    let first = Claims::from_der(&enrol_at(&authority, &alices, &alice, LAST).unwrap()).unwrap();
    assert_eq!(
        (first.address, &*first.groups),
        ("10.64.0.1".parse().unwrap(), &["lab".to_owned(), "night".to_owned()][..])
    );
    let stolen = enrol_at(&authority, &alices, &carol, LAST);
    assert!(matches!(stolen, Err(AuthorityError::UsedToken)), "{stolen:?}");
    let latest = authority.directory(&["alice".parse().unwrap()]).unwrap();
    assert_ne!(Claims::from_der(&latest[0]).unwrap().serial, first.serial);

    assert_eq!(authority.renew(&first, LAST + 3600).unwrap(), latest[0], "it never arrived");
    let latest = Claims::from_der(&latest[0]).unwrap();
    let renewed = Claims::from_der(&authority.renew(&latest, LAST + 3600).unwrap()).unwrap();
    assert_eq!((renewed.address, renewed.groups), (first.address, first.groups));
    let late = enrol_at(&authority, &carols, &carol, LAST);
    assert!(matches!(late, Err(AuthorityError::ExpiredToken)), "{late:?}");
    let new = enrol_at(&authority, &carols, &carol, MADE + 60).unwrap();
    assert_eq!(Claims::from_der(&new).unwrap().address.to_string(), "10.64.0.4");
    assert_eq!(serials(&ca(&dir), "true").len(), 6);
    assert_eq!(authority.revoke("alice", LAST).unwrap(), Revoked::Member);
    assert_eq!(authority.revoked().unwrap().len(), 2);
}

#[test]
fn records_of_a_newer_version_are_left_alone() {
    let dir = old();
    let records = Connection::open(ca(&dir).join("records.sqlite")).unwrap();
    records.execute_batch("PRAGMA user_version = 1000").unwrap();
    let outcome = Authority::open(&ca(&dir));
    assert!(matches!(outcome, Err(AuthorityError::NewerRecords)), "{outcome:?}");
}

#[test]
fn two_processes_may_bring_them_up_to_date_at_once() {
    for _ in 0..10 {
        let dir = old();
        let open = || Authority::open(&ca(&dir)).unwrap().list().unwrap().len();
        std::thread::scope(|scope| {
            let both = [scope.spawn(open), scope.spawn(open)];
            assert_eq!(both.map(|opened| opened.join().unwrap()), [3, 3]);
        });
    }
}

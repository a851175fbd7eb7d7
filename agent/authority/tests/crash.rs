//! What a crash leaves behind: nothing that is given twice, and nobody who cannot go on.
//!
//! The process that crashes is this test program again, which then does what [`victim`] says.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use common::{authority, ca, enrol, enrol_at, open_with, seeded_key, serials, token, unconfirmed};
use mpyc_party_authority::{Authority, Signer};
use mpyc_party_core::claims::Claims;
use mpyc_party_core::role::Role;
use mpyc_party_core::token::Token;
use mpyc_party_transport::now;

/// Where the victim finds its work.
const VICTIM: &str = "MPYC_PARTY_TEST_VICTIM";
/// SIGABRT and SIGKILL.
const ABORTED: i32 = 6;
const KILLED: i32 = 9;

/// How far a victim gets.
#[derive(Clone, Copy, Debug)]
enum Crash {
    /// Reserved, and not signed.
    Reserved,
    /// Signed, and not confirmed.
    Signed,
    /// Confirmed, and not handed out.
    Confirmed,
}

fn number(index: usize) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&(index as u64 + 1).to_be_bytes());
    seed
}

fn read_token(dir: &Path, index: usize) -> Token {
    Token::from_text(&fs::read_to_string(dir.join(format!("token-{index}"))).unwrap()).unwrap()
}

fn write_token(dir: &Path, index: usize, token: &Token) {
    fs::write(dir.join(format!("token-{index}")), &**token.to_text().unwrap()).unwrap();
}

/// Not a test by itself: what the process that crashes does.
#[test]
fn victim() {
    let Ok(work) = env::var(VICTIM) else { return };
    let (kind, dir) = work.split_once(':').unwrap();
    let dir = PathBuf::from(dir);
    let crash = match kind {
        "enrol-them-all" => return enrol_them_all(&dir),
        "reserved" => Crash::Reserved,
        "signed" => Crash::Signed,
        _ => Crash::Confirmed,
    };
    let authority = open_with(&dir.join("ca"), move |key, request| {
        let signature = match crash {
            Crash::Reserved => std::process::abort(),
            _ => key.sign(request),
        };
        if matches!(crash, Crash::Signed) {
            std::process::abort();
        }
        signature
    });
    let done = match fs::read(dir.join("certificate")) {
        Ok(certificate) => {
            authority.renew(&Claims::from_der(&certificate).unwrap(), now()).map(drop)
        }
        Err(_) if dir.join("own").exists() => {
            authority.own_credentials(&Role::Hub(1), now()).map(drop)
        }
        Err(_) => enrol(&authority, &read_token(&dir, 0), &seeded_key(number(0))).map(drop),
    };
    done.unwrap();
    std::process::abort();
}

fn start_victim(kind: &str, dir: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "victim", "--nocapture"])
        .env(VICTIM, format!("{kind}:{}", dir.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn crash(kind: &str, dir: &Path) {
    let status = start_victim(kind, dir).wait().unwrap();
    assert_eq!(status.signal(), Some(ABORTED), "{kind}: {status}");
}

const CRASHES: [&str; 3] = ["reserved", "signed", "confirmed"];

#[test]
fn an_enrolment_that_crashed_goes_on_with_the_same_token_and_key() {
    for kind in CRASHES {
        let (dir, authority) = authority();
        write_token(dir.path(), 0, &token(&authority, "alice"));
        let alices = read_token(dir.path(), 0);
        crash(kind, dir.path());
        let reserved = serials(&ca(&dir), "true");
        assert_eq!(reserved.len(), 1, "{kind}");
        assert_eq!(unconfirmed(&ca(&dir)).is_empty(), kind == "confirmed", "{kind}");
        assert_eq!(authority.list().unwrap()[0].expires.is_some(), kind == "confirmed");
        let thief = enrol(&authority, &alices, &seeded_key([9; 32]));
        assert!(thief.is_err(), "{kind}: the token belongs to the first key");
        let bob = enrol(&authority, &token(&authority, "bob"), &seeded_key([8; 32])).unwrap();
        let alice = enrol(&authority, &alices, &seeded_key(number(0))).unwrap();
        let again = enrol_at(&authority, &alices, &seeded_key(number(0)), now() + 7200).unwrap();
        assert_eq!(alice, again, "{kind}");
        let (alice, bob) = (Claims::from_der(&alice).unwrap(), Claims::from_der(&bob).unwrap());
        assert_eq!(alice.serial.0, reserved[0], "{kind}");
        assert!(alice.serial != bob.serial && alice.address != bob.address, "{kind}");
        assert_eq!(alice.address.to_string(), "10.64.0.1", "{kind}");
    }
}

#[test]
fn a_renewal_that_crashed_leaves_the_member_what_it_had() {
    for kind in CRASHES {
        let (dir, authority) = authority();
        let (alices, key) = (token(&authority, "alice"), seeded_key(number(0)));
        let first = enrol_at(&authority, &alices, &key, now() - 3600).unwrap();
        fs::write(dir.path().join("certificate"), &first).unwrap();
        crash(kind, dir.path());
        let old = Claims::from_der(&first).unwrap();
        authority.check(&old).unwrap();
        let latest = authority.directory(&["alice".parse().unwrap()]).unwrap();
        assert_eq!(latest[0] != first, kind == "confirmed", "{kind}");
        let new = Claims::from_der(&authority.renew(&old, now()).unwrap()).unwrap();
        assert!(new.serial != old.serial && new.not_after > old.not_after, "{kind}");
        assert_eq!((new.address, new.key), (old.address, old.key), "{kind}");
        assert_eq!(serials(&ca(&dir), "true").len(), 2, "{kind}");
    }
}

#[test]
fn an_own_certificate_that_crashed_is_made_anew_for_another_key() {
    for kind in CRASHES {
        let (dir, authority) = authority();
        fs::write(dir.path().join("own"), []).unwrap();
        crash(kind, dir.path());
        let lost = serials(&ca(&dir), "true");
        let new = authority.own_credentials(&Role::Hub(1), now()).unwrap();
        let new = Claims::from_der(&new.certificate).unwrap();
        authority.check(&new).unwrap();
        assert!(!lost.contains(&new.serial.0), "{kind}");
        assert_eq!(new.address.to_string(), "10.64.0.1", "{kind}");
        assert_eq!(unconfirmed(&ca(&dir)).is_empty(), kind == "confirmed", "{kind}");
    }
}

/// How many newcomers enrol while their authority is killed again and again.
const NEWCOMERS: usize = 60;

/// Enrols those who were given nothing yet, and writes down what each is given.
fn enrol_them_all(dir: &Path) {
    let authority = Authority::open(&dir.join("ca")).unwrap();
    let served = given(dir);
    let mut log = fs::File::options().append(true).create(true).open(dir.join("given")).unwrap();
    for index in (0..NEWCOMERS).filter(|index| !served.contains_key(index)) {
        let key = seeded_key(number(index));
        let certificate = enrol(&authority, &read_token(dir, index), &key).unwrap();
        let hex: String = certificate.iter().map(|byte| format!("{byte:02x}")).collect();
        log.write_all(format!("{index} {hex}\n").as_bytes()).unwrap();
    }
}

/// What they were given, in hexadecimal.
fn given(dir: &Path) -> BTreeMap<usize, String> {
    let log = fs::read_to_string(dir.join("given")).unwrap_or_default();
    let lines = log.lines().map(|line| line.split_once(' ').unwrap());
    lines.map(|(index, hex)| (index.parse().unwrap(), hex.to_owned())).collect()
}

#[test]
fn whenever_it_is_killed_nothing_is_given_twice() {
    let (dir, authority) = authority();
    for index in 0..NEWCOMERS {
        write_token(dir.path(), index, &token(&authority, &format!("p{index}")));
    }
    let (mut killed, mut left_open) = (0, 0);
    loop {
        let mut victim = start_victim("enrol-them-all", dir.path());
        // Ever later, so that on the slowest machine some of them get through.
        thread::sleep(Duration::from_millis(10 + killed));
        victim.kill().unwrap();
        let status = victim.wait().unwrap();
        if status.signal() != Some(KILLED) {
            assert!(status.success(), "{status}");
            break;
        }
        killed += 1;
        left_open += unconfirmed(&ca(&dir)).len();
    }
    assert!(killed > 5 && left_open > 0, "killed {killed} times, {left_open} between two steps");
    let given = given(dir.path());
    let (mut addresses, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for index in 0..NEWCOMERS {
        let wanted = read_token(dir.path(), index);
        let issued = enrol(&authority, &wanted, &seeded_key(number(index))).unwrap();
        let hex: String = issued.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, given[&index]);
        let claims = Claims::from_der(&issued).unwrap();
        assert!(addresses.insert(claims.address) && numbers.insert(claims.serial.clone()));
    }
    assert_eq!(authority.list().unwrap().len(), NEWCOMERS);
}

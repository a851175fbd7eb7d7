//! The authority by itself: what it issues, to whom, and what it never does twice.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use common::{asked, authority, enrol, enrol_with, network, new_key, party, token};
use mpyc_party_authority::{Authority, AuthorityError, CERTIFICATE_LIFETIME, Revoked};
use mpyc_party_core::claims::{Claims, Fingerprint};
use mpyc_party_core::role::Role;
use mpyc_party_transport::{Identity, now};
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PublicKeyData,
};
use tempfile::TempDir;

fn identity(authority: &Authority, role: &Role) -> Identity {
    authority.own_credentials(role, now()).unwrap().try_into().unwrap()
}

#[test]
fn files_are_private_and_an_authority_is_made_once() {
    let (dir, first) = authority();
    let ca = dir.path().join("ca");
    let mode = |path: &str| ca.join(path).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("root.key"), mode("records.sqlite")), (0o700, 0o600, 0o600));
    for beside in std::fs::read_dir(&ca).unwrap() {
        let beside = beside.unwrap();
        let readable = beside.metadata().unwrap().permissions().mode() & 0o077 != 0;
        assert!(!readable || beside.file_name() == "root.der", "{beside:?}");
    }
    let again = Authority::init(&ca, &network(), None, now());
    assert!(matches!(again, Err(AuthorityError::Exists(_))));
    assert_eq!(Authority::open(&ca).unwrap().root(), first.root());
}

#[test]
fn damaged_or_missing_files_are_named() {
    let (dir, first) = authority();
    drop(first);
    let ca = dir.path().join("ca");
    let other = TempDir::new().unwrap();
    Authority::init(&other.path().join("ca"), &network(), None, now()).unwrap();
    std::fs::copy(other.path().join("ca/root.key"), ca.join("root.key")).unwrap();
    assert!(matches!(Authority::open(&ca), Err(AuthorityError::OtherKey(_))));
    std::fs::remove_file(ca.join("records.sqlite")).unwrap();
    std::fs::copy(other.path().join("ca/root.der"), ca.join("root.der")).unwrap();
    assert!(matches!(Authority::open(&ca), Err(AuthorityError::File { .. })));
}

#[test]
fn a_root_key_that_others_can_read_is_not_used() {
    let (dir, first) = authority();
    drop(first);
    let ca = dir.path().join("ca");
    for (mode, fine) in [(0o640, false), (0o604, false), (0o400, true)] {
        std::fs::set_permissions(ca.join("root.key"), Permissions::from_mode(mode)).unwrap();
        match Authority::open(&ca) {
            Ok(_) => assert!(fine, "{mode:o}"),
            Err(error) => assert!(!fine && error.to_string().contains("chmod 600"), "{error}"),
        }
    }
}

#[test]
fn a_request_contributes_its_key_and_nothing_else() {
    let (_dir, authority) = authority();
    let greedy = || {
        let mut params =
            CertificateParams::new(vec!["authority.example.mpyc.internal".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        params
    };
    let key = new_key();
    let certificate =
        enrol_with(&authority, &token(&authority, "alice"), &key, &greedy(), now()).unwrap();
    // Claims refuse an authority, other names and other usages.
    let claims = Claims::from_der(&certificate).unwrap();
    assert_eq!(claims.role, party("alice"));
    assert_eq!(claims.key.0, key.der_bytes());
    assert_eq!(claims.not_after - claims.not_before, CERTIFICATE_LIFETIME + 3600);
    assert!(authority.root().covers(&claims).is_ok());
}

#[test]
fn foreign_keys_and_forged_requests_are_refused() {
    let (_dir, authority) = authority();
    let token = token(&authority, "alice");
    let ecdsa = KeyPair::generate().unwrap();
    let csr = CertificateParams::default().serialize_request(&ecdsa).unwrap();
    let id = token.secret.hash().id();
    let outcome = authority.enrol(asked(&id, &[0; 32], csr.der()), now());
    assert!(matches!(outcome, Err(AuthorityError::Request)));
    // Somebody else's public key: the signature does not fit.
    let key = new_key();
    let mut csr = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
    let other = new_key();
    let at = csr.windows(32).position(|window| window == key.der_bytes()).unwrap();
    csr[at..at + 32].copy_from_slice(other.der_bytes());
    let outcome = authority.enrol(asked(&id, &[0; 32], &csr), now());
    assert!(matches!(outcome, Err(AuthorityError::Request)));
}

#[test]
fn a_token_makes_one_member_and_a_lost_reply_is_no_dead_end() {
    let (_dir, authority) = authority();
    let token = token(&authority, "alice");
    let key = new_key();
    let first = enrol(&authority, &token, &key).unwrap();
    assert_eq!(enrol(&authority, &token, &key).unwrap(), first);
    let later = enrol_with(&authority, &token, &key, &CertificateParams::default(), now() + 7200);
    assert_eq!(later.unwrap(), first, "even after the token's time");
    let other = enrol(&authority, &token, &new_key());
    assert!(matches!(other, Err(AuthorityError::UsedToken)));
    assert_eq!(authority.list().unwrap().len(), 1);
}

#[test]
fn tokens_end_and_belong_to_their_authority() {
    let (_dir, home) = authority();
    let (_abroad_dir, abroad) = authority();
    let token = token(&home, "alice");
    let (key, params) = (new_key(), CertificateParams::default());
    let late = enrol_with(&home, &token, &key, &params, now() + 3700);
    assert!(matches!(late, Err(AuthorityError::ExpiredToken)));
    let foreign = enrol(&abroad, &token, &key);
    assert!(matches!(foreign, Err(AuthorityError::UnknownToken)));
    let mut guessed = token.clone();
    guessed.secret.0[0] ^= 1;
    assert!(matches!(enrol(&home, &guessed, &key), Err(AuthorityError::UnknownToken)));
    // The right token on another connection, as somebody in the middle would have it.
    let public = mpyc_party_core::claims::PublicKey(key.der_bytes().try_into().unwrap());
    let proof = token.secret.proof(&[8; 32], &public);
    let csr = params.serialize_request(&key).unwrap();
    let moved = home.enrol(asked(&token.secret.hash().id(), &proof, csr.der()), now());
    assert!(matches!(moved, Err(AuthorityError::UnknownToken)));
    assert!(home.list().unwrap().is_empty());
}

#[test]
fn names_and_keys_are_taken_once() {
    let (_dir, authority) = authority();
    let (one, two) = (token(&authority, "alice"), token(&authority, "alice"));
    let key = new_key();
    enrol(&authority, &one, &key).unwrap();
    assert!(matches!(enrol(&authority, &two, &new_key()), Err(AuthorityError::Taken(_))));
    let more = authority.new_token(&party("alice"), &[], 60, vec!["h:1".to_owned()], now());
    assert!(matches!(more, Err(AuthorityError::Taken(_))));
    let bob = token(&authority, "bob");
    assert!(matches!(enrol(&authority, &bob, &key), Err(AuthorityError::KnownKey)));
    let root = authority.new_token(&Role::Authority, &[], 60, vec!["h:1".to_owned()], now());
    assert!(matches!(root, Err(AuthorityError::Taken(_))));
}

#[test]
fn no_address_is_given_out_twice() {
    let (_dir, authority) = authority();
    let mut addresses = BTreeSet::new();
    for _ in 0..5 {
        let claims = enrol(&authority, &token(&authority, "alice"), &new_key()).unwrap();
        let claims = Claims::from_der(&claims).unwrap();
        assert!(addresses.insert(claims.address), "{} came up again", claims.address);
        authority.revoke("alice", now()).unwrap();
    }
}

#[test]
fn a_small_pool_runs_out_with_a_message() {
    let dir = TempDir::new().unwrap();
    let pool = "10.64.0.0/30".parse().unwrap();
    let authority = Authority::init(dir.path(), &network(), Some(pool), now()).unwrap();
    for name in ["alice", "bob"] {
        enrol(&authority, &token(&authority, name), &new_key()).unwrap();
    }
    let last = enrol(&authority, &token(&authority, "carol"), &new_key());
    assert!(matches!(last, Err(AuthorityError::Exhausted(_))), "{last:?}");
    assert_eq!(authority.list().unwrap().len(), 2, "a refusal leaves nothing behind");
}

#[test]
fn the_revoked_are_out_and_come_back_only_with_a_new_key() {
    let (_dir, authority) = authority();
    let (first, waiting, key) = (token(&authority, "alice"), token(&authority, "alice"), new_key());
    let claims = Claims::from_der(&enrol(&authority, &first, &key).unwrap()).unwrap();
    assert!(authority.check(&claims).is_ok());
    authority.revoke("alice", now()).unwrap();
    assert!(matches!(authority.check(&claims), Err(AuthorityError::Revoked(_))));
    assert!(matches!(authority.renew(&claims, now()), Err(AuthorityError::Revoked(_))));
    assert!(matches!(enrol(&authority, &first, &key), Err(AuthorityError::Revoked(_))));
    let unused = enrol(&authority, &waiting, &new_key());
    assert!(matches!(unused, Err(AuthorityError::ExpiredToken)), "its waiting tokens end too");
    assert!(authority.directory(&["alice".parse().unwrap()]).unwrap().is_empty());
    assert!(matches!(authority.revoke("alice", now()), Err(AuthorityError::Unknown(_))));
    let again = token(&authority, "alice");
    assert!(matches!(enrol(&authority, &again, &key), Err(AuthorityError::KnownKey)));
    enrol(&authority, &again, &new_key()).unwrap();
    let events: Vec<_> = authority.trail().unwrap().into_iter().map(|e| e.event).collect();
    let expected = ["init", "token", "token", "enrol", "revoke", "token", "enrol"];
    assert_eq!(events, expected);
}

#[test]
fn a_token_in_the_wrong_hands_can_be_ended_before_anybody_uses_it() {
    let (_dir, authority) = authority();
    let (leaked, other) = (token(&authority, "alice"), token(&authority, "bob"));
    assert_eq!(authority.revoke("alice", now()).unwrap(), Revoked::Tokens);
    assert!(matches!(authority.revoke("alice", now()), Err(AuthorityError::Unknown(_))));
    let late = enrol(&authority, &leaked, &new_key());
    assert!(matches!(late, Err(AuthorityError::ExpiredToken)));
    enrol(&authority, &other, &new_key()).unwrap();
    enrol(&authority, &token(&authority, "alice"), &new_key()).unwrap();
    assert_eq!(authority.revoke("alice", now()).unwrap(), Revoked::Member);
}

#[test]
fn renewal_keeps_everything_but_the_time() {
    let (_dir, authority) = authority();
    let groups = vec!["lab".to_owned()];
    let hubs = vec!["h:1".to_owned()];
    let token = authority.new_token(&party("alice"), &groups, 60, hubs, now()).unwrap();
    let first = enrol(&authority, &token, &new_key()).unwrap();
    let old = Claims::from_der(&first).unwrap();
    assert_eq!(authority.renew(&old, now()).unwrap(), first, "not twice within a minute");
    let new = Claims::from_der(&authority.renew(&old, now() + 3600).unwrap()).unwrap();
    assert!(new.not_after > old.not_after && new.serial != old.serial);
    let (not_before, not_after, serial) = (old.not_before, old.not_after, old.serial.clone());
    assert_eq!(Claims { not_before, not_after, serial, ..new }, old);
    assert_eq!(old.groups, groups);
}

#[test]
fn a_renewal_that_never_arrived_is_given_again() {
    let (_dir, authority) = authority();
    let first = enrol(&authority, &token(&authority, "alice"), &new_key()).unwrap();
    let (first, start) = (Claims::from_der(&first).unwrap(), now() + 16 * 3600);
    let renewed = authority.renew(&first, start).unwrap();
    assert_eq!(authority.renew(&first, start + 1800).unwrap(), renewed);
    let second = Claims::from_der(&renewed).unwrap();
    let third = authority.renew(&second, start + 1800).unwrap();
    assert_ne!(third, renewed, "this one has arrived");
    let late = authority.renew(&first, start + 20 * 3600).unwrap();
    assert!(late != renewed && late != third, "and these are due themselves");
}

#[test]
fn after_a_clock_that_ran_ahead_renewals_are_valid_at_once() {
    let (_dir, authority) = authority();
    let first = enrol(&authority, &token(&authority, "alice"), &new_key()).unwrap();
    let (first, start) = (Claims::from_der(&first).unwrap(), now() + 16 * 3600);
    let ahead = authority.renew(&first, start + 30 * 24 * 3600).unwrap();
    assert!(Claims::from_der(&ahead).unwrap().check_validity(start).is_err());
    let second = Claims::from_der(&authority.renew(&first, start).unwrap()).unwrap();
    second.check_validity(start).unwrap();
    let third = authority.renew(&second, start + 16 * 3600).unwrap();
    Claims::from_der(&third).unwrap().check_validity(start + 16 * 3600).unwrap();
}

#[test]
fn a_name_alone_renews_nothing() {
    let (_dir, authority) = authority();
    let claims = enrol(&authority, &token(&authority, "alice"), &new_key()).unwrap();
    let claims = Claims::from_der(&claims).unwrap();
    let bob = Claims { role: party("bob"), ..claims.clone() };
    assert!(matches!(authority.renew(&bob, now()), Err(AuthorityError::NotEnrolled(_))));
    let key = mpyc_party_core::claims::PublicKey([1; 32]);
    let other = Claims { key, ..claims };
    assert!(matches!(authority.renew(&other, now()), Err(AuthorityError::NotEnrolled(_))));
}

#[test]
fn own_identities_keep_their_address_and_leave_other_hubs_alone() {
    let (_dir, authority) = authority();
    let one = identity(&authority, &Role::Hub(1));
    let two = identity(&authority, &Role::Hub(1));
    assert_eq!(one.claims().address, two.claims().address);
    assert_ne!(one.claims().key, two.claims().key);
    let hub = authority.new_token(&Role::Hub(2), &[], 60, vec!["h:1".to_owned()], now()).unwrap();
    enrol(&authority, &hub, &new_key()).unwrap();
    let outcome = authority.own_credentials(&Role::Hub(2), now());
    assert!(matches!(outcome, Err(AuthorityError::Taken(_))));
}

#[test]
fn two_processes_may_work_at_once() {
    let (dir, first) = authority();
    let ca = dir.path().join("ca");
    let workers: Vec<_> = (0..2)
        .map(|worker| {
            let authority = Authority::open(&ca).unwrap();
            std::thread::spawn(move || {
                for i in 0..20 {
                    let token = token(&authority, &format!("w{worker}-{i}"));
                    enrol(&authority, &token, &new_key()).unwrap();
                }
            })
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    let addresses: BTreeSet<_> = first.list().unwrap().into_iter().map(|m| m.address).collect();
    assert_eq!(addresses.len(), 40);
}

#[test]
fn records_hold_no_secret() {
    let (dir, authority) = authority();
    let token = token(&authority, "alice");
    enrol(&authority, &token, &new_key()).unwrap();
    drop(authority);
    for file in std::fs::read_dir(dir.path().join("ca")).unwrap() {
        let content = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!content.windows(32).any(|window| window == token.secret.0));
    }
    let _: Fingerprint = token.root;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn random_requests_never_panic(csr: Vec<u8>, id: [u8; 16]) {
        let (_dir, authority) = authority();
        prop_assert!(authority.enrol(asked(&id, &[0; 32], &csr), now()).is_err());
    }
}

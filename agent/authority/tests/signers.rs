//! What a signer may do to the authority: take its time, fail, sign something else, panic.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use common::{
    TEST_TIMEOUT, authority, ca, enrol, enrol_at, in_time, new_key, open_with, serials, token,
    unconfirmed,
};
use mpyc_party_authority::{
    Authority, AuthorityError, LocalSigner, Purpose, Signature, Signer, SignerError, Statement,
};
use mpyc_party_core::claims::Claims;
use mpyc_party_core::role::Role;
use mpyc_party_transport::{generate_key, now};

/// Holds up signatures until it is opened.
#[derive(Default)]
struct Barrier {
    /// How many are waiting, and whether they need not.
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Barrier {
    /// An authority whose signer waits here.
    fn authority(self: &Arc<Self>, ca: &Path) -> Arc<Authority> {
        let barrier = Arc::clone(self);
        Arc::new(open_with(ca, move |key, request| {
            barrier.pass();
            key.sign(request)
        }))
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.0 += 1;
        self.changed.notify_all();
        let waited = self.changed.wait_timeout_while(state, TEST_TIMEOUT, |state| !state.1);
        assert!(waited.unwrap().0.1, "the barrier was never opened");
    }

    /// Waits until so many have come.
    fn reached_by(&self, count: usize) {
        let state = self.state.lock().unwrap();
        let waited = self.changed.wait_timeout_while(state, TEST_TIMEOUT, |state| state.0 < count);
        assert!(waited.unwrap().0.0 >= count, "nobody asked for a signature");
    }

    fn open(&self) {
        self.state.lock().unwrap().1 = true;
        self.changed.notify_all();
    }
}

#[test]
fn nobody_waits_for_a_slow_signer_but_those_who_need_its_signature() {
    let (dir, fast) = authority();
    let alice = Claims::from_der(&enrol(&fast, &token(&fast, "alice"), &new_key()).unwrap());
    let (alice, barrier) = (alice.unwrap(), Arc::new(Barrier::default()));
    let slow = barrier.authority(&ca(&dir));
    let (bobs, wanting) = (token(&slow, "bob"), Arc::clone(&slow));
    let bob = thread::spawn(move || enrol(&wanting, &bobs, &new_key()));
    barrier.reached_by(1);
    in_time(move || {
        slow.check(&alice).unwrap();
        assert!(slow.revoked().unwrap().is_empty());
        assert_eq!(slow.list().unwrap().len(), 2);
        let names = ["alice".parse().unwrap(), "bob".parse().unwrap()];
        assert_eq!(slow.directory(&names).unwrap().len(), 1, "bob has no certificate yet");
        assert!(!slow.trail().unwrap().is_empty());
        // Nor does another process, not even one that changes something.
        enrol(&fast, &token(&fast, "carol"), &new_key()).unwrap();
        slow.revoke("carol", now()).unwrap();
    });
    barrier.open();
    bob.join().unwrap().unwrap();
}

#[test]
fn enrolments_with_one_token_at_once_yield_one_certificate() {
    let (dir, fast) = authority();
    let (alices, barrier) = (token(&fast, "alice"), Arc::new(Barrier::default()));
    let slow = barrier.authority(&ca(&dir));
    let key = generate_key().unwrap();
    let asking: Vec<_> = (0..4)
        .map(|_| {
            let (slow, token, key) = (Arc::clone(&slow), alices.clone(), common::key_pair(&key));
            thread::spawn(move || enrol(&slow, &token, &key))
        })
        .collect();
    barrier.reached_by(4);
    let thief = enrol(&slow, &alices, &new_key());
    assert!(matches!(thief, Err(AuthorityError::UsedToken)), "{thief:?}");
    barrier.open();
    let mut issued: Vec<_> = asking.into_iter().map(|asks| asks.join().unwrap().unwrap()).collect();
    issued.push(enrol(&fast, &alices, &common::key_pair(&key)).unwrap());
    issued.dedup();
    assert_eq!(issued.len(), 1);
    assert_eq!((slow.list().unwrap().len(), serials(&ca(&dir), "true").len()), (1, 1));
}

#[test]
fn renewals_of_one_member_at_once_yield_one_certificate() {
    let (dir, fast) = authority();
    let first = enrol_at(&fast, &token(&fast, "alice"), &new_key(), now() - 3600).unwrap();
    let (claims, barrier) = (Claims::from_der(&first).unwrap(), Arc::new(Barrier::default()));
    let (slow, time) = (barrier.authority(&ca(&dir)), now());
    let asking: Vec<_> = (0..4)
        .map(|after| {
            let (slow, claims) = (Arc::clone(&slow), claims.clone());
            thread::spawn(move || slow.renew(&claims, time + after))
        })
        .collect();
    barrier.reached_by(4);
    barrier.open();
    let mut issued: Vec<_> = asking.into_iter().map(|asks| asks.join().unwrap().unwrap()).collect();
    issued.push(fast.renew(&claims, time + 4).unwrap());
    issued.dedup();
    assert_eq!(issued.len(), 1);
    assert_ne!(issued[0], first);
    assert_eq!(serials(&ca(&dir), "true").len(), 2);
}

#[test]
fn whoever_is_revoked_while_its_certificate_is_signed_does_not_get_it() {
    let (dir, fast) = authority();
    let alice = enrol_at(&fast, &token(&fast, "alice"), &new_key(), now() - 3600).unwrap();
    let (alice, barrier) = (Claims::from_der(&alice).unwrap(), Arc::new(Barrier::default()));
    let slow = barrier.authority(&ca(&dir));
    let (bobs, bob) = (token(&fast, "bob"), Arc::clone(&slow));
    let bob = thread::spawn(move || enrol(&bob, &bobs, &new_key()));
    let renews = Arc::clone(&slow);
    let alice = thread::spawn(move || renews.renew(&alice, now()));
    let hub = Arc::clone(&slow);
    let hub = thread::spawn(move || hub.own_credentials(&Role::Hub(1), now()));
    barrier.reached_by(3);
    for name in ["alice", "bob", "hub-1"] {
        fast.revoke(name, now()).unwrap();
    }
    barrier.open();
    for outcome in [alice.join().unwrap(), bob.join().unwrap(), hub.join().unwrap().map(|_| vec![])]
    {
        assert!(matches!(outcome, Err(AuthorityError::Revoked(_))), "{outcome:?}");
    }
    assert_eq!(unconfirmed(&ca(&dir)).len(), 3, "the records keep what may have been signed");
}

#[test]
fn a_signer_that_fails_costs_nothing_but_time() {
    let (dir, good) = authority();
    for (name, error) in [
        ("alice", SignerError::Unavailable),
        ("bob", SignerError::Declined),
        ("carol", SignerError::TimedOut),
    ] {
        let failing = open_with(&ca(&dir), move |_, _| Err(error));
        let (wanted, key) = (token(&good, name), new_key());
        let refused = enrol(&failing, &wanted, &key).unwrap_err();
        assert_eq!(refused.to_string(), error.to_string());
        assert!(refused.to_string().starts_with("the authority's signer"), "{refused}");
        let other = enrol(&good, &wanted, &new_key());
        assert!(matches!(other, Err(AuthorityError::UsedToken)), "it belongs to the first key");
        let reserved = unconfirmed(&ca(&dir));
        let claims = Claims::from_der(&enrol(&good, &wanted, &key).unwrap()).unwrap();
        assert_eq!(reserved, std::slice::from_ref(&claims.serial.0), "taken up where it was left");
        assert!(unconfirmed(&ca(&dir)).is_empty());
        let later = now() + 120;
        assert!(failing.renew(&claims, later).is_err());
        let hub = good.own_credentials(&Role::Hub(1), now()).unwrap();
        assert!(failing.own_credentials(&Role::Hub(1), now()).is_err());
        for known in [claims.clone(), Claims::from_der(&hub.certificate).unwrap()] {
            good.check(&known).unwrap();
        }
        let renewed = Claims::from_der(&good.renew(&claims, later).unwrap()).unwrap();
        assert_eq!(renewed.address, claims.address);
        // Only what the hub's other key was to get is left over.
        let records = rusqlite::Connection::open(ca(&dir).join("records.sqlite")).unwrap();
        let sql = "DELETE FROM certificates WHERE certificate IS NULL";
        assert_eq!(records.execute(sql, []).unwrap(), 1);
    }
}

#[test]
fn an_abandoned_reservation_is_kept_and_its_number_never_used() {
    let (dir, good) = authority();
    let failing = open_with(&ca(&dir), |_, _| Err(SignerError::Unavailable));
    let (wanted, key, start) = (token(&good, "alice"), new_key(), now());
    // Whoever asks again and again fills the records with no more than one row a minute.
    for second in 0..=180 {
        assert!(enrol_at(&failing, &wanted, &key, start + second).is_err());
    }
    let abandoned = unconfirmed(&ca(&dir));
    assert_eq!(abandoned.len(), 3);
    let late = start + 2 * 86_400;
    let claims = Claims::from_der(&enrol_at(&good, &wanted, &key, late).unwrap()).unwrap();
    assert!(!abandoned.contains(&claims.serial.0));
    assert!(claims.not_before <= late && late < claims.not_after);
    assert_eq!(unconfirmed(&ca(&dir)), abandoned);
    assert_eq!(good.list().unwrap().len(), 1, "one member, one address");
}

#[test]
fn a_signature_that_does_not_fit_is_not_handed_out() {
    let (dir, good) = authority();
    type Sign = fn(&LocalSigner, &mpyc_party_authority::SigningRequest) -> Signature;
    let wrong: [(&str, Sign); 3] = [
        ("alice", |_, _| Signature([1; 64])),
        ("bob", |key, request| {
            let mut signature = key.sign(request).unwrap();
            signature.0[63] ^= 1;
            signature
        }),
        // A signature of the right key, over another certificate.
        ("carol", |key, request| {
            let Statement::Member(purpose, claims) = request.statement() else { panic!() };
            let mut tbs = request.tbs().to_vec();
            let at = tbs.windows(32).position(|window| window == claims.key.0).unwrap();
            tbs[at..at + 32].fill(7);
            let other = mpyc_party_authority::SigningRequest::member(*purpose, tbs).unwrap();
            key.sign(&other).unwrap()
        }),
    ];
    for (name, sign) in wrong {
        let bad = open_with(&ca(&dir), move |key, request| Ok(sign(key, request)));
        let (wanted, key) = (token(&good, name), new_key());
        let outcome = enrol(&bad, &wanted, &key);
        assert!(matches!(outcome, Err(AuthorityError::WrongSignature)), "{outcome:?}");
        assert!(good.directory(&[name.parse().unwrap()]).unwrap().is_empty());
        assert_eq!(unconfirmed(&ca(&dir)).len(), 1);
        enrol(&good, &wanted, &key).unwrap();
    }
}

#[test]
fn a_signer_is_told_what_it_signs_and_what_for() {
    let (dir, good) = authority();
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&told);
    let hearing = open_with(&ca(&dir), move |key, request| {
        hears.lock().unwrap().push(request.statement().clone());
        key.sign(request)
    });
    let first = enrol_at(&hearing, &token(&good, "alice"), &new_key(), now() - 3600).unwrap();
    let first = Claims::from_der(&first).unwrap();
    let second = Claims::from_der(&hearing.renew(&first, now()).unwrap()).unwrap();
    let own = hearing.own_credentials(&Role::Hub(1), now()).unwrap();
    let own = Claims::from_der(&own.certificate).unwrap();
    assert_eq!(own.role, Role::Hub(1));
    let expected = [
        Statement::Member(Purpose::Enrolment, first),
        Statement::Member(Purpose::Renewal, second),
        Statement::Member(Purpose::Own, own),
    ];
    assert_eq!(*told.lock().unwrap(), expected);
}

#[test]
fn a_signer_that_panics_leaves_an_authority_that_works() {
    let (dir, good) = authority();
    let armed = Arc::new(Mutex::new(true));
    let arm = Arc::clone(&armed);
    let panics = Arc::new(open_with(&ca(&dir), move |key, request| {
        assert!(!*arm.lock().unwrap_or_else(|e| e.into_inner()), "a bug in the signer");
        key.sign(request)
    }));
    let (wanted, pkcs8) = (token(&good, "alice"), generate_key().unwrap());
    let (again, key) = (wanted.clone(), common::key_pair(&pkcs8));
    let asks = Arc::clone(&panics);
    assert!(thread::spawn(move || enrol(&asks, &wanted, &key)).join().is_err());
    *armed.lock().unwrap_or_else(|e| e.into_inner()) = false;
    enrol(&panics, &again, &common::key_pair(&pkcs8)).unwrap();
}

#[test]
fn the_signer_of_another_root_is_refused() {
    let (dir, _home) = authority();
    let (other, _abroad) = authority();
    let key = std::fs::read(ca(&other).join("root.key")).unwrap();
    let signer = Box::new(LocalSigner::from_pkcs8(&key).unwrap());
    let outcome = Authority::with_signer(&ca(&dir), signer);
    assert!(matches!(outcome, Err(AuthorityError::OtherSigner)), "{outcome:?}");
}

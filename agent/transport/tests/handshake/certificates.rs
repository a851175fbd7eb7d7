//! Roots, certificates and identities by themselves, without a connection.

use mpyc_party_core::claims::{Root, RootError};
use mpyc_party_transport::{Identity, IdentityError, PeerError, verify, verify_issued};
use rcgen::IsCa;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use crate::alice;
use crate::forge::{self, Forge, root_params};

#[tokio::test]
async fn roots_of_another_shape_are_refused() {
    let mut unconstrained = root_params("example");
    unconstrained.name_constraints = None;
    assert_eq!(Root::from_der(&Forge::with(unconstrained).root), Err(RootError::Constraints));
    let mut deep = root_params("example");
    deep.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    assert_eq!(Root::from_der(&Forge::with(deep).root), Err(RootError::NotAuthority));
    let home = Forge::new("example");
    let leaf = home.sign(&alice()).certificate;
    assert_eq!(Root::from_der(&leaf), Err(RootError::NotAuthority));
    let mut damaged = home.root.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(Root::from_der(&damaged), Err(RootError::Signature));
    assert!(Root::from_der(&home.root).is_ok());
}

#[tokio::test]
async fn issued_certificates_are_told_from_others_even_after_their_time() {
    let (home, twin) = (Forge::new("example"), Forge::new("example"));
    let root = Root::from_der(&home.root).unwrap();
    let mut params = alice();
    params.not_after = OffsetDateTime::now_utc() - Duration::minutes(1);
    assert!(verify_issued(&root, &home.sign(&params).certificate).is_ok());
    let other = verify_issued(&root, &twin.sign(&params).certificate);
    assert_eq!(other, Err(PeerError::OtherAuthority));
}

#[test]
fn no_damaged_certificate_passes_or_panics() {
    let home = Forge::new("example");
    let root = Root::from_der(&home.root).unwrap();
    let proper = home.sign(&alice()).certificate;
    assert!(verify_issued(&root, &proper).is_ok());
    for at in 0..proper.len() {
        let mut damaged = proper.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(verify_issued(&root, &damaged).is_err(), "byte {at}");
        assert!(verify_issued(&root, &proper[..at]).is_err(), "cut at {at}");
    }
    for at in 0..home.root.len() {
        let mut damaged = home.root.clone();
        damaged[at] ^= 1 << (at % 8);
        // The few bytes around the signature leave room, but change nothing that is signed; and
        // the fingerprint notices every one.
        if let Ok(other) = Root::from_der(&damaged) {
            assert_ne!(other.fingerprint, root.fingerprint);
            assert_eq!((other.network, other.pool), (root.network.clone(), root.pool));
            assert_eq!((other.key, other.not_after), (root.key, root.not_after));
        }
    }
}

#[tokio::test]
async fn an_identity_is_of_one_piece_and_hides_its_key() {
    let (home, abroad) = (Forge::new("example"), Forge::new("elsewhere"));
    let forged = home.sign(&alice());
    let key = || Zeroizing::new(forged.key.serialize_der());
    let other = Zeroizing::new(forge::key().serialize_der());
    let new = |key, root: &Forge| Identity::new(forged.certificate.clone(), key, root.root.clone());
    assert!(matches!(new(other, &home), Err(IdentityError::Mismatch(_))));
    assert!(matches!(new(key(), &abroad), Err(IdentityError::Root(_))));
    let identity = new(key(), &home).unwrap();
    assert!(!format!("{identity:?}").contains("key_pair"));
    let signature = identity.sign(b"bundle");
    assert!(verify(&identity.claims().key, b"bundle", &signature));
    assert!(!verify(&identity.claims().key, b"bundlf", &signature));
}

//! What the tests of the authority share: a network, newcomers, and signers that misbehave.
#![allow(dead_code, reason = "each test file uses its part of it")]

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use mpyc_party_authority::{
    Authority, AuthorityError, EnrolmentRequest, LocalSigner, Signature, Signer, SignerError,
    SigningRequest,
};
use mpyc_party_core::claims::PublicKey;
use mpyc_party_core::name::NetworkName;
use mpyc_party_core::role::Role;
use mpyc_party_core::token::Token;
use mpyc_party_transport::{generate_key, now};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, PublicKeyData};
use rusqlite::Connection;
use tempfile::TempDir;
use zeroize::Zeroizing;

pub(crate) const EXPORTER: [u8; 32] = [7; 32];
/// Nothing here takes long; what takes longer hangs.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) fn network() -> NetworkName {
    "example".parse().unwrap()
}

pub(crate) fn party(name: &str) -> Role {
    Role::party(name.parse().unwrap()).unwrap()
}

/// The directory of an authority in `dir`.
pub(crate) fn ca(dir: &TempDir) -> PathBuf {
    dir.path().join("ca")
}

pub(crate) fn authority() -> (TempDir, Authority) {
    let dir = TempDir::new().unwrap();
    let pool = "10.64.0.0/24".parse().unwrap();
    let authority = Authority::init(&ca(&dir), &network(), Some(pool), now()).unwrap();
    (dir, authority)
}

pub(crate) fn key_pair(pkcs8: &Zeroizing<Vec<u8>>) -> KeyPair {
    KeyPair::try_from(pkcs8.as_slice()).unwrap()
}

pub(crate) fn new_key() -> KeyPair {
    key_pair(&generate_key().unwrap())
}

/// The same key for the same seed (PKCS#8 as in RFC 8410, section 7).
pub(crate) fn seeded_key(seed: [u8; 32]) -> KeyPair {
    let header = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let pkcs8 = [&header[..], &seed].concat();
    KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8.as_slice().into(), &PKCS_ED25519).unwrap()
}

pub(crate) fn token(authority: &Authority, name: &str) -> Token {
    authority.new_token(&party(name), &[], 3600, vec!["h:1".to_owned()], now()).unwrap()
}

/// A request over the connection of these tests.
pub(crate) fn asked<'a>(
    token: &'a [u8; 16],
    proof: &'a [u8; 32],
    csr: &'a [u8],
) -> EnrolmentRequest<'a> {
    EnrolmentRequest { token, proof, exporter: &EXPORTER, csr }
}

pub(crate) fn enrol_with(
    authority: &Authority,
    token: &Token,
    key: &KeyPair,
    params: &CertificateParams,
    at: u64,
) -> Result<Vec<u8>, AuthorityError> {
    let public = PublicKey(key.der_bytes().try_into().unwrap());
    let proof = token.secret.proof(&EXPORTER, &public);
    let csr = params.serialize_request(key).unwrap();
    authority.enrol(asked(&token.secret.hash().id(), &proof, csr.der()), at)
}

pub(crate) fn enrol_at(
    authority: &Authority,
    token: &Token,
    key: &KeyPair,
    at: u64,
) -> Result<Vec<u8>, AuthorityError> {
    enrol_with(authority, token, key, &CertificateParams::default(), at)
}

pub(crate) fn enrol(
    authority: &Authority,
    token: &Token,
    key: &KeyPair,
) -> Result<Vec<u8>, AuthorityError> {
    enrol_at(authority, token, key, now())
}

/// A signer that does with a request and the root's key whatever a test wants.
pub(crate) struct TestSigner<F> {
    key: LocalSigner,
    sign: F,
}

impl<F> fmt::Debug for TestSigner<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TestSigner")
    }
}

impl<F> Signer for TestSigner<F>
where
    F: Fn(&LocalSigner, &SigningRequest) -> Result<Signature, SignerError> + Send + Sync,
{
    fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }

    fn sign(&self, request: &SigningRequest) -> Result<Signature, SignerError> {
        (self.sign)(&self.key, request)
    }
}

/// The authority in `ca`, with another signer.
pub(crate) fn open_with<F>(ca: &Path, sign: F) -> Authority
where
    F: Fn(&LocalSigner, &SigningRequest) -> Result<Signature, SignerError> + Send + Sync + 'static,
{
    let key = LocalSigner::from_pkcs8(&std::fs::read(ca.join("root.key")).unwrap()).unwrap();
    Authority::with_signer(ca, Box::new(TestSigner { key, sign })).unwrap()
}

/// The serial numbers that are reserved and not confirmed, as an auditor would look for them.
pub(crate) fn unconfirmed(ca: &Path) -> Vec<Vec<u8>> {
    serials(ca, "certificate IS NULL")
}

/// All serial numbers for which `condition` holds, in order.
pub(crate) fn serials(ca: &Path, condition: &str) -> Vec<Vec<u8>> {
    let records = Connection::open(ca.join("records.sqlite")).unwrap();
    let sql = format!("SELECT serial FROM certificates WHERE {condition} ORDER BY rowid");
    let mut query = records.prepare(&sql).unwrap();
    query.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// What `work` returns; fails when it hangs or panics.
pub(crate) fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(work()));
    result.recv_timeout(TEST_TIMEOUT).unwrap()
}

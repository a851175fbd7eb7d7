//! Random schedules of reserving, signing, crashing, confirming and revoking: whatever the order, no
//! serial number, address or token is given twice, and nobody who is revoked is given anything.

use std::collections::HashMap;
use std::net::IpAddr;

use mpyc_party_core::claims::{Claims, PublicKey, Serial};
use mpyc_party_core::role::Role;
use mpyc_party_core::token::Secret;
use proptest::prelude::*;
use tempfile::TempDir;

use super::Authority;
use super::issue::{Issue, Reservation};
use crate::error::AuthorityError;
use crate::policy::Newcomer;

const NAMES: [&str; 2] = ["alice", "bob"];
const EXPORTER: [u8; 32] = [7; 32];
const START: u64 = 1_700_000_000;

/// One step of a schedule; numbers select among what is there.
#[derive(Clone, Debug)]
enum Step {
    Token {
        name: usize,
    },
    Enrol {
        token: usize,
        key: u8,
    },
    Renew {
        held: usize,
    },
    Own,
    Sign {
        reserved: usize,
    },
    Confirm {
        signed: usize,
    },
    /// The process ends: all that is not in the records is lost.
    Crash,
    Revoke {
        name: usize,
    },
    Wait {
        seconds: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let any = 0..64_usize;
    prop_oneof![
        2 => any.clone().prop_map(|name| Step::Token { name }),
        6 => (any.clone(), 0..4_u8).prop_map(|(token, key)| Step::Enrol { token, key }),
        3 => any.clone().prop_map(|held| Step::Renew { held }),
        1 => Just(Step::Own),
        8 => any.clone().prop_map(|reserved| Step::Sign { reserved }),
        8 => any.clone().prop_map(|signed| Step::Confirm { signed }),
        1 => Just(Step::Crash),
        1 => any.clone().prop_map(|name| Step::Revoke { name }),
        2 => (0..40_000_u64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// Whose an address is: of whoever spent a token, or of the hub beside the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Token(usize),
    Own,
}

/// Who asked for a certificate, and whether as a newcomer.
#[derive(Clone, Copy, Debug)]
struct Asker {
    holder: Holder,
    enrols: bool,
}

struct World {
    dir: TempDir,
    authority: Authority,
    now: u64,
    tokens: Vec<Secret>,
    reserved: Vec<(Asker, Box<Reservation>)>,
    signed: Vec<(Asker, usize, Vec<u8>)>,
    held: Vec<(Holder, Claims)>,
    // What was given, and to whom.
    serials: HashMap<Serial, Vec<u8>>,
    addresses: HashMap<IpAddr, Holder>,
    spent: HashMap<usize, (PublicKey, Option<Vec<u8>>)>,
}

/// Opens it, and saves the waiting for the disk: the machine does not crash.
fn open(dir: &TempDir) -> Authority {
    let authority = Authority::open(dir.path()).unwrap();
    authority.records.read(|c| Ok(c.pragma_update(None, "synchronous", "OFF")?)).unwrap();
    authority
}

fn pick<T>(list: &[T], number: usize) -> Option<&T> {
    list.get(number % list.len().max(1))
}

impl World {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let (network, pool) = ("example".parse().unwrap(), "10.64.0.0/24".parse().unwrap());
        Authority::init(dir.path(), &network, Some(pool), START).unwrap();
        let authority = open(&dir);
        let (tokens, reserved, signed, held) = Default::default();
        let (serials, addresses, spent) = Default::default();
        let now = START + 1;
        Self { dir, authority, now, tokens, reserved, signed, held, serials, addresses, spent }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Token { name } => {
                let role = Role::party(pick(&NAMES, name).unwrap().parse().unwrap()).unwrap();
                let hubs = vec!["h:1".to_owned()];
                let made = self.authority.new_token(&role, &[], 50_000, hubs, self.now);
                self.tokens.extend(made.map(|token| token.secret));
            }
            Step::Enrol { token, key } if !self.tokens.is_empty() => {
                self.enrol(token % self.tokens.len(), PublicKey([key + 1; 32]));
            }
            Step::Renew { held } => {
                let Some((holder, claims)) = pick(&self.held, held).cloned() else { return };
                let (authority, now) = (&self.authority, self.now);
                let issue =
                    authority.records.change(|c| authority.reserve_renewal(c, &claims, now));
                self.asked(Asker { holder, enrols: false }, issue);
            }
            Step::Own => {
                let key = PublicKey(std::array::from_fn(|i| self.now.to_be_bytes()[i % 8]));
                let (authority, now) = (&self.authority, self.now);
                let hub = Role::Hub(1);
                let issue = authority.records.change(|c| authority.reserve_own(c, &hub, key, now));
                self.asked(Asker { holder: Holder::Own, enrols: false }, issue);
            }
            Step::Sign { reserved } if !self.reserved.is_empty() => {
                let index = reserved % self.reserved.len();
                let (asker, reservation) = &self.reserved[index];
                let certificate = self.authority.sign(reservation).unwrap();
                self.signed.push((*asker, index, certificate));
            }
            Step::Confirm { signed } => {
                // What is signed stays, so that it is confirmed twice as well.
                let Some((asker, index, certificate)) = pick(&self.signed, signed).cloned() else {
                    return;
                };
                let (authority, now) = (&self.authority, self.now);
                let reservation = &self.reserved[index].1;
                let done = authority
                    .records
                    .change(|c| authority.confirm(c, reservation, certificate, now));
                if let Ok(certificate) = done {
                    self.given(asker, certificate);
                }
            }
            Step::Crash => {
                (self.reserved, self.signed) = Default::default();
                self.authority = open(&self.dir);
            }
            Step::Revoke { name } => {
                drop(self.authority.revoke(pick(&NAMES, name).unwrap(), self.now));
            }
            Step::Wait { seconds } => self.now += seconds,
            Step::Enrol { .. } | Step::Sign { .. } => {}
        }
    }

    fn enrol(&mut self, token: usize, key: PublicKey) {
        let secret = &self.tokens[token];
        let (id, proof) = (secret.hash().id(), secret.proof(&EXPORTER, &key));
        let newcomer = Newcomer { token: &id, proof: &proof, exporter: &EXPORTER, key };
        let (authority, now) = (&self.authority, self.now);
        let issue = authority.records.change(|c| authority.reserve_enrolment(c, &newcomer, now));
        if issue.is_ok() {
            let spent = self.spent.entry(token).or_insert((key, None));
            assert_eq!(spent.0, key, "a token is of use for one key alone");
        }
        self.asked(Asker { holder: Holder::Token(token), enrols: true }, issue);
    }

    fn asked(&mut self, asker: Asker, issue: Result<Issue, AuthorityError>) {
        match issue {
            Ok(Issue::Issued(certificate)) => self.given(asker, certificate),
            Ok(Issue::Reserved(reservation)) => self.reserved.push((asker, reservation)),
            Err(_) => {}
        }
    }

    /// Somebody has a certificate now.
    fn given(&mut self, Asker { holder, enrols }: Asker, certificate: Vec<u8>) {
        let claims = Claims::from_der(&certificate).unwrap();
        let revoked = self.authority.check(&claims);
        assert!(!matches!(revoked, Err(AuthorityError::Revoked(_))), "{claims:?} is revoked");
        let known = self.serials.entry(claims.serial.clone()).or_insert(certificate.clone());
        assert_eq!(*known, certificate, "a serial number is one certificate's");
        let owner = *self.addresses.entry(claims.address).or_insert(holder);
        assert_eq!(owner, holder, "an address is one member's");
        if let Holder::Token(token) = holder {
            let (key, first) = self.spent.get_mut(&token).unwrap();
            assert_eq!(claims.key, *key);
            if enrols {
                let first = first.get_or_insert_with(|| certificate.clone());
                assert_eq!(*first, certificate, "a token is one certificate's");
            }
        }
        self.held.push((holder, claims));
    }

    /// Whoever enrolled and is not revoked gets what it was given first, whatever has happened.
    fn ask_again(&mut self) {
        for (token, (key, first)) in self.spent.clone() {
            let secret = &self.tokens[token];
            let (id, proof) = (secret.hash().id(), secret.proof(&EXPORTER, &key));
            let newcomer = Newcomer { token: &id, proof: &proof, exporter: &EXPORTER, key };
            let (authority, now) = (&self.authority, self.now);
            let issue =
                authority.records.change(|c| authority.reserve_enrolment(c, &newcomer, now));
            let certificate = issue.and_then(|issue| authority.issue(issue, now));
            match (certificate, first) {
                (Ok(certificate), Some(first)) => assert_eq!(certificate, first),
                (Ok(certificate), None) => {
                    self.given(Asker { holder: Holder::Token(token), enrols: true }, certificate);
                }
                (Err(error), _) => assert!(matches!(error, AuthorityError::Revoked(_)), "{error}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn nothing_is_given_twice(steps in prop::collection::vec(step(), 10..80)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        world.ask_again();
    }
}

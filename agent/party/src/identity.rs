//! This party's identity on disk: its key, its certificate, the network's root.
//!
//! The key is made here, at enrolment, and never leaves. It is written before anything is asked of
//! the authority, so that a lost reply is answered by asking again with the same key.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mpyc_party_core::claims::{Claims, ClaimsError};
use mpyc_party_core::name::PartyName;
use mpyc_party_core::role::Role;
use mpyc_party_core::token::{Token, TokenError};
use mpyc_party_net::RequestError;
use mpyc_party_net::client::{enrolment, renewal};
use mpyc_party_transport::task::{Heartbeat, blocking};
use mpyc_party_transport::{Identity, KeyError, generate_key, now};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::config::files::{self, Content, FileError};

/// Largest file of an identity in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// Shortest time between two attempts to renew.
const MIN_RENEWAL_INTERVAL: Duration = Duration::from_secs(60);
/// Longest time until it is looked again whether the certificate is due: timers stand still while the
/// machine sleeps, and certificates do not.
const MAX_CHECK_INTERVAL: Duration = Duration::from_secs(300);

/// Why there is no identity to work with.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is none yet.
    #[error(
        "this machine is not enrolled: there is no identity in {}. Ask the holder of the authority for a token (mpyc-party ca token --name NAME --hub HOST:PORT; for a hub, --for-hub N instead of --name), then run mpyc-party enroll",
        dir.display()
    )]
    None {
        /// Where it would be.
        dir: PathBuf,
    },
    /// There is one already.
    #[error(
        "this machine is enrolled already as {role}, in {}. To enrol anew, choose another state directory or move this one away",
        dir.display()
    )]
    Already {
        /// Where it is.
        dir: PathBuf,
        /// As whom.
        role: Role,
    },
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file holds something else.
    #[error("{}: {damage}. Restore it, or move the directory away and enrol anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        damage: Damage,
    },
    /// The token is no token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The authority cannot be asked, or refuses.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// No key can be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Its certificate is not valid now.
    #[error("this machine's certificate cannot be used: {}", validity(.0))]
    Validity(ClaimsError),
    /// The certificate is for a hub or the authority.
    #[error(
        "this is the identity of {0}, not of a party: run this command with a party's state directory"
    )]
    NotAParty(Role),
}

/// What is wrong with a certificate's validity, and what to do.
fn validity(error: &ClaimsError) -> String {
    match error {
        ClaimsError::Expired { .. } => format!(
            "{error}. Check this machine's clock; a hub with the authority renews the certificate within 30 days, \
             and after that enrol anew with another token"
        ),
        error => error.to_string(),
    }
}

/// What is wrong with a file of an identity.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// It does not belong to the others.
    #[error(transparent)]
    Identity(#[from] mpyc_party_transport::IdentityError),
    /// The certificate claims nothing of use.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    /// It is not what was written there.
    #[error(transparent)]
    Text(#[from] toml::de::Error),
    /// What belongs there cannot be written.
    #[error(transparent)]
    Write(#[from] toml::ser::Error),
    /// The private key is no secret.
    #[error("others can read this private key: chmod 600 it, and enrol anew if they may have")]
    Readable,
    /// It is in another form (PEM, RFC 7468).
    #[error("holds no {}", .0.to_lowercase())]
    Label(&'static str),
}

/// A certificate that is due could not be renewed; it may be valid still.
#[derive(Debug, thiserror::Error)]
#[error("the certificate could not be renewed: {0}")]
pub struct NotRenewed(#[from] IdentityError);

/// What a party knows of its network beside its certificate.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct NetworkFile {
    hubs: Vec<String>,
}

/// The directory that holds an identity.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// The store in the state directory `state`.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self { dir: state.join("identity") }
    }

    /// Whether there is an identity. What is there and cannot be looked at is one, for whoever
    /// loads it to complain of.
    #[must_use]
    pub fn is_there(&self) -> bool {
        match files::metadata(&self.dir.join("certificate.pem")) {
            Ok(found) => found.is_some(),
            Err(error) => error.source.kind() != io::ErrorKind::PermissionDenied,
        }
    }

    /// Fails unless there is an identity; reads nothing of it.
    ///
    /// # Errors
    /// Says how to get one, or why it cannot be looked at.
    pub fn demand(&self) -> Result<(), IdentityError> {
        match files::metadata(&self.dir.join("certificate.pem"))? {
            Some(_) => Ok(()),
            None => Err(IdentityError::None { dir: self.dir.clone() }),
        }
    }

    /// Loads the identity.
    ///
    /// # Errors
    /// Where there is none, or its files are damaged or do not belong together.
    pub fn load(&self) -> Result<Identity, IdentityError> {
        self.demand()?;
        let key = self.read("key.pem", "PRIVATE KEY")?;
        let certificate = self.read("certificate.pem", "CERTIFICATE")?;
        let root = self.read("root.pem", "CERTIFICATE")?;
        Identity::new(certificate.to_vec(), key, root.to_vec())
            .map_err(|error| self.damaged("certificate.pem", error))
    }

    /// Loads the identity of a party, and its name.
    ///
    /// # Errors
    /// As [`Store::load`]; also where it is the identity of something else.
    pub fn load_party(&self) -> Result<(Identity, PartyName), IdentityError> {
        let identity = self.load()?;
        match identity.claims().party().cloned() {
            Some(name) => Ok((identity, name)),
            None => Err(IdentityError::NotAParty(identity.claims().role.clone())),
        }
    }

    /// This party's name, from its certificate alone: the key is not read.
    ///
    /// # Errors
    /// Where there is no identity, its certificate is damaged, or it is not a party's.
    pub fn party(&self) -> Result<PartyName, IdentityError> {
        let claims = self.claims()?;
        claims.party().cloned().ok_or_else(|| IdentityError::NotAParty(claims.role.clone()))
    }

    /// What the certificate claims; the key is not read.
    ///
    /// # Errors
    /// Where there is no identity, or its certificate is damaged.
    pub fn claims(&self) -> Result<Claims, IdentityError> {
        self.demand()?;
        let certificate = self.read("certificate.pem", "CERTIFICATE")?;
        Claims::from_der(&certificate).map_err(|error| self.damaged("certificate.pem", error))
    }

    /// The hubs of the token with which this party enrolled.
    ///
    /// # Errors
    /// Where the file is damaged.
    pub fn hubs(&self) -> Result<Vec<String>, IdentityError> {
        let path = self.dir.join("network.toml");
        let bytes = match files::read(&path, MAX_FILE_BYTES) {
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            read => read?,
        };
        let text = String::from_utf8_lossy(&bytes);
        let known: Result<NetworkFile, _> = toml::from_str(&text);
        known.map(|known| known.hubs).map_err(|error| self.damaged("network.toml", error))
    }

    /// The identity of a party, its name, and its hubs, read off the event loop.
    ///
    /// # Errors
    /// As [`Store::load_party`] and [`Store::hubs`].
    pub async fn load_all(&self) -> Result<(Identity, PartyName, Vec<String>), IdentityError> {
        let load = |store: Self| {
            let (identity, party) = store.load_party()?;
            Ok((identity, party, store.hubs()?))
        };
        self.off_loop(load).await
    }

    /// Does what waits for this store's files on a thread for that.
    async fn off_loop<T: Send + 'static>(
        &self,
        work: impl FnOnce(Self) -> T + Send + 'static,
    ) -> T {
        let store = self.clone();
        blocking(move || work(store)).await
    }

    /// Enrols with the token in `text`: makes the key, asks, stores the answer.
    ///
    /// # Errors
    /// Where this party is enrolled already, the token is none, or the authority refuses.
    pub async fn enrol(&self, text: &str) -> Result<Identity, IdentityError> {
        let is_free = |store: Self| match store.is_there() {
            true => {
                let role = store.load()?.claims().role.clone();
                Err(IdentityError::Already { dir: store.dir, role })
            }
            false => Ok(()),
        };
        self.off_loop(is_free).await?;
        let token = Token::from_text(text)?;
        let key = self.off_loop(|store| store.key()).await?;
        let enrolled = enrolment::request(&token, &key).await?;
        let known = NetworkFile { hubs: token.hubs.clone() };
        let keep = move |store: Self| {
            let text = toml::to_string(&known);
            let text = text.map_err(|error| store.damaged("network.toml", error))?;
            files::replace_private(&store.dir.join("network.toml"), text.as_bytes())?;
            store.write("root.pem", "CERTIFICATE", &enrolled.root)?;
            // Last, for with it the identity is there.
            store.write("certificate.pem", "CERTIFICATE", &enrolled.certificate)?;
            store.load()
        };
        self.off_loop(keep).await
    }

    /// Renews the certificate if two thirds of its life are over, and loads the new one. No other task
    /// waits for the disk.
    ///
    /// # Errors
    /// Where the authority cannot be asked or refuses; the old certificate is then still there.
    pub async fn renew_if_due(
        &self,
        hubs: &[String],
        identity: &Identity,
    ) -> Result<Option<Identity>, IdentityError> {
        if !due_in(identity).is_zero() {
            return Ok(None);
        }
        // Another process of this party may have been faster.
        if let Ok(kept) = self.off_loop(|store| store.load()).await
            && !due_in(&kept).is_zero()
        {
            return Ok(Some(kept));
        }
        let certificate = renewal::renew(hubs, identity).await?;
        let keep = move |store: Self| {
            store.write("certificate.pem", "CERTIFICATE", &certificate)?;
            store.load().map(Some)
        };
        self.off_loop(keep).await
    }

    /// The `identity`, renewed where that is due; one that cannot be renewed as it is, with why: it may
    /// be valid for hours still.
    pub async fn freshest(
        &self,
        hubs: &[String],
        identity: Identity,
    ) -> (Identity, Option<NotRenewed>) {
        match self.renew_if_due(hubs, &identity).await {
            Ok(renewed) => (renewed.unwrap_or(identity), None),
            Err(error) => (identity, Some(error.into())),
        }
    }

    /// The key, made and written first where there is none. Of two processes that enrol at once, both
    /// have the one that was first: the token is good for one key.
    fn key(&self) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
        files::private_dir(&self.dir)?;
        let path = self.dir.join("key.pem");
        if files::metadata(&path)?.is_none() {
            files::keep_private(&path, encode("PRIVATE KEY", &generate_key()?).as_bytes())?;
        }
        self.read("key.pem", "PRIVATE KEY")
    }

    fn write(&self, name: &str, label: &'static str, der: &[u8]) -> Result<(), FileError> {
        files::replace_private(&self.dir.join(name), encode(label, der).as_bytes())
    }

    fn read(&self, name: &str, label: &'static str) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
        let path = self.dir.join(name);
        let Content { bytes, metadata } = files::read_content(&path, MAX_FILE_BYTES)?;
        if label == "PRIVATE KEY" && metadata.permissions().mode() & 0o077 != 0 {
            return Err(self.damaged(name, Damage::Readable));
        }
        match pem::parse(bytes.as_slice()) {
            Ok(pem) if pem.tag() == label => Ok(Zeroizing::new(pem.into_contents())),
            _ => Err(self.damaged(name, Damage::Label(label))),
        }
    }

    fn damaged(&self, name: &str, damage: impl Into<Damage>) -> IdentityError {
        IdentityError::Damaged { path: self.dir.join(name), damage: damage.into() }
    }
}

fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(pem::encode(&pem::Pem::new(label, der)))
}

/// Checks that others accept this party's certificate now.
///
/// # Errors
/// Where it has expired, or is not valid yet.
pub fn check_validity(identity: &Identity) -> Result<(), IdentityError> {
    identity.claims().check_validity(now()).map_err(IdentityError::Validity)
}

/// How long until two thirds of the certificate's life are over.
#[must_use]
pub fn due_in(identity: &Identity) -> Duration {
    Duration::from_secs(identity.claims().renewal_due().saturating_sub(now()))
}

/// How long until it is looked whether a certificate is due that should be `in_time`.
fn next_check(in_time: Duration) -> Duration {
    in_time.clamp(MIN_RENEWAL_INTERVAL, MAX_CHECK_INTERVAL)
}

/// The `identity` as it is renewed, and what renews it: nothing is, unless that is run.
#[must_use]
pub fn keep_fresh(
    store: Store,
    hubs: Vec<String>,
    identity: Identity,
) -> (watch::Receiver<Identity>, Renewal) {
    let (identity, receiver) = watch::channel(identity);
    (receiver, Renewal { store, hubs, identity })
}

/// Renews a certificate whenever that is due.
#[derive(Debug)]
pub struct Renewal {
    store: Store,
    hubs: Vec<String>,
    identity: watch::Sender<Identity>,
}

impl Renewal {
    /// The name of the task that [runs](Self::run) it.
    pub const TASK: &str = "certificate renewal";

    /// Renews for as long as somebody listens.
    pub async fn run(self, mut heartbeat: Heartbeat) {
        loop {
            let current = self.identity.borrow().clone();
            let pause = tokio::time::sleep(next_check(due_in(&current)));
            tokio::select! {
                () = heartbeat.during(pause) => {}
                () = self.identity.closed() => return,
            }
            // Hubs are asked one after the other, and each may take its time.
            let renewed = self.store.renew_if_due(&self.hubs, &current);
            match heartbeat.during(renewed).await {
                Ok(Some(renewed)) => {
                    self.identity.send_replace(renewed);
                }
                Ok(None) => {}
                Err(error) => log::warn!("{}", NotRenewed(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::thread;

    #[test]
    fn a_machine_that_slept_looks_soon_and_a_failure_is_not_repeated_at_once() {
        assert_eq!(next_check(Duration::from_secs(16 * 3600)), MAX_CHECK_INTERVAL);
        assert_eq!(next_check(Duration::from_secs(90)), Duration::from_secs(90));
        assert_eq!(next_check(Duration::ZERO), MIN_RENEWAL_INTERVAL);
    }

    #[test]
    fn all_who_make_a_key_at_once_have_the_same() {
        const PROCESSES: usize = 8;
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let (store, start) = (Store::new(dir.path()), Barrier::new(PROCESSES));
            let make = || {
                start.wait();
                store.key().unwrap().to_vec()
            };
            let keys: Vec<Vec<u8>> = thread::scope(|scope| {
                let all: Vec<_> = (0..PROCESSES).map(|_| scope.spawn(make)).collect();
                all.into_iter().map(|one| one.join().unwrap()).collect()
            });
            let kept = store.key().unwrap().to_vec();
            assert!(keys.iter().all(|key| *key == kept));
        }
    }
}

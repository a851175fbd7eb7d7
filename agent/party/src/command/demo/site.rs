//! The directories of a demo: one below the state directory for the hub and each party.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use mpyc_party_authority::Authority;
use mpyc_party_core::name::{NetworkName, PartyName, SessionName};
use mpyc_party_core::roster::Roster;
use mpyc_party_transport::now;
use rustix::fs::{FlockOperation, flock};

use super::super::output;
use super::Demo;
use crate::config::files::{self, at};
use crate::config::{Config, ConfigError, Directories, Listen, Session};

/// The names that the field gives its parties; further ones get the letter that is next.
const NAMES: [&str; 26] = [
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "kim",
    "leo", "mallory", "niaj", "olivia", "peggy", "quinn", "rupert", "sybil", "trent", "uma",
    "victor", "walter", "xena", "yves", "zoe",
];
/// The program where none is named.
const SECRET_SANTA: &str = include_str!("../../../../../programs/secret_santa.py");

/// Where a demo takes place. One at a time in a state directory.
#[derive(Debug)]
pub(super) struct Site {
    dir: PathBuf,
    session: SessionName,
    parties: Vec<PartyName>,
    _lock: File,
}

impl Site {
    /// Makes the directories anew and writes every party's configuration.
    pub(super) fn make(dirs: &Directories, config: &Config, demo: &Demo) -> anyhow::Result<Self> {
        let dir = std::path::absolute(dirs.state.join("demo"))?;
        files::private_dir(&dir)?;
        let path = dir.join("lock");
        let lock = at(&path, File::create(&path))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!(
                "another demo is running in {}: wait for its end, or name another state directory with --state",
                dir.display()
            );
        }
        for entry in files::list(&dir)?.into_iter().filter(|entry| entry != "lock") {
            let old = dir.join(entry);
            at(&old, if old.is_dir() { fs::remove_dir_all(&old) } else { fs::remove_file(&old) })?;
        }
        let parties: Result<Vec<PartyName>, _> =
            NAMES[..usize::from(demo.parties)].iter().map(|name| name.parse()).collect();
        let site = Self { dir, session: "demo".parse()?, parties: parties?, _lock: lock };
        let network: NetworkName = "demo".parse()?;
        Authority::init(&site.of("hub").join("ca"), &network, None, now())?;
        site.configure(config, demo)?;
        Ok(site)
    }

    fn configure(&self, config: &Config, demo: &Demo) -> anyhow::Result<()> {
        let program = match &demo.program {
            Some(program) => usable(program)?,
            None => {
                let path = self.dir.join("secret_santa.py");
                files::replace_private(&path, SECRET_SANTA.as_bytes())?;
                path
            }
        };
        let mut session = Session::new(program, Roster::try_from(self.parties.clone())?);
        session.arguments.clone_from(&demo.arguments);
        session.options.clone_from(&demo.options);
        session.files =
            demo.files.iter().map(|file| usable(file)).collect::<anyhow::Result<_>>()?;
        session.threshold = demo.threshold;
        if session.threshold() == 0 {
            output::warn(
                "with threshold 0 every party could learn every input: fit for a demo only",
            );
            session.allow_no_privacy = true;
        }
        session.check().map_err(ConfigError::Settings)?;
        let mut own = Config { listen: Listen { port: 0 }, ..Config::default() };
        own.python.clone_from(&config.python);
        // All are on this machine, which nobody else needs to know.
        own.network.local_discovery = false;
        own.sessions.insert(self.session.clone(), session);
        let text = own.to_toml()?;
        for party in &self.parties {
            files::private_dir(&self.of(party.as_str()))?;
            files::replace_private(&self.config_of(party), text.as_bytes())?;
        }
        Ok(())
    }

    /// The session of the demo.
    pub(super) fn session(&self) -> &SessionName {
        &self.session
    }

    /// The parties in roster order.
    pub(super) fn parties(&self) -> &[PartyName] {
        &self.parties
    }

    /// The directory that holds everything.
    pub(super) fn directory(&self) -> &Path {
        &self.dir
    }

    /// The state directory of the hub or a party.
    pub(super) fn of(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The configuration of `party`.
    pub(super) fn config_of(&self, party: &PartyName) -> PathBuf {
        self.of(party.as_str()).join("config.toml")
    }
}

/// The file, wherever a party that reads its configuration starts.
fn usable(file: &Path) -> anyhow::Result<PathBuf> {
    file.canonicalize().with_context(|| format!("{} cannot be used", file.display()))
}

//! The configuration: one TOML file, unknown keys refused, every default here and nowhere else.

mod agent;
pub mod bounded;
mod directories;
mod expose;
pub mod files;
pub mod options;
mod ownership;
mod places;
pub mod runtime;
mod sections;
mod session;
pub mod stop;
pub mod writers;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use mpyc_party_core::claims::PublicKey;
use mpyc_party_core::name::{PartyName, PortName, SessionName};
use mpyc_party_core::relay;
use mpyc_party_net::Stack;
use mpyc_party_net::discovery::Sources;
use serde::{Deserialize, Serialize};

use files::FileError;

pub use agent::{Agent, AgentSettingsError, Bus};
pub use directories::Directories;
pub use expose::{Expose, ExposeError, rules};
pub use places::PlaceError;
pub use sections::{BrokenSession, SectionError};
pub use session::{Demand, PythonVersionError, Session, SettingsError, Start, same_key};

/// Largest configuration in bytes.
const MAX_CONFIG_BYTES: u64 = 16 << 20;
/// The port of hubs and parties where none is configured.
pub const DEFAULT_PORT: u16 = 4747;

/// What a party (or a hub) is told by the one who runs it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Config {
    /// The network this party is in.
    pub network: Network,
    /// Where this party accepts connections.
    pub listen: Listen,
    /// What is known of other parties without asking a hub.
    pub peers: BTreeMap<PartyName, Peer>,
    /// The Python that runs MPyC.
    pub python: Python,
    /// The sessions this party takes part in.
    pub sessions: BTreeMap<SessionName, Session>,
    /// The sections of sessions that cannot be used, by name. They concern nothing else.
    #[serde(skip)]
    pub broken: BTreeMap<String, BrokenSession>,
    /// Where this machine serves as a hub.
    pub hub: Hub,
    /// The agent.
    pub agent: Agent,
    /// Ports of this machine that some other parties may connect to.
    pub expose: BTreeMap<PortName, Expose>,
}

/// The network.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Network {
    /// Hubs as «host:port»; those of the enrolment token where none is given.
    pub hubs: Vec<String>,
    /// Whether parties in the same local network find each other without a hub. It shows everybody
    /// there that mpyc-party runs on this machine, while it does, and nothing else.
    pub local_discovery: bool,
}

impl Default for Network {
    fn default() -> Self {
        Self { hubs: Vec::new(), local_discovery: true }
    }
}

/// Where a party accepts connections.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Listen {
    /// TCP port; 0 takes any free one. A port already taken by another session of this party is
    /// no error: any free one is taken, and announced.
    pub port: u16,
}

impl Default for Listen {
    fn default() -> Self {
        Self { port: DEFAULT_PORT }
    }
}

/// What is known of another party.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Peer {
    /// Where it may be reached, as «host:port», or «kind address» for another kind of path than TCP:
    /// a candidate like those that a hub tells.
    pub address: Option<String>,
    /// Its public key. Only a certificate for this key is then accepted as this party.
    pub key: Option<PublicKey>,
}

/// The Python that runs MPyC.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Python {
    /// An interpreter that can import mpyc; without one, a private environment is made.
    pub interpreter: Option<PathBuf>,
}

/// A hub's settings.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Hub {
    /// Address and port to serve on, over TCP and over UDP.
    pub listen: std::net::SocketAddr,
    /// Bytes per second that the relay forwards for all parties together; a little less than what
    /// the line carries, so that it is this hub that divides it among them, fairly, and not the
    /// line. No ceiling where there is none.
    pub relay_rate: Option<NonZeroU64>,
    /// Relayed connections that one party may have at once.
    pub relay_pairs: usize,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            listen: (std::net::Ipv6Addr::UNSPECIFIED, DEFAULT_PORT).into(),
            relay_rate: None,
            relay_pairs: relay::Limits::default().per_party,
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration {} cannot be read: {source}{}", path.display(), advice(source))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not TOML, or not this configuration.
    #[error("the configuration {} has an error: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, column and what is wrong there.
        source: toml::de::Error,
    },
    /// No hub or peer can be where it is said to be.
    #[error("{key} in {}: {source}", path.display())]
    Place {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is wrong, and what to do.
        source: PlaceError,
    },
    /// Some sessions cannot be run as they are declared.
    #[error(
        "the configuration {} has {}:\n{}",
        path.display(),
        match problems.len() { 1 => "an error".to_owned(), many => format!("{many} errors") },
        problems.join("\n")
    )]
    Sessions {
        /// The file.
        path: PathBuf,
        /// What is wrong, each with its session.
        problems: Vec<String>,
    },
    /// The values of a session that no file declares do not go together.
    #[error(transparent)]
    Settings(SettingsError),
    /// The agent's values cannot be used.
    #[error("[agent] in {}: {source}", path.display())]
    Agent {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        source: AgentSettingsError,
    },
    /// A port cannot be exposed like that.
    #[error("[expose.{name}] in {}: {source}", path.display())]
    Expose {
        /// The file.
        path: PathBuf,
        /// The port's name.
        name: PortName,
        /// What is wrong, and what to do.
        source: ExposeError,
    },
    /// There is nothing to expose.
    #[error("nothing is exposed: the configuration has no section [expose.NAME]")]
    NothingExposed,
    /// None was named, and there is none where it is looked for.
    #[error("there is no configuration to check: name a file. Without one, every default holds")]
    Nothing,
    /// Root would make files in a directory of another user, who could then not use them.
    #[error(
        "{} is for user {owner}, to whom {} belongs, and what root makes there that user cannot use: run this as that user (sudo -u '#{owner}' mpyc-party …), {}",
        directory.display(), place.display(), own_directory(directory, place, choice)
    )]
    OfAnother {
        /// Where something would be made.
        directory: PathBuf,
        /// That directory, or the nearest above it that is there.
        place: PathBuf,
        /// Whose it is.
        owner: u32,
        /// How to choose another directory.
        choice: &'static str,
    },
    /// No directory for state or cache can be found.
    #[error("no {what} directory: set {variable}, or give --state DIR")]
    NoDirectory {
        /// What it would hold.
        what: &'static str,
        /// The environment variable that would lead to it.
        variable: &'static str,
    },
}

/// What root may do instead. Where `directory` is not there yet, `place` may be a whole home, and that is not
/// for root to take.
fn own_directory(directory: &Path, place: &Path, choice: &str) -> String {
    match directory == place {
        true => {
            let place = place.display();
            format!(
                "choose another directory ({choice}), or give this one to root (chown -R root {place})"
            )
        }
        false => format!("or choose another directory ({choice})"),
    }
}

/// What helps against `error` with the configuration.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        // A link that leads nowhere has advice of its own.
        ErrorKind::NotFound if error.raw_os_error().is_some() => {
            " (put the file there, or name another one with --config FILE)"
        }
        ErrorKind::PermissionDenied => {
            " (let this user read it, or name another one with --config FILE)"
        }
        ErrorKind::InvalidData => " (save it as UTF-8)",
        _ => "",
    }
}

impl Config {
    /// Reads and checks the file at `path`. Relative paths in it are relative to its directory. A session
    /// with an error is among the [broken](Self::broken) ones.
    ///
    /// # Errors
    /// A file that cannot be read, parsed, or whose values outside of sessions do not go together.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(path, files::read(path, MAX_CONFIG_BYTES))
    }

    /// The same for a file that was named on the command line, which may be a pipe.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_named(path: &Path) -> Result<Self, ConfigError> {
        let read = files::read_named(path, MAX_CONFIG_BYTES);
        Self::parse(path, read.map(|content| content.bytes.to_vec()))
    }

    fn parse(path: &Path, read: Result<Vec<u8>, FileError>) -> Result<Self, ConfigError> {
        let text = read.map_err(|error| error.source).and_then(|bytes| {
            String::from_utf8(bytes).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
        });
        let text = text.map_err(|source| ConfigError::Read { path: path.into(), source })?;
        let (mut config, broken) = sections::parse(&text)
            .map_err(|source| ConfigError::Parse { path: path.into(), source })?;
        let base = path.parent().unwrap_or(Path::new("."));
        if let Some(interpreter) = &mut config.python.interpreter {
            *interpreter = base.join(&interpreter);
        }
        let place = |(key, source)| ConfigError::Place { path: path.into(), key, source };
        places::check(&config, &Stack::default()).map_err(place)?;
        config.agent.check().map_err(|source| ConfigError::Agent { path: path.into(), source })?;
        expose::check_all(&config.expose).map_err(|(name, source)| ConfigError::Expose {
            path: path.into(),
            name,
            source,
        })?;
        config.judge_sessions(path, broken);
        Ok(config)
    }

    /// Checks what only a process with this `stack` can judge of the configuration that was read from
    /// `path`.
    ///
    /// # Errors
    /// An address of a kind that is not there, or that its kind refuses.
    pub fn check_for(&self, stack: &Stack, path: &Path) -> Result<(), ConfigError> {
        places::check(self, stack)
            .and_then(|()| places::check_kinds(self, stack))
            .map_err(|(key, source)| ConfigError::Place { path: path.into(), key, source })
    }

    /// The hubs to ask: those configured, else `enrolled`, those of the enrolment token.
    #[must_use]
    pub fn hubs(&self, enrolled: Vec<String>) -> Vec<String> {
        if self.network.hubs.is_empty() { enrolled } else { self.network.hubs.clone() }
    }

    /// Where other parties are looked for: at `hubs`, and by what is configured.
    #[must_use]
    pub fn sources(&self, hubs: Vec<String>) -> Sources {
        let address =
            |(name, peer): (&PartyName, &Peer)| Some((name.clone(), peer.address.clone()?));
        let addresses = self.peers.iter().filter_map(address).collect();
        Sources { hubs, addresses, local: self.network.local_discovery }
    }

    /// The configuration as TOML, including the defaults.
    ///
    /// # Errors
    /// None is known: every value here has a form in TOML.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string_pretty(self)
    }
}

#[cfg(test)]
mod tests;

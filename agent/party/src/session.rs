//! A declared session, made ready to be compared: its definition found (in the configuration, or
//! imported from a bundle), its files copied.

pub mod bundle;
pub mod changes;
pub mod code;
pub mod consent;
mod copy;
pub mod imported;
pub mod proposal;
pub mod record;
pub mod run_counter;
pub mod run_name;
pub mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use mpyc_party_core::claims::PublicKey;
use mpyc_party_core::component::Part;
use mpyc_party_core::label::Label;
use mpyc_party_core::name::{PartyName, SessionName};
use mpyc_party_core::roster::{PeerIndex, Roster};

use crate::config::files::{self, FileError};
use crate::config::{BrokenSession, Config, Directories, Session, SettingsError};

pub use copy::{Copied, MAX_FILE_BYTES, copy};

/// Why a session cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Nothing of that name is declared.
    #[error(
        "there is no session «{name}» here. Declared: {}. Add one with mpyc-party session import FILE, or as [sessions.{name}] in the configuration",
        words::names_or_none(declared)
    )]
    Unknown {
        /// What was asked for.
        name: SessionName,
        /// What there is.
        declared: Vec<SessionName>,
    },
    /// This party is not in the roster.
    #[error(
        "this party is «{party}», who is not among the parties of session «{name}»: {}",
        words::names(roster.as_slice())
    )]
    NotInRoster {
        /// The session.
        name: SessionName,
        /// This party.
        party: PartyName,
        /// Who is.
        roster: Roster,
    },
    /// Its section in the configuration cannot be used.
    #[error(transparent)]
    Broken(#[from] Box<BrokenSession>),
    /// The imported definition is damaged.
    #[error("{}: {source}. Import the session again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: DefinitionError,
    },
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The program, or a file beside it, cannot be read.
    #[error("the {role} {source}")]
    Unreadable {
        /// Which of them it is.
        role: &'static str,
        /// Why.
        source: FileError,
    },
    /// A file would not run as it reads.
    #[error(transparent)]
    Code(#[from] code::CodeError),
}

/// Why a definition that was stored cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// It is none.
    #[error(transparent)]
    Text(#[from] toml::de::Error),
    /// Its values do not go together.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// A declared session with its name.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Its name, the same at all parties.
    pub name: SessionName,
    /// What is declared.
    pub settings: Session,
    /// Whether it came in a bundle (and not in the configuration).
    pub imported: bool,
}

/// The names of all sessions that are declared here.
///
/// # Errors
/// Where the imported ones cannot be listed.
pub fn names(config: &Config, dirs: &Directories) -> Result<BTreeSet<SessionName>, SessionError> {
    let imported = imported::names(dirs)?;
    let broken = config.broken.keys().filter_map(|name| name.parse().ok());
    Ok(config.sessions.keys().cloned().chain(broken).chain(imported).collect())
}

/// Sessions by name, each with its definition or why it cannot be used.
pub type Declared = BTreeMap<String, Result<Definition, SessionError>>;

/// All sessions that are declared here. A section of the configuration that no session can be called is
/// among them.
///
/// # Errors
/// Where the imported ones cannot be listed.
pub fn all(config: &Config, dirs: &Directories) -> Result<Declared, SessionError> {
    let names = names(config, dirs)?.into_iter();
    let found = names.map(|name| (name.to_string(), find(config, dirs, &name)));
    let explain = |why: &BrokenSession| Err(Box::new(why.clone()).into());
    let broken = config.broken.iter().map(|(name, why)| (name.clone(), explain(why)));
    Ok(found.chain(broken).collect())
}

/// The session called `name`: the one in the configuration, else the imported one.
///
/// # Errors
/// Where there is none, or what is declared cannot be used.
pub fn find(
    config: &Config,
    dirs: &Directories,
    name: &SessionName,
) -> Result<Definition, SessionError> {
    if let Some(settings) = config.sessions.get(name) {
        return Ok(Definition { name: name.clone(), settings: settings.clone(), imported: false });
    }
    if let Some(why) = config.broken.get(name.as_str()) {
        return Err(Box::new(why.clone()).into());
    }
    if files::is_dir(&imported::directory(dirs, name))? {
        let settings = imported::load(dirs, name)?;
        return Ok(Definition { name: name.clone(), settings, imported: true });
    }
    Err(unknown(config, dirs, name)?)
}

/// What `settings` name that cannot be read, each with its role: the program, a file beside it, or the
/// input.
#[must_use]
pub fn unreadable(settings: &Session) -> Vec<(&'static str, FileError)> {
    let files = settings.files.iter().map(|file| ("file", file));
    let input = settings.input.iter().map(|input| ("input", input));
    let paths = [("program", &settings.program)].into_iter().chain(files).chain(input);
    paths.filter_map(|(role, path)| Some((role, files::open(path).err()?))).collect()
}

/// Why there is nothing to do with a session of this name.
///
/// # Errors
/// Where the imported sessions cannot be listed.
pub fn unknown(
    config: &Config,
    dirs: &Directories,
    name: &SessionName,
) -> Result<SessionError, SessionError> {
    let declared = names(config, dirs)?.into_iter().collect();
    Ok(SessionError::Unknown { name: name.clone(), declared })
}

impl Definition {
    /// The roster index of `party`.
    ///
    /// # Errors
    /// Where it is not in the roster.
    pub fn index_of(&self, party: &PartyName) -> Result<PeerIndex, SessionError> {
        let parties = &self.settings.parties;
        parties.index_of(party).ok_or_else(|| SessionError::NotInRoster {
            name: self.name.clone(),
            party: party.clone(),
            roster: parties.clone(),
        })
    }

    /// The keys that the parties must have, in roster order: those of the configuration's peers
    /// come before those of the session.
    #[must_use]
    pub fn pins(&self, config: &Config) -> Vec<Option<PublicKey>> {
        let of_peer = |name| config.peers.get(name).and_then(|peer| peer.key);
        let pin = |name| of_peer(name).or_else(|| self.settings.keys.get(name).copied());
        self.settings.parties.iter().map(pin).collect()
    }

    /// What must be the same at every party, whatever computes.
    #[must_use]
    pub fn parts(&self, copied: &Copied) -> Vec<Part> {
        let settings = &self.settings;
        let parties = settings.parties.iter().map(PartyName::as_str);
        let names = [self.name.as_str()].into_iter().chain(parties);
        let arguments = settings.arguments.iter();
        vec![
            (Label::ROSTER, names.map(|name| name.as_bytes().to_vec()).collect()),
            (Label::PROGRAM, copied.program.clone()),
            (Label::FILES, copied.files.concat()),
            (Label::ARGUMENTS, arguments.map(|text| text.clone().into_bytes()).collect()),
            (Label::THRESHOLD, vec![settings.threshold().to_string().into_bytes()]),
        ]
    }
}

//! The text of a configuration, in its sections: an error in the section of one session concerns that
//! session, an error anywhere else the whole file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mpyc_party_core::name::{NameError, SessionName};
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, Error, ValueDeserializer};

use super::{Config, Session, SettingsError};

/// The most sections with errors that are told with their lines: each of these errors holds a copy of the text.
const MAX_QUOTED: usize = 32;
/// The table that holds a section for each session.
const SESSIONS: &str = "sessions";

/// Why the section of one session cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("[{SESSIONS}.{name}] in {}: {source}", path.display())]
pub struct BrokenSession {
    /// The configuration.
    pub path: PathBuf,
    /// What the section calls the session, which may be no name.
    pub name: String,
    /// What is wrong, and what to do.
    pub source: SectionError,
}

/// What is wrong with the section of a session.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SectionError {
    /// No session can be called that.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A key or a value is not what it should be: line, column and what is wrong there.
    #[error(transparent)]
    Text(#[from] Error),
    /// Its values do not go together.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// Sections of sessions by name, with what is wrong with them.
type Broken = BTreeMap<String, SectionError>;

/// Reads `text`; what is wrong with a session's section is told beside the rest.
///
/// # Errors
/// Where it is not TOML, or another section has an error.
pub(super) fn parse(text: &str) -> Result<(Config, Broken), Error> {
    let with_position = |mut error: Error| {
        error.set_input(Some(text));
        error
    };
    let mut table = DeTable::parse(text)?;
    let sections = take_sessions(table.get_mut());
    let mut config = Config::deserialize(Deserializer::from(table)).map_err(with_position)?;
    let mut broken = Broken::new();
    for (name, section) in sections.into_iter().flatten() {
        let session = Session::deserialize(ValueDeserializer::from(section));
        let quoted = broken.len() < MAX_QUOTED;
        let quote = |error| if quoted { with_position(error) } else { error };
        let session = session.map_err(|error| SectionError::Text(quote(error)));
        let read = session.and_then(|session| Ok((name.get_ref().parse()?, session)));
        match read {
            Ok((name, session)) => {
                config.sessions.insert(name, session);
            }
            Err(error) => {
                broken.insert(name.into_inner().into_owned(), error);
            }
        }
    }
    Ok((config, broken))
}

/// Takes the sections of sessions out of `table`. What is no table stays, for serde to refuse.
fn take_sessions<'i>(table: &mut DeTable<'i>) -> Option<DeTable<'i>> {
    let is_table = |value: &Spanned<DeValue<'_>>| matches!(value.get_ref(), DeValue::Table(_));
    table.get(SESSIONS).filter(|value| is_table(value))?;
    match table.remove(SESSIONS)?.into_inner() {
        DeValue::Table(sections) => Some(sections),
        _ => None,
    }
}

impl Config {
    /// Makes the paths of all sessions relative to the directory of the configuration at `path`, and
    /// sets aside those that are `broken` or whose values do not go together.
    pub(super) fn judge_sessions(&mut self, path: &Path, mut broken: Broken) {
        let base = path.parent().unwrap_or(Path::new("."));
        let known = |party: &_| self.peers.get(party).and_then(|peer| peer.key);
        self.sessions.retain(|name, session| {
            session.resolve(base);
            let checked = session.check().and_then(|()| session.check_keys(known));
            let problem = checked.err().map(|error| broken.insert(name.to_string(), error.into()));
            problem.is_none()
        });
        let explain = |(name, source): (String, _)| {
            let path = path.to_owned();
            (name.clone(), BrokenSession { path, name, source })
        };
        self.broken = broken.into_iter().map(explain).collect();
    }

    /// Whether there is a section for the session `name`, in order or not.
    #[must_use]
    pub fn declares(&self, name: &SessionName) -> bool {
        self.sessions.contains_key(name) || self.broken.contains_key(name.as_str())
    }
}

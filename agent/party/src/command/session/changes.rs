//! What a bundle would change of the session of the same name that is here.

use std::path::{Path, PathBuf};

use mpyc_party_core::name::SessionName;
use mpyc_party_transport::Identity;

use super::super::style::{BAD, GOOD};
use crate::config::Directories;
use crate::session::bundle::Opened;
use crate::session::changes::{self, ChangedCode, LineChange};
use crate::session::consent::text::line_in_rows;
use crate::session::imported;
use crate::session::words::visible;

/// What would change.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// What of the session, each as a person would say it.
    pub(super) session: Vec<String>,
    /// What of this party's own input.
    pub(super) input: Option<String>,
    /// The lines of code.
    pub(super) code: Vec<ChangedCode>,
}

impl Changes {
    /// What `opened` with this `input` changes of the imported session of its name.
    pub(super) fn of(
        dirs: &Directories,
        identity: &Identity,
        opened: &Opened,
        input: Option<&Path>,
    ) -> Self {
        let name = &opened.bundle.session;
        let (session, code) = match imported::origin(dirs, name, identity.root()) {
            Ok(current) => {
                let mut session = current.differences(opened);
                session.extend(edited(dirs, name, &current));
                (session, changes::lines(&current, opened))
            }
            Err(error) => {
                let unknown = format!("everything (the one here cannot be read: {error})");
                (vec![unknown], Vec::new())
            }
        };
        let input =
            (!session.is_empty() || input.is_some()).then(|| of_input(dirs, name, input)).flatten();
        Self { session, input, code }
    }

    /// Each of them, for people and scripts.
    pub(super) fn all(&self) -> Vec<String> {
        self.session.iter().chain(&self.input).cloned().collect()
    }

    /// The lines of code that change, as in a unified diff; in rows of at most `columns`.
    pub(super) fn code_in_rows(&self, columns: usize) -> String {
        self.code.iter().map(|code| in_rows(code, columns)).collect()
    }
}

/// What was edited here since the import, and would be as it was signed again.
fn edited(dirs: &Directories, name: &SessionName, signed: &Opened) -> Vec<String> {
    match imported::load(dirs, name) {
        Ok(settings) => {
            let all = imported::edited(&settings, signed).into_iter();
            all.map(|what| format!("{what} (edited here since the import)")).collect()
        }
        Err(error) => vec![format!("the definition (the one here cannot be read: {error})")],
    }
}

fn of_input(dirs: &Directories, name: &SessionName, new: Option<&Path>) -> Option<String> {
    // A definition that cannot be read has none.
    let old = imported::load(dirs, name).ok().and_then(|settings| settings.input);
    let new = new.and_then(|path| std::path::absolute(path).ok());
    let shown = |path: &Option<PathBuf>| match path {
        Some(path) => visible(&path.display().to_string()),
        None => "no file".to_owned(),
    };
    (old != new).then(|| format!("your input ({}, now {})", shown(&old), shown(&new)))
}

fn in_rows(code: &ChangedCode, columns: usize) -> String {
    let mut text = line_in_rows("", &format!("What changes in {}", code.name), columns);
    for part in &code.parts {
        let begin = part.first().map_or(1, |line| line.number);
        text += &format!("  from line {begin}\n");
        for line in part {
            let (mark, style) = match line.change {
                LineChange::Removed => ("  - ", BAD),
                LineChange::Added => ("  + ", GOOD),
                LineChange::Same => ("    ", anstyle::Style::new()),
            };
            for row in line_in_rows(mark, &line.text, columns).lines() {
                text += &format!("{style}{row}{style:#}\n");
            }
        }
    }
    text + "\n"
}

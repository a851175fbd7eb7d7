//! A session as tests declare it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::LabError;

/// A declaration of a session; every party gets one, and tests change what they are about.
#[derive(Clone, Debug)]
pub struct Session {
    pub(super) name: String,
    program: (String, String),
    files: BTreeMap<String, String>,
    input: Option<String>,
    values: BTreeMap<String, String>,
}

impl Session {
    /// A session called `name` that runs the Python text `program`. It is impatient: 30 s to the
    /// deadline, 5 s of grace. MPyC is told to do without numpy, which takes long to import.
    #[must_use]
    pub fn new(name: &str, program: &str) -> Self {
        let session = Self {
            name: name.into(),
            program: ("program.py".into(), program.into()),
            files: BTreeMap::new(),
            input: None,
            values: BTreeMap::new(),
        };
        let session = session.deadline(Duration::from_secs(30)).grace(Duration::from_secs(5));
        session.set("options", r#"["--no-numpy"]"#)
    }

    /// Sets the key `key` of the declaration to `value`, written as TOML.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.values.insert(key.into(), value.into());
        self
    }

    /// Takes a key out of the declaration.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.values.remove(key);
        self
    }

    /// Who takes part, in this order.
    #[must_use]
    pub fn parties(self, names: &[&str]) -> Self {
        self.set("parties", &format!("{names:?}"))
    }

    /// Another program text.
    #[must_use]
    pub fn program(mut self, text: &str) -> Self {
        self.program.1 = text.into();
        self
    }

    /// How long to wait for all parties.
    #[must_use]
    pub fn deadline(self, time: Duration) -> Self {
        self.set("deadline", &format!("\"{}ms\"", time.as_millis()))
    }

    /// How long an outage may last; at least a second.
    #[must_use]
    pub fn grace(self, time: Duration) -> Self {
        self.set("grace", &format!("\"{}ms\"", time.as_millis()))
    }

    /// One more file that the program reads.
    #[must_use]
    pub fn file(mut self, name: &str, content: &str) -> Self {
        self.files.insert(name.into(), content.into());
        self
    }

    /// The private input.
    #[must_use]
    pub fn input(mut self, content: &str) -> Self {
        self.input = Some(content.into());
        self
    }

    /// Writes the session's files below `dir` and returns its part of the configuration.
    pub(super) fn write(&self, dir: &Path) -> Result<String, LabError> {
        let dir = dir.join(&self.name);
        let cannot = || LabError::io(format!("cannot write the session in {}", dir.display()));
        fs::create_dir_all(&dir).map_err(cannot())?;
        let write = |name: &str, content: &str| {
            let path = dir.join(name);
            fs::write(&path, content).map_err(cannot())?;
            Ok::<_, LabError>(path)
        };
        let mut values = self.values.clone();
        let program = write(&self.program.0, &self.program.1)?;
        values.insert("program".into(), format!("{program:?}"));
        let files: Result<Vec<_>, _> = self.files.iter().map(|(n, c)| write(n, c)).collect();
        values.insert("files".into(), format!("{:?}", files?));
        if let Some(input) = &self.input {
            values.insert("input".into(), format!("{:?}", write("private-input", input)?));
        }
        let mut text = format!("[sessions.{}]\n", self.name);
        for (key, value) in values {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{key} = {value}");
        }
        Ok(text)
    }
}

//! Programs and bundles that try to show one thing and do another: each is refused, or shown as what
//! it is. The corpus goes to the real binary twice, in bundles made by hand and as files of a session
//! that is exported. The last tests run what was shown. Needs `python3` with its venv module, or
//! `MPYC_PARTY_TEST_PYTHON`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod network;

#[path = "deception/asking.rs"]
mod asking;
#[path = "deception/bundles.rs"]
mod bundles;
#[path = "deception/code.rs"]
mod code;
#[path = "deception/files.rs"]
mod files;
#[path = "deception/rows.rs"]
mod rows;
#[path = "deception/running.rs"]
mod running;
#[path = "deception/text.rs"]
mod text;
#[path = "deception/truth.rs"]
mod truth;

/// One attempt.
pub(crate) struct Case {
    /// What it tries.
    pub(crate) tries: &'static str,
    pub(crate) program: (&'static str, Vec<u8>),
    pub(crate) files: Vec<(&'static str, Vec<u8>)>,
    pub(crate) arguments: Vec<&'static str>,
    pub(crate) outcome: Outcome,
}

/// What becomes of it.
pub(crate) enum Outcome {
    /// Nothing is added, and this is said.
    Refused(&'static str),
    /// All of these are shown, and none of the characters that would hide them.
    Shown(Vec<String>),
}

/// A program in plain sight.
pub(crate) const PLAIN: &[u8] = b"import helper\nprint(helper.share())\n";

impl Case {
    /// A program with these bytes.
    pub(crate) fn program(tries: &'static str, program: impl AsRef<[u8]>) -> Self {
        let program = ("p.py", program.as_ref().to_vec());
        let (files, arguments) = (Vec::new(), Vec::new());
        Self { tries, program, files, arguments, outcome: Outcome::Shown(Vec::new()) }
    }

    /// A program in plain sight with this file.
    pub(crate) fn file(tries: &'static str, name: &'static str, content: impl AsRef<[u8]>) -> Self {
        Self::program(tries, PLAIN).with(name, content)
    }

    pub(crate) fn with(mut self, name: &'static str, content: impl AsRef<[u8]>) -> Self {
        self.files.push((name, content.as_ref().to_vec()));
        self
    }

    pub(crate) fn called(mut self, name: &'static str) -> Self {
        self.program.0 = name;
        self
    }

    pub(crate) fn arguments(mut self, arguments: &[&'static str]) -> Self {
        self.arguments = arguments.to_vec();
        self
    }

    pub(crate) fn refused(mut self, says: &'static str) -> Self {
        self.outcome = Outcome::Refused(says);
        self
    }

    pub(crate) fn shown<T: Into<String>>(mut self, says: impl IntoIterator<Item = T>) -> Self {
        self.outcome = Outcome::Shown(says.into_iter().map(Into::into).collect());
        self
    }
}

/// All of them.
pub(crate) fn corpus() -> Vec<Case> {
    [code::cases(), files::cases(), text::cases()].into_iter().flatten().collect()
}

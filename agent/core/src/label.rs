//! Labels: what each part of the agreement is called, on the wire and in records.
//!
//! All parties must have the same labels: what one of them does not know is a difference, and never
//! passed over. A label is short and plain, so that it can be shown wherever it comes from.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of one part of the computation that all parties must agree on: lower-case ASCII letters,
/// digits and inner hyphens, as in `engine-version`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(Cow<'static, str>);

/// Why a string is not a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a label is 1 to {} lower-case letters, digits and inner hyphens", Label::MAX_BYTES)]
pub struct LabelError;

/// What an engine calls its parts of the agreement, as a noun with its article: «the MPyC version».
pub type Words = fn(&Label) -> Option<&'static str>;

macro_rules! known {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $words:literal;)*) => {
        impl Label {
            $($(#[$doc])* pub const $name: Self = Self(Cow::Borrowed($text));)*

            /// Every label that this version knows, and what it stands for whatever the engine.
            pub const KNOWN: &'static [(Self, &'static str)] = &[$((Self::$name, $words)),*];
        }
    };
}

known! {
    /// Name and order of the parties, and the session's name.
    ROSTER = "roster", "the roster";
    /// The program's file name and bytes.
    PROGRAM = "program", "the program";
    /// Names and bytes of the other files the program reads.
    FILES = "files", "the program's files";
    /// The program's arguments.
    ARGUMENTS = "arguments", "the arguments";
    /// How many parties may pool what they saw and still learn nothing.
    THRESHOLD = "threshold", "the threshold";
    /// What computes.
    ENGINE = "engine", "the engine";
    /// The engine's version.
    ENGINE_VERSION = "engine-version", "the engine's version";
    /// The engine's files: versions are only what it says of itself.
    ENGINE_FILES = "engine-files", "the engine's files";
    /// The engine's own options.
    ENGINE_OPTIONS = "engine-options", "the engine's options";
    /// What runs engine and program, as far as it must be the same.
    RUNTIME = "runtime", "the engine's runtime";
    /// Libraries on which the engine's messages depend.
    RUNTIME_LIBRARIES = "runtime-libraries", "the runtime's libraries";
    /// The number of the format in which the launcher writes what the engine sends.
    MESSAGE_FORMAT = "message-format", "the format of the launcher's messages";
}

impl Label {
    /// Longest label in bytes.
    pub const MAX_BYTES: usize = 32;

    /// The label as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it stands for, whatever the engine; none where this version does not know it.
    #[must_use]
    pub fn words(&self) -> Option<&'static str> {
        Self::KNOWN.iter().find(|(known, _)| known == self).map(|(_, words)| *words)
    }
}

impl TryFrom<String> for Label {
    type Error = LabelError;

    fn try_from(text: String) -> Result<Self, LabelError> {
        let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let edges = !text.starts_with('-') && !text.ends_with('-');
        let fits = (1..=Self::MAX_BYTES).contains(&text.len());
        if fits && edges && text.bytes().all(inner) {
            Ok(Self(Cow::Owned(text)))
        } else {
            Err(LabelError)
        }
    }
}

impl FromStr for Label {
    type Err = LabelError;
    fn from_str(text: &str) -> Result<Self, LabelError> {
        Self::try_from(text.to_owned())
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0.into_owned()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What differs, in words: «the roster differs», «the program, the MPyC version differ; something
/// this version does not know: gadget». `words` come before those that a label has anyhow.
#[must_use]
pub fn difference(labels: &[Label], words: Words) -> String {
    let named = |label| words(label).or_else(|| label.words());
    let known: Vec<&str> = labels.iter().filter_map(named).collect();
    let unknown: Vec<&str> =
        labels.iter().filter(|label| named(label).is_none()).map(Label::as_str).collect();
    let verb = if known.len() == 1 { "differs" } else { "differ" };
    let known = (!known.is_empty()).then(|| format!("{} {verb}", known.join(", ")));
    let unknown = (!unknown.is_empty())
        .then(|| format!("something this version does not know: {}", unknown.join(", ")));
    match (known, unknown) {
        (Some(known), Some(unknown)) => format!("{known}; {unknown}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "something that is not named".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short_and_plain() {
        for good in ["a", "engine-version", "0", &"x".repeat(Label::MAX_BYTES)] {
            assert_eq!(good.parse::<Label>().unwrap().as_str(), good);
        }
        let long = "x".repeat(Label::MAX_BYTES + 1);
        for bad in ["", "-a", "a-", "A", "a b", "a_b", "é", "\u{1b}[31m", "a\n", &long] {
            assert_eq!(bad.parse::<Label>(), Err(LabelError), "{bad:?}");
        }
    }

    #[test]
    fn every_known_label_is_a_label() {
        for (label, words) in Label::KNOWN {
            assert_eq!(label.as_str().parse().as_ref(), Ok(label));
            assert_eq!(label.words(), Some(*words));
        }
    }

    #[test]
    fn a_difference_is_a_sentence() {
        let words: Words = |label| (*label == Label::ENGINE_VERSION).then_some("the MPyC version");
        let said = |labels: &[Label]| difference(labels, words);
        let unknown: Label = "gadget".parse().unwrap();
        assert_eq!(said(&[]), "something that is not named");
        assert_eq!(said(&[Label::ROSTER]), "the roster differs");
        assert_eq!(
            said(&[Label::PROGRAM, Label::ENGINE_VERSION]),
            "the program, the MPyC version differ"
        );
        assert_eq!(
            said(std::slice::from_ref(&unknown)),
            "something this version does not know: gadget"
        );
        assert_eq!(
            said(&[unknown, Label::RUNTIME]),
            "the engine's runtime differs; something this version does not know: gadget"
        );
    }
}

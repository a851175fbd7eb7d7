//! What an MPyC process is, as its launcher tells: part of the agreement, and for people.

use std::fmt;

use mpyc_party_core::label::Label;
use serde::{Deserialize, Serialize};

use crate::config::Session;
use crate::runner::engine::Profile;

/// So much of a digest is shown.
const SHOWN_DIGEST_CHARS: usize = 16;

/// What the launcher says of itself, of MPyC and of the Python that runs both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Versions {
    /// As in `CPython`.
    pub implementation: String,
    /// As in `3.12.4`.
    pub python: String,
    /// 64 or 32.
    pub pointer_bits: u32,
    /// MPyC's version.
    pub mpyc: String,
    /// A digest of MPyC's files, in hexadecimal.
    pub mpyc_digest: String,
    /// Whether these are the files of a release that the launcher knows.
    pub mpyc_known: bool,
    /// numpy's version, if it is there.
    pub numpy: Option<String>,
    /// gmpy2's version, if it is there.
    pub gmpy2: Option<String>,
    /// The number of the format in which the launcher writes what MPyC sends.
    pub message_format: u32,
    /// The event loop.
    #[serde(rename = "loop")]
    pub event_loop: String,
}

impl Versions {
    /// What all parties of a session with these settings compare, and people read.
    #[must_use]
    pub fn profile(&self, settings: &Session) -> Profile {
        let demand = settings.python.as_ref();
        let unmet = demand.filter(|demand| !demand.met_by(&self.python));
        let demanded = demand.cloned().map(String::from).unwrap_or_default();
        // The version counts where the session demands another: then it differs from who has that.
        let shown = if unmet.is_none() { &demanded } else { &self.python };
        let bits = self.pointer_bits.to_string();
        let numpy = self.numpy.as_ref().and_then(|version| version.split('.').next());
        Profile {
            parts: vec![
                (Label::ENGINE_VERSION, texts([&self.mpyc])),
                (Label::ENGINE_FILES, texts([&self.mpyc_digest])),
                (Label::RUNTIME, texts([&self.implementation, &bits, &demanded, shown])),
                (Label::RUNTIME_LIBRARIES, texts(numpy)),
                (Label::MESSAGE_FORMAT, texts([self.message_format.to_string()])),
            ],
            unmet: unmet.map(|_| {
                format!("the session demands Python {demanded}, and this is Python {}", self.python)
            }),
            versions: self.to_string(),
        }
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, MPyC {}", self.implementation, self.python, self.mpyc)?;
        if !self.mpyc_known {
            let digest: String = self.mpyc_digest.chars().take(SHOWN_DIGEST_CHARS).collect();
            write!(f, " (no known release, files {digest}…)")?;
        }
        if let Some(numpy) = &self.numpy {
            write!(f, ", numpy {numpy}")?;
        }
        write!(f, ", {}", self.event_loop)
    }
}

/// A list of texts as the value of a label.
pub(super) fn texts<T: AsRef<str>>(list: impl IntoIterator<Item = T>) -> Vec<Vec<u8>> {
    list.into_iter().map(|text| text.as_ref().as_bytes().to_vec()).collect()
}

/// What a label stands for here. Records of earlier versions have labels of their own, of which
/// these are MPyC's.
pub(super) fn words(label: &Label) -> Option<&'static str> {
    Some(match label.as_str() {
        "engine-version" | "mpyc" => "the MPyC version",
        "engine-files" => "MPyC's files",
        "engine-options" | "options" => "MPyC's options",
        "runtime" | "python" => "the Python",
        "runtime-libraries" | "numpy" => "the numpy version",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use mpyc_party_core::verdict::Verdict;

    use super::*;
    use crate::runner::engine;

    fn settings(python: Option<&str>) -> Session {
        let parties = ["alice", "bob"].map(|name| name.parse().unwrap()).to_vec();
        let mut settings = Session::new("program.py".into(), parties.try_into().unwrap());
        settings.python = python.map(|demand| demand.to_owned().try_into().unwrap());
        settings
    }

    fn versions() -> Versions {
        Versions {
            implementation: "CPython".into(),
            python: "3.12.4".into(),
            pointer_bits: 64,
            mpyc: "0.11".into(),
            mpyc_digest: "0123456789abcdef01".into(),
            mpyc_known: true,
            numpy: Some("1.26.4".into()),
            gmpy2: None,
            message_format: 1,
            event_loop: "uvloop".into(),
        }
    }

    /// The labels whose values differ for these two.
    fn differ(one: &Versions, other: &Versions, python: Option<&str>) -> Vec<Label> {
        let (one, other) = (one.profile(&settings(python)), other.profile(&settings(python)));
        let pairs = one.parts.iter().zip(&other.parts);
        pairs.filter(|(one, other)| one != other).map(|(one, _)| one.0.clone()).collect()
    }

    #[test]
    fn what_must_be_the_same_has_a_label() {
        let usual = versions();
        let differs = |change: &dyn Fn(&mut Versions)| {
            let mut other = versions();
            change(&mut other);
            differ(&usual, &other, None)
        };
        assert_eq!(differs(&|v| v.mpyc = "0.12".into()), [Label::ENGINE_VERSION]);
        // Two trees may call themselves the same.
        assert_eq!(differs(&|v| v.mpyc_digest = "1f".into()), [Label::ENGINE_FILES]);
        assert_eq!(differs(&|v| v.implementation = "PyPy".into()), [Label::RUNTIME]);
        assert_eq!(differs(&|v| v.pointer_bits = 32), [Label::RUNTIME]);
        assert_eq!(differs(&|v| v.numpy = None), [Label::RUNTIME_LIBRARIES]);
        assert_eq!(differs(&|v| v.numpy = Some("2.0.0".into())), [Label::RUNTIME_LIBRARIES]);
        assert_eq!(differs(&|v| v.message_format = 2), [Label::MESSAGE_FORMAT]);
        // These may differ.
        assert_eq!(differs(&|v| v.python = "3.13.0".into()), []);
        assert_eq!(differs(&|v| v.numpy = Some("1.27.0".into())), []);
        assert_eq!(differs(&|v| v.gmpy2 = Some("2.2.1".into())), []);
        assert_eq!(differs(&|v| v.event_loop = "asyncio".into()), []);
    }

    #[test]
    fn what_is_no_known_release_is_said() {
        let own = Versions { mpyc: "0.11.2".into(), mpyc_known: false, ..versions() };
        assert!(!versions().to_string().contains("release"));
        let said = "MPyC 0.11.2 (no known release, files 0123456789abcdef…)";
        assert!(own.to_string().contains(said), "{own}");
    }

    #[test]
    fn records_of_earlier_versions_are_still_shown() {
        let kept = r#"{"failed": {"who": ["bob"], "stage": "agree", "observer": "alice", "via": null,
            "reason": {"differs": ["program", "options", "mpyc", "python", "numpy", "gadget"]}}}"#;
        let verdict: Verdict = serde_json::from_str(kept).unwrap();
        assert_eq!(
            verdict.in_words(engine::words).to_string(),
            "failed: bob: would run something else: the program, MPyC's options, the MPyC version, \
             the Python, the numpy version differ; something this version does not know: gadget \
             (stage agree, observed by alice)"
        );
    }

    #[test]
    fn a_demanded_python_is_compared_and_told() {
        let (newer, wanted) = (versions(), Versions { python: "3.11.2".into(), ..versions() });
        assert_eq!(differ(&newer, &wanted, Some("3.11")), [Label::RUNTIME]);
        assert_eq!(differ(&newer, &wanted, None), []);
        let unmet = newer.profile(&settings(Some("3.11"))).unmet;
        let said = "the session demands Python 3.11, and this is Python 3.12.4";
        assert_eq!(unmet.as_deref(), Some(said));
        assert_eq!(wanted.profile(&settings(Some("3.11"))).unmet, None);
    }
}

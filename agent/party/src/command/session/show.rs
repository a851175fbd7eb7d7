//! `mpyc-party session show`.

use std::path::Path;
use std::process::ExitCode;

use mpyc_party_core::claims::PublicKey;
use mpyc_party_core::name::{PartyName, SessionName};
use mpyc_party_sandbox::Policy;
use serde_json::json;

use super::super::{Common, Outcome, output};
use super::runs;
use crate::config::files;
use crate::config::{Config, Session, Start};
use crate::identity::Store;
use crate::session::bundle::{hash, minute};
use crate::session::run_counter::{self, RunCounter};
use crate::session::words::{duration, privacy, quoted, visible};
use crate::session::{self, Definition, MAX_FILE_BYTES, imported};

/// How many runs are shown to people.
const MAX_RUNS_SHOWN: usize = 10;

/// Shows the session `name` and its runs.
pub(super) fn show(common: &Common, name: &SessionName) -> Outcome {
    let (dirs, config) = common.load()?;
    let definition = session::find(&config, &dirs, name)?;
    let store = Store::new(&dirs.state);
    let own = if store.is_there() { Some(store.load_party()?) } else { None };
    let origin = match &own {
        Some((identity, _)) if definition.imported => {
            Some(imported::origin(&dirs, name, identity.root()).map_err(|e| e.to_string()))
        }
        _ => None,
    };
    let signed = origin.as_ref().and_then(|origin| origin.as_ref().ok());
    let edited =
        signed.map(|signed| imported::edited(&definition.settings, signed)).unwrap_or_default();
    let counted = RunCounter::read(&run_counter::path(&dirs, name));
    let left = counted.as_ref().ok().map(|counter| counter.left(&definition.settings));
    let me = own.as_ref().map(|(identity, name)| (name, identity.claims().key));
    let runs = runs::of(&dirs, name)?;
    let settings = &definition.settings;
    if common.json {
        let paths = [&settings.program].into_iter().chain(&settings.files);
        let files: Vec<_> =
            paths.map(|path| json!({"path": path, "sha256": digest(path).ok()})).collect();
        let from = signed.map(|o| json!({"party": o.bundle.from, "key": o.key, "signed": o.bundle.signed.to_string()}));
        output::json(&json!({
            "name": name, "imported": definition.imported, "origin": from, "definition": settings,
            "threshold": settings.threshold(), "files": files,
            "keys": definition.pins(&config),
            "edited": edited, "runs_left": left.filter(|_| is_counted(&definition.settings)),
            "runs": runs.iter().map(runs::Run::json).collect::<Vec<_>>(),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    output::line(format!("Session {name}"));
    let from = match origin {
        None if definition.imported => "imported".to_owned(),
        None => "the configuration".to_owned(),
        Some(Ok(origin)) => {
            let bundle = &origin.bundle;
            format!(
                "imported from {from} ({}), dated {} by {from}",
                origin.key,
                minute(bundle.signed),
                from = bundle.from,
            )
        }
        Some(Err(error)) => format!("imported; the bundle cannot be checked again: {error}"),
    };
    output::field("from", from);
    if !edited.is_empty() {
        output::field(
            "edited",
            format!(
                "changed on this machine since the import, and not signed by anybody: {}",
                edited.join(", ")
            ),
        );
    }
    what(settings);
    who(&definition, &config, me);
    limits(
        settings,
        &match left {
            Some(left) => format!("{left} left"),
            None => "how many are left cannot be read".to_owned(),
        },
    );
    show_runs(&runs);
    Ok(ExitCode::SUCCESS)
}

fn digest(path: &Path) -> Result<String, files::FileError> {
    files::read(path, MAX_FILE_BYTES).map(|content| hash(&content))
}

fn file(path: &Path) -> String {
    let digest = digest(path).map_or_else(|error| error.to_string(), |d| format!("SHA-256 {d}"));
    format!("{}\n{}", visible(&path.display().to_string()), visible(&digest))
}

fn what(settings: &Session) {
    output::field("program", file(&settings.program));
    for path in &settings.files {
        output::field("file", file(path));
    }
    let texts = |texts: &[String]| match texts {
        [] => "none".to_owned(),
        texts => texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(" "),
    };
    output::field("arguments", texts(&settings.arguments));
    if !settings.options.is_empty() {
        output::field("options", format!("{}, for MPyC itself", texts(&settings.options)));
    }
    if settings.allow_unknown_mpyc {
        output::field("MPyC", "may be another than a release that is known here");
    }
    match &settings.input {
        Some(path) => {
            let path = visible(&path.display().to_string());
            output::field("input", format!("{path}, which the program finds in $MPYC_PARTY_INPUT"));
        }
        None => output::field("input", "no file"),
    }
}

fn who(definition: &Definition, config: &Config, me: Option<(&PartyName, PublicKey)>) {
    let settings = &definition.settings;
    let pins = definition.pins(config).into_iter();
    for ((index, party), pin) in settings.parties.iter().enumerate().zip(pins) {
        let own = me.filter(|(name, _)| *name == party).map(|(_, key)| key);
        let key = match (own, pin) {
            (Some(own), Some(pin)) if own != pin => {
                format!("this party, whose key is {own}, not {pin}")
            }
            (Some(own), _) => format!("this party, {own}"),
            (None, Some(pin)) => format!("{pin}"),
            (None, None) => "no key is pinned: whoever the authority calls so".to_owned(),
        };
        output::field(if index == 0 { "parties" } else { "" }, format!("{index}  {party}: {key}"));
    }
    let (t, m) = (settings.threshold(), settings.parties.len());
    output::field("threshold", format!("{t}: {}", privacy(t, m, settings.hides())));
}

/// Whether its runs are limited in number.
fn is_counted(settings: &Session) -> bool {
    settings.start == Start::OnProposal
}

fn limits(settings: &Session, left: &str) {
    output::field(
        "start",
        match settings.start {
            Start::Manual => "manual: it runs here only when somebody starts it here".to_owned(),
            Start::OnProposal => format!(
                "on-proposal: another party may start it, {} in all ({left}), {} apart",
                match settings.max_runs {
                    1 => "once".to_owned(),
                    many => format!("{many} times"),
                },
                duration(settings.interval)
            ),
        },
    );
    output::field("deadline", format!("waits {} for all parties", duration(settings.deadline)));
    output::field("grace", format!("outlasts outages of {}", duration(settings.grace)));
    if let Some(python) = &settings.python {
        output::field("python", format!("{}, at all parties", String::from(python.clone())));
    }
    output::field(
        "sandbox",
        match settings.sandbox {
            Policy::Required => "required",
            Policy::BestEffort => "best-effort: the run goes on without what cannot be had",
        },
    );
    let memory = match settings.memory {
        Some(mib) => format!("{mib} MiB"),
        None => "half of this machine's".to_owned(),
    };
    output::field("limits", format!("memory {memory}, output {} MiB", settings.output));
}

fn show_runs(runs: &[runs::Run]) {
    output::line("\nRuns");
    if runs.is_empty() {
        output::line("  none yet");
    }
    let earlier = runs.len().saturating_sub(MAX_RUNS_SHOWN);
    if earlier > 0 {
        output::line(format!("  … {earlier} earlier ones (--json shows all)"));
    }
    for run in &runs[earlier..] {
        output::entry(2, format!("{:3}  {}  {}", run.number, run.started(), run.verdict()));
        for detail in run.details() {
            output::entry(7, detail);
        }
    }
}

//! `mpyc-party session check`: everything but the run.
//!
//! A checking party asks those who wait in a run and is no part of it: it accepts no connections
//! and announces nothing, so it disturbs nobody, and two that check do not see each other.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use mpyc_party_core::agreement::Entry;
use mpyc_party_core::component::{Component, Components};
use mpyc_party_core::name::SessionName;
use mpyc_party_hub::now;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::super::view::Lines;
use super::super::{Common, Outcome, output, runtime, stop};
use crate::config::files;
use crate::config::{Config, Place};
use crate::discovery::Finder;
use crate::identity::{Store, keep_fresh};
use crate::link::{Circle, inquire};
use crate::runner::sandbox::Sandboxed;
use crate::runner::view::{Notice, View};
use crate::runner::{self, rehearse};
use crate::session::words::{names, visible};
use crate::session::{self, Copied, Definition, Versions};

/// Pause before a party that could not be asked is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// Check everything but the run: what is missing here, who is there, what differs
#[derive(Debug, Args)]
#[command(after_help = "\
Asks the parties that wait in a run of the session, without taking part: nobody is disturbed. A
party that only checks as well is not seen: start the run, and it waits for the others.

Exit status: 0 when all are there and nothing differs, else 1.

Example: mpyc-party session check demo --wait 30s")]
pub(in crate::command) struct Check {
    /// The session
    name: SessionName,
    /// How long to look for the other parties
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    wait: Duration,
}

/// What was found, told as it is found or, for scripts, at the end.
#[derive(Debug)]
struct Findings {
    quiet: bool,
    ready: bool,
    all: Vec<Value>,
}

impl Findings {
    fn note(&mut self, what: &str, found: Result<String, String>) {
        self.ready &= found.is_ok();
        if !self.quiet {
            match &found {
                Ok(text) => output::good(format!("{what}: {text}")),
                Err(text) => output::bad(format!("{what}: {text}")),
            }
        }
        let (ok, text) = (found.is_ok(), found.unwrap_or_else(|text| text));
        self.all.push(json!({"what": what, "ok": ok, "text": text}));
    }
}

/// Shows warnings and what takes long; the rest is for runs.
struct Quiet(bool);

impl View for Quiet {
    fn show(&mut self, notice: Notice<'_>) {
        if !self.0 {
            Lines.show(notice);
        }
    }
}

impl Check {
    pub(in crate::command) fn run(self, common: &Common) -> Outcome {
        let (place, config) = common.load()?;
        let definition = session::find(&config, &place, &self.name)?;
        let store = Store::new(&place.state);
        store.demand()?;
        let mut findings = Findings { quiet: common.json, ready: true, all: Vec::new() };
        let roster = names(definition.settings.parties.as_slice());
        findings.note("definition", Ok(format!("{} for {roster}", definition.name)));
        files::private_dir(&place.state)?;
        let scratch = tempfile::Builder::new().prefix(".check-").tempdir_in(&place.state)?;
        let copied = session::copy(&definition, &scratch.path().join("program"));
        let found = copied.as_ref().map(|c| format!("{} and {} more", c.name, c.files.len()));
        findings.note("files", found.map_err(ToString::to_string));
        // As in a run: first the sandboxed process, which begins as a copy of this one, then the key.
        let started = copied.as_ref().ok().map(|copied| {
            let view = &mut Quiet(common.json);
            runner::start(&definition, copied, scratch.path(), (&config, &place), view)
                .map_err(|error| error.to_string())
        });
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
        let inquiry = Inquiry { definition: &definition, config: &config, place: &place };
        let parties = runtime()?.block_on(async {
            tokio::select! {
                parties = inquiry.make(copied.ok(), started, self.wait, &mut findings) => parties.map(Some),
                () = stop::asked() => Ok(None),
            }
        })?;
        let Some(parties) = parties else { return Ok(ExitCode::FAILURE) };
        if common.json {
            output::json(&json!({
                "session": self.name, "ready": findings.ready, "findings": findings.all,
                "parties": parties,
            }))?;
        } else if findings.ready {
            output::good("all are there, and nothing differs");
        } else {
            output::bad("not ready");
        }
        Ok(if findings.ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// What the asking needs to know.
struct Inquiry<'a> {
    definition: &'a Definition,
    config: &'a Config,
    place: &'a Place,
}

impl Inquiry<'_> {
    async fn make(
        &self,
        copied: Option<Copied>,
        started: Option<Result<Sandboxed, String>>,
        wait: Duration,
        findings: &mut Findings,
    ) -> anyhow::Result<Vec<Value>> {
        let Self { definition, config, place } = *self;
        let store = Store::new(&place.state);
        let (mut identity, party) = store.load_party()?;
        let me = definition.index_of(&party)?;
        let versions = match (&copied, started) {
            (Some(copied), Some(Ok(sandboxed))) => {
                Some(rehearse(sandboxed, definition, copied, me).await)
            }
            (_, Some(Err(error))) => Some(Err(error)),
            _ => None,
        };
        if let Some(versions) = &versions {
            let text = versions.as_ref().map(|v| visible(&v.to_string()));
            findings.note("Python in its sandbox", text.map_err(Clone::clone));
        }
        let versions = versions.and_then(Result::ok);
        let hubs = config.hubs(store.hubs()?);
        match store.renew_if_due(&hubs, &identity).await {
            Ok(Some(renewed)) => identity = renewed,
            Ok(None) => {}
            Err(error) => output::warn(format!("the certificate could not be renewed: {error}")),
        }
        let claims = identity.claims();
        let valid = claims.check_validity(now()).map_err(|error| error.to_string());
        let (name, network) = (&claims.role, &claims.network);
        findings.note("certificate", valid.map(|()| format!("{name} of the network {network}")));
        let identity = keep_fresh(store, hubs.clone(), identity);
        let (roster, pins) = (definition.settings.parties.clone(), definition.pins(config));
        let circle = Circle::new(identity.clone(), &definition.name, roster.clone(), me, pins);
        let finder = Finder::new(config, roster, me, circle.tag, hubs.clone(), identity);
        let (answers, heard) = ask(&circle, finder, &hubs, wait).await;
        let up = heard.iter().filter(|(_, answer)| answer.is_ok()).count();
        for (hub, answer) in &heard {
            match answer {
                // One hub that answers is enough.
                Err(why) if up > 0 => output::warn(format!("hub {hub}: {why}")),
                answer => findings.note(
                    "hub",
                    answer
                        .clone()
                        .map(|()| format!("{hub} answers"))
                        .map_err(|why| format!("{hub}: {why}")),
                ),
            }
        }
        let own = copied.map(|copied| Own::new(definition, &copied, versions.as_ref()));
        let parties = circle.roster.iter().enumerate().zip(answers).filter(|((i, _), _)| *i != me);
        Ok(parties
            .map(|((_, name), answer)| {
                let (state, found, differs) = judge(own.as_ref(), &answer);
                findings.note(name.as_str(), found.clone());
                let versions = answer.and_then(Result::ok).map(|entry| entry.versions);
                json!({
                    "party": name, "state": state, "differs": differs, "versions": versions,
                    "text": found.unwrap_or_else(|text| text),
                })
            })
            .collect())
    }
}

type Answer = Option<Result<Entry, String>>;
type Heard = Vec<(String, Result<(), String>)>;

/// Asks all peers until each has answered, and each hub is known to answer or not, or the time is
/// over.
async fn ask(
    circle: &Circle,
    mut finder: Finder,
    hubs: &[String],
    wait: Duration,
) -> (Vec<Answer>, Heard) {
    let end = Instant::now() + wait;
    let mut answers: Vec<Answer> = vec![None; circle.roster.len()];
    let mut asked = JoinSet::new();
    finder.announce(None);
    loop {
        let answered = answers.iter().filter(|answer| matches!(answer, Some(Ok(_)))).count();
        if answered + 1 == answers.len() && finder.hubs().len() == hubs.len() {
            break;
        }
        tokio::select! {
            () = sleep_until(end) => break,
            (peer, addresses) = finder.next() => if !addresses.is_empty() {
                asked.spawn(inquire_once(circle.clone(), peer, addresses, Duration::ZERO));
            },
            Some(Ok((peer, addresses, answer))) = asked.join_next() => {
                if !matches!(answers[peer], Some(Ok(_))) {
                    if answer.is_err() {
                        asked.spawn(inquire_once(circle.clone(), peer, addresses, PAUSE));
                    }
                    answers[peer] = Some(answer);
                }
            }
        }
    }
    let silent = || Err("no answer".to_owned());
    let heard = |hub: &String| finder.hubs().get(hub).cloned().unwrap_or_else(silent);
    let heard = hubs.iter().map(|hub| (hub.clone(), heard(hub))).collect();
    (answers, heard)
}

async fn inquire_once(
    circle: Circle,
    peer: usize,
    addresses: Vec<String>,
    pause: Duration,
) -> (usize, Vec<String>, Result<Entry, String>) {
    sleep(pause).await;
    let answer = inquire(&circle, peer, &addresses).await.map_err(|error| error.to_string());
    (peer, addresses, answer)
}

/// This party's own components, as far as they are known.
struct Own {
    components: Components,
    known: fn(&Component) -> bool,
}

impl Own {
    fn new(definition: &Definition, copied: &Copied, versions: Option<&Versions>) -> Self {
        let known: fn(&Component) -> bool = match versions {
            Some(_) => |_| true,
            None => |c| !matches!(c, Component::Mpyc | Component::Python | Component::Numpy),
        };
        let components = definition.components(copied, versions.unwrap_or(&Versions::default()));
        Self { components, known }
    }
}

/// What is to be said of a party: in a word, in words, and in what it differs.
fn judge(
    own: Option<&Own>,
    answer: &Answer,
) -> (&'static str, Result<String, String>, Vec<Component>) {
    let entry = match answer {
        None => {
            let text = "not waiting in a run of this session (of this name, with these parties in this order)";
            return ("absent", Err(text.to_owned()), Vec::new());
        }
        Some(Err(why)) => {
            let text = format!("not there, or it cannot be asked: {}", visible(why));
            return ("unreachable", Err(text), Vec::new());
        }
        Some(Ok(entry)) => entry,
    };
    let versions = visible(&entry.versions.to_string());
    let Some(own) = own else {
        return ("there", Ok(format!("there, not compared ({versions})")), Vec::new());
    };
    let mut differs = own.components.differences(&entry.nonce, &entry.digests);
    differs.retain(own.known);
    if differs.is_empty() {
        return ("there", Ok(format!("there, and the same ({versions})")), differs);
    }
    let what = differs.iter().map(|c| c.text()).collect::<Vec<_>>().join(", ");
    (
        "differs",
        Err(format!("there, but it would run something else: {what} differs ({versions})")),
        differs,
    )
}

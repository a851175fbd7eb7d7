//! `mpyc-party session check`: everything but the run.
//!
//! A checking party asks those who wait in a run and is no part of it: it accepts no connections
//! and announces nothing, so it disturbs nobody, and two that check do not see each other.

mod peers;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use mpyc_party_core::name::{PartyName, SessionName};
use mpyc_party_core::roster::PeerIndex;
use mpyc_party_net::Stack;
use mpyc_party_net::address_book::AddressBook;
use mpyc_party_net::discovery::named;
use mpyc_party_net::peers::SessionPeers;
use mpyc_party_sandbox::Sandboxed;
use mpyc_party_transport::task::{Heartbeat, alongside};
use mpyc_party_transport::{Identity, now};
use serde_json::{Value, json};

use super::super::view::Lines;
use super::super::{Common, Outcome, completing, output, runtime, stop, times};
use crate::config::files;
use crate::config::{Config, Directories, Start, writers};
use crate::identity::{Store, keep_fresh};
use crate::runner::engine::Profile;
use crate::runner::view::{Notice, View};
use crate::runner::{self, dry_run};
use crate::session::words::{names, visible};
use crate::session::{self, Copied, Definition, imported};
use peers::{Answer, Heard, Own};

#[derive(Debug, Args)]
#[command(after_help = "\
This asks the parties that wait in a run of the session, and disturbs nobody. It does not see a
party that only checks too: start the run, and the run waits for the others.

Exit status: 0 when all are there and nothing differs, else 1.

Example: mpyc-party session check demo --wait 30s")]
pub(in crate::command) struct Check {
    /// The session
    #[arg(add = completing::sessions())]
    name: SessionName,
    /// How long to look for the other parties
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = times::wait)]
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

    /// What does not keep the session from running, but should be mended.
    fn doubt(&mut self, what: &str, text: String) {
        if !self.quiet {
            output::warn(format!("{what}: {text}"));
        }
        self.all.push(json!({"what": what, "ok": true, "text": text}));
    }
}

/// Shows warnings and what takes long; the rest is for runs.
struct Quiet(bool);

impl View for Quiet {
    fn show(&mut self, notice: Notice<'_>) {
        if !self.0 {
            Lines::default().show(notice);
        }
    }
}

impl Check {
    pub(in crate::command) fn run(self, common: &Common) -> Outcome {
        let (dirs, config) = common.load()?;
        let definition = session::find(&config, &dirs, &self.name)?;
        let store = Store::new(&dirs.state);
        store.demand()?;
        let mut findings = Findings { quiet: common.json, ready: true, all: Vec::new() };
        let roster = names(definition.settings.parties.as_slice());
        findings.note("definition", Ok(format!("{} for {roster}", definition.name)));
        files::private_dir(&dirs.state)?;
        let scratch = tempfile::Builder::new().prefix(".check-").tempdir_in(&dirs.state);
        let scratch = files::at(&dirs.state, scratch)?;
        let copied = session::copy(&definition, &scratch.path().join("program"));
        let found = copied.as_ref().map(|copied| match copied.files.len() {
            0 => copied.name.clone(),
            more => format!("{} and {more} more", copied.name),
        });
        findings.note("files", found.map_err(ToString::to_string));
        let checked = without_bad_input(&definition, &mut findings);
        note_writers(&definition, (&config, &dirs), &mut findings);
        // As in a run: first the sandboxed process, which begins as a copy of this one, then the key.
        let prepared = copied.ok().map(|copied| {
            let view = &mut Quiet(common.json);
            let places = (&config, &dirs);
            let started = runner::start(&checked, &copied, scratch.path(), places, view);
            (copied, started.map_err(|error| error.to_string()))
        });
        crate::command::no_dumps()?;
        let inquiry =
            Inquiry { definition, config, dirs, wait: self.wait, stack: common.stack.clone() };
        let parties = runtime()?.block_on(async {
            tokio::select! {
                parties = inquiry.make(prepared, &mut findings) => parties.map(Some),
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

/// Notes whether the input can be read. The session without one that cannot: the rest can be checked.
fn without_bad_input(definition: &Definition, findings: &mut Findings) -> Definition {
    let mut checked = definition.clone();
    let Some(input) = &definition.settings.input else { return checked };
    let found = runner::input_is_there(definition);
    if found.is_err() {
        checked.settings.input = None;
    }
    let found = found.map(|()| input.display().to_string());
    findings.note("input", found.map_err(|error| error.to_string()));
    checked
}

/// Notes what of the session others can change. A session that a person starts can be run nevertheless.
fn note_writers(definition: &Definition, places: (&Config, &Directories), findings: &mut Findings) {
    const WHAT: &str = "who can change it";
    let settings = &definition.settings;
    let exposed = match writers::of_run(settings, places.0, places.1) {
        Ok(exposed) => exposed,
        Err(error) => return findings.note(WHAT, Err(error.to_string())),
    };
    if exposed.is_empty() {
        findings.note(WHAT, Ok("only this user and root".to_owned()));
    }
    for exposed in exposed {
        let text = format!("{exposed}: {}", exposed.remedy());
        match settings.start {
            Start::OnProposal => findings.note(WHAT, Err(text)),
            Start::Manual => findings.doubt(WHAT, text),
        }
    }
}

/// Notes what of an imported session is another here than in the bundle that was agreed to.
fn note_edits(
    definition: &Definition,
    dirs: &Directories,
    identity: &Identity,
    findings: &mut Findings,
) {
    if !definition.imported {
        return;
    }
    // One that cannot be read is no reason not to run: what counts is what all hold.
    let Ok(signed) = imported::origin(dirs, &definition.name, identity.root()) else { return };
    let edited = imported::edited(&definition.settings, &signed);
    if !edited.is_empty() {
        let what = edited.join(", ");
        findings.doubt("edited", format!("{what}: another here than in the bundle that was imported. session import --replace takes that back"));
    }
}

/// The copied files, and the launcher that waits in its sandbox, or why there is none.
type Prepared = (Copied, Result<Sandboxed, String>);

/// What the asking needs to know.
struct Inquiry {
    definition: Definition,
    config: Config,
    dirs: Directories,
    wait: Duration,
    stack: Arc<Stack>,
}

impl Inquiry {
    /// Everything that takes a key: what is the case here, at the hubs and at the other parties.
    async fn make(
        &self,
        prepared: Option<Prepared>,
        findings: &mut Findings,
    ) -> anyhow::Result<Vec<Value>> {
        let Self { definition, config, .. } = self;
        let store = Store::new(&self.dirs.state);
        let (identity, party, hubs) = store.load_all().await?;
        let me = definition.index_of(&party)?;
        note_edits(definition, &self.dirs, &identity, findings);
        let own = self.own(prepared, me, findings).await;
        let hubs = config.hubs(hubs);
        let identity = certificate(&store, &hubs, identity, findings).await;
        let (identity, renewal) = keep_fresh(store, hubs.clone(), identity);
        let (roster, pins) = (definition.settings.parties.clone(), definition.pins(config));
        let session_peers = SessionPeers::new(identity, &definition.name, roster, me, pins);
        let book = AddressBook::new(
            self.stack.clone(),
            config.sources(hubs.clone()),
            session_peers.clone(),
        );
        let asked = peers::ask(&session_peers, book, &hubs, self.wait);
        let (answers, heard) = alongside(asked, renewal.run(Heartbeat::default())).await;
        note_hubs(&heard, findings);
        let hubless = !heard.is_empty() && heard.iter().all(|(_, answer)| answer.is_err());
        Ok(note_parties(&session_peers, own.as_ref(), (answers, hubless), findings))
    }

    /// This party's components, with the versions that a run would have.
    async fn own(
        &self,
        prepared: Option<Prepared>,
        me: PeerIndex,
        findings: &mut Findings,
    ) -> Option<Own> {
        let (copied, started) = prepared?;
        let profile: Result<Profile, String> = match started {
            Ok(sandboxed) => {
                let loaded = dry_run(sandboxed, &self.definition, &copied, me).await;
                loaded.map_err(|error| error.to_string())
            }
            Err(why) => Err(why),
        };
        let own = Own::new(&self.definition, &copied, profile.as_ref().ok());
        findings.note("Python in its sandbox", profile.map(|found| visible(&found.to_string())));
        Some(own)
    }
}

/// Notes whether the certificate is valid, renewed first where that is due.
async fn certificate(
    store: &Store,
    hubs: &[String],
    identity: Identity,
    findings: &mut Findings,
) -> Identity {
    let (identity, failed) = store.freshest(hubs, identity).await;
    if let Some(why) = failed {
        output::warn(why);
    }
    let claims = identity.claims();
    let valid = claims.check_validity(now()).map_err(|error| error.to_string());
    let (role, network) = (&claims.role, &claims.network);
    findings.note("certificate", valid.map(|()| format!("{role} of the network {network}")));
    identity
}

/// Notes which hubs answer; one is enough.
fn note_hubs(heard: &Heard, findings: &mut Findings) {
    let any = heard.iter().any(|(_, answer)| answer.is_ok());
    for (hub, answer) in heard {
        match answer {
            Ok(()) => findings.note("hub", Ok(format!("{hub} answers"))),
            Err(why) if any => output::warn(named(hub, why)),
            Err(why) => findings.note("hub", Err(named(hub, why))),
        }
    }
}

fn note_parties(
    session_peers: &SessionPeers,
    own: Option<&Own>,
    (answers, hubless): (Vec<Answer>, bool),
    findings: &mut Findings,
) -> Vec<Value> {
    let parties = session_peers.roster.iter().enumerate().zip(answers);
    let others = parties.filter(|((index, _), _)| *index != session_peers.me.get());
    let note = |((_, name), answer): ((usize, &PartyName), Answer)| {
        let (state, found, differs) = peers::judge(own, &session_peers.roster, &answer, hubless);
        findings.note(name.as_str(), found.clone());
        let shown = answer.and_then(Result::ok);
        let roster = shown.as_ref().map(|shown| shown.roster.clone());
        let versions = shown.map(|shown| shown.entry.versions);
        let text = found.unwrap_or_else(|text| text);
        json!({
            "party": name, "state": state, "differs": differs, "roster": roster,
            "versions": versions, "text": text,
        })
    };
    others.map(note).collect()
}

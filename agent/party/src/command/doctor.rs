//! `mpyc-party doctor`: looks at everything that a run needs, one by one.

mod clock;
mod findings;
mod machine;
mod network;
mod parties;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use mpyc_party_core::claims::about;
use mpyc_party_core::name::SessionName;
use mpyc_party_transport::task::{Heartbeat, alongside};
use mpyc_party_transport::{Identity, now};

use super::{Common, Outcome, completing, output, runtime, stop, times};
use crate::config::{Config, Directories};
use crate::identity::{Store, due_in, keep_fresh};
use crate::session::{self, Definition};
use findings::Findings;
use machine::DryRun;

#[derive(Debug, Args)]
#[command(after_help = "\
The doctor checks configuration, disk, kernel, Python and MPyC in the sandbox, certificate, clock, each hub
over TCP and over UDP, which packets get through to it (path MTU), the NAT before this machine, and
the other parties of each session. It disturbs nobody and changes nothing, except that it renews a
certificate that is due.

  ✓ as it should be    ! works, but could be better    ✗ sessions cannot run

Exit status: 1 when something is broken, else 0.

Examples:
  mpyc-party doctor
  mpyc-party doctor --session demo --wait 30s
  mpyc-party doctor --json | jq '.findings[] | select(.state == \"bad\")'")]
pub(super) struct Doctor {
    /// Only the parties of this session
    #[arg(long, value_name = "NAME", add = completing::sessions())]
    session: Option<SessionName>,
    /// How long to look for other parties
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = times::wait)]
    wait: Duration,
}

impl Doctor {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let (dirs, config) = common.load()?;
        let declared = match &self.session {
            Some(name) => [(name.to_string(), Ok(session::find(&config, &dirs, name)?))].into(),
            None => session::all(&config, &dirs)?,
        };
        let mut findings = Findings::new(common.json);
        machine::configuration(&dirs, &config, &mut findings);
        let sessions = machine::sessions(declared, &mut findings);
        machine::disk(&dirs, &mut findings);
        machine::addresses(&mut findings);
        // As in a run: first the sandboxed process, which begins as a copy of this one, then the key.
        let dry_run = match machine::kernel(&mut findings) {
            true => machine::dry_run((&config, &dirs), &sessions, &mut findings)?,
            false => None,
        };
        super::no_dumps()?;
        let done = runtime()?.block_on(async {
            tokio::select! {
                done = self.look(common, dry_run, sessions, (&config, &dirs), &mut findings) => done.map(|()| true),
                () = stop::asked() => Ok(false),
            }
        })?;
        let (bad, doubtful) = findings.count();
        if common.json {
            output::json(&findings.json())?;
        } else if bad > 0 {
            output::line(format!("\n{bad} broken, {doubtful} could be better"));
        } else if done {
            output::line(format!("\nnothing is broken, {doubtful} could be better"));
        }
        Ok(if done && bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Everything that takes a key.
    async fn look(
        &self,
        common: &Common,
        dry_run: Option<DryRun>,
        sessions: Vec<Definition>,
        (config, dirs): (&Config, &Directories),
        findings: &mut Findings,
    ) -> anyhow::Result<()> {
        if let Some(dry_run) = dry_run {
            dry_run.finish(findings).await;
        }
        let store = Store::new(&dirs.state);
        let (identity, me, hubs) = match store.load_all().await {
            Ok(loaded) => loaded,
            Err(error) => {
                findings.broken("identity", error);
                return Ok(());
            }
        };
        let hubs = config.hubs(hubs);
        let identity = certificate(&store, &hubs, identity, findings).await;
        let seen = network::look(&hubs, &identity, config.listen.port, findings).await;
        let certificates = seen.certificates.iter().chain([identity.claims()]);
        clock::look(now(), certificates, &seen.clocks, findings);
        if identity.claims().check_validity(now()).is_ok() {
            let (identity, renewal) = keep_fresh(store, hubs.clone(), identity);
            let network = (&common.stack, config, hubs.as_slice());
            let look = parties::look(sessions, &me, network, &identity, self.wait, findings);
            alongside(look, renewal.run(Heartbeat::default())).await;
        }
        Ok(())
    }
}

/// Looks at the certificate, renewed first where that is due.
async fn certificate(
    store: &Store,
    hubs: &[String],
    identity: Identity,
    findings: &mut Findings,
) -> Identity {
    const CHECK: &str = "certificate";
    let renewed = store.renew_if_due(hubs, &identity).await;
    let identity = match &renewed {
        Ok(Some(renewed)) => renewed.clone(),
        _ => identity,
    };
    let claims = identity.claims();
    let whose = format!("{} of the network {}", claims.role, claims.network);
    match (claims.check_validity(now()), renewed) {
        (Err(error), outcome) => {
            let why = outcome.err().map(|error| format!("; it cannot be renewed: {error}"));
            findings.bad(
                CHECK,
                format!("{whose}: {error}{}", why.unwrap_or_default()),
                "check the clock and the hub; after 30 days enrol anew",
            );
        }
        (Ok(()), Err(error)) => findings.doubtful(
            CHECK,
            format!("{whose}: it should be renewed, and cannot be: {error}"),
            "it can be used until it expires; a hub with the authority has to be reached before",
        ),
        (Ok(()), Ok(_)) => {
            let left = about(claims.not_after.saturating_sub(now()));
            let due = about(due_in(&identity).as_secs());
            findings.good(CHECK, format!("{whose}: valid for {left}, to be renewed in {due}"));
        }
    }
    identity
}

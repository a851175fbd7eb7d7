//! `mpyc-party session run`.

use std::process::ExitCode;

use mpyc_party_core::name::SessionName;
use mpyc_party_core::verdict::Verdict;
use tokio::sync::mpsc;

use super::super::view::{Events, Lines};
use super::super::{Common, Outcome, runtime, stop};
use crate::config::Config;
use crate::discovery::Finder;
use crate::identity::{Store, keep_fresh};
use crate::link::Circle;
use crate::runner::view::{Notice, View};
use crate::runner::{self, Launch};
use crate::session::{self, Definition};

/// Runs the session `name` to a verdict.
pub(super) fn run(common: &Common, name: &SessionName) -> Outcome {
    let (place, config) = common.load()?;
    let mut view: Box<dyn View> = if common.json { Box::new(Events) } else { Box::new(Lines) };
    let definition = session::find(&config, &place, name)?;
    let store = Store::new(&place.state);
    let party = store.party()?;
    definition.index_of(&party)?;
    // The order is a matter of safety: first the sandboxed process, which begins as a copy of this
    // one, then the key.
    let launch = runner::prepare(definition, &config, &place, view.as_mut())?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        match appear(&launch.definition, &config, store, view.as_mut()).await {
            Ok((circle, finder)) => meet(launch, &config, circle, finder, view.as_mut()).await,
            Err(error) => {
                launch.abandon(&party, &error.to_string())?;
                Err(error)
            }
        }
    });
    // A thread may still wait for standard input; it ends with the process.
    runtime.shutdown_background();
    outcome
}

/// Loads the identity, renewed where that is due, and says as whom to meet whom.
async fn appear(
    definition: &Definition,
    config: &Config,
    store: Store,
    view: &mut dyn View,
) -> anyhow::Result<(Circle, Finder)> {
    let (mut identity, party) = store.load_party()?;
    let hubs = config.hubs(store.hubs()?);
    match store.renew_if_due(&hubs, &identity).await {
        Ok(Some(renewed)) => identity = renewed,
        Ok(None) => {}
        Err(error) => {
            view.show(Notice::Warning(&format!("the certificate could not be renewed: {error}")));
        }
    }
    identity.claims().check_validity(mpyc_party_hub::now())?;
    let me = definition.index_of(&party)?;
    let identity = keep_fresh(store, hubs.clone(), identity);
    let roster = definition.settings.parties.clone();
    let pins = definition.pins(config);
    let circle = Circle::new(identity.clone(), &definition.name, roster.clone(), me, pins);
    let finder = Finder::new(config, roster, me, circle.tag, hubs, identity);
    Ok((circle, finder))
}

/// Meets the other parties and runs what was prepared.
async fn meet(
    launch: Launch,
    config: &Config,
    circle: Circle,
    finder: Finder,
    view: &mut dyn View,
) -> Outcome {
    let (wish, stop) = mpsc::channel(1);
    tokio::spawn(async move {
        stop::asked().await;
        let _ = wish.send(()).await;
    });
    let outcome = runner::conduct(launch, circle, config.listen.port, finder, stop, view).await?;
    Ok(match outcome.verdict {
        Verdict::Completed => ExitCode::SUCCESS,
        Verdict::Unconfirmed(_) | Verdict::Failed(_) => ExitCode::FAILURE,
    })
}

//! `mpyc-party session export`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use mpyc_party_core::claims::PublicKey;
use mpyc_party_core::membership::MAX_DIRECTORY_NAMES;
use mpyc_party_core::name::{PartyName, SessionName};
use mpyc_party_net::client::renewal;
use mpyc_party_transport::{Identity, now};

use super::super::{Common, Outcome, completing, no_dumps, output, runtime};
use crate::config::{Config, Directories, files};
use crate::identity::{Store, check_validity};
use crate::session::bundle::{self, BundleError};
use crate::session::proposal::Proposal;
use crate::session::words::names;
use crate::session::{self, Definition};

#[derive(Debug, Args)]
#[command(after_help = "\
The bundle holds the definition, the program and its files, and the keys of the parties, signed by
this party. It holds no private input and nothing else of this machine.

For keys that are pinned neither in the configuration nor in the session, this asks the authority,
so that the others accept exactly today's holders of these names.

Examples:
  mpyc-party session export demo                     writes demo.bundle
  mpyc-party session export demo --output - | ssh bob mpyc-party session import - --yes")]
pub(in crate::command) struct Export {
    /// The session
    #[arg(add = completing::sessions())]
    name: SessionName,
    /// The file to write, or - for standard output [default: NAME.bundle]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Do not ask the authority for keys: parties without a pinned key get none in the bundle
    #[arg(long)]
    offline: bool,
}

impl Export {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let (dirs, config) = common.load()?;
        let definition = session::find(&config, &dirs, &self.name)?;
        no_dumps()?;
        let (identity, party) = Store::new(&dirs.state).load_party()?;
        definition.index_of(&party)?;
        let (identity, keys) = if self.offline {
            let keys = pinned(&definition, &config, &identity);
            (identity, keys)
        } else {
            let asked = ask(&dirs, &config, &definition, identity);
            runtime()?.block_on(asked)?
        };
        check_validity(&identity)?;
        let parties = definition.settings.parties.iter();
        let unpinned: Vec<PartyName> = parties.filter(|n| !keys.contains_key(n)).cloned().collect();
        if !unpinned.is_empty() {
            output::warn(format!(
                "no key is known of {}: whoever the authority calls so will be accepted",
                names(&unpinned)
            ));
        }
        let files = enclosed(&definition)?;
        let proposal = Proposal::of(&definition.settings, keys);
        let text = bundle::seal(&identity, self.name.clone(), proposal, &files, now())?;
        self.write(text)?;
        Ok(ExitCode::SUCCESS)
    }

    fn write(&self, text: String) -> anyhow::Result<()> {
        let default = PathBuf::from(format!("{}.bundle", self.name));
        let path = self.output.as_ref().unwrap_or(&default);
        if path == Path::new("-") {
            output::text(text);
            return Ok(());
        }
        files::write_public(path, text.as_bytes())?;
        output::good(format!(
            "session {} is in {}: give it to the other parties, who add it with mpyc-party session import {}",
            self.name,
            path.display(),
            path.file_name().unwrap_or_default().to_string_lossy()
        ));
        Ok(())
    }
}

/// Program and files as they are now, by name.
fn enclosed(definition: &Definition) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let settings = &definition.settings;
    let (mut all, mut size) = (Vec::new(), 0);
    for path in [&settings.program].into_iter().chain(&settings.files) {
        let name = settings.name_of(path)?;
        let content = files::read(path, session::MAX_FILE_BYTES)?;
        size += content.len() as u64;
        if size > bundle::MAX_BYTES {
            return Err(BundleError::TooLarge.into());
        }
        all.push((name, content));
    }
    Ok(all)
}

/// The keys that are known here.
fn pinned(
    definition: &Definition,
    config: &Config,
    identity: &Identity,
) -> BTreeMap<PartyName, PublicKey> {
    let parties = definition.settings.parties.iter().cloned();
    let pins = parties.zip(definition.pins(config));
    let mut keys: BTreeMap<_, _> = pins.filter_map(|(name, key)| Some((name, key?))).collect();
    if let Some(me) = identity.claims().party() {
        keys.insert(me.clone(), identity.claims().key);
    }
    keys
}

/// The keys that are known here, and those of the others that the authority knows; and this party's
/// certificate, renewed if that is due.
async fn ask(
    dirs: &Directories,
    config: &Config,
    definition: &Definition,
    mut identity: Identity,
) -> anyhow::Result<(Identity, BTreeMap<PartyName, PublicKey>)> {
    let store = Store::new(&dirs.state);
    let (_, _, hubs) = store.load_all().await?;
    let hubs = config.hubs(hubs);
    if let Some(renewed) = store.renew_if_due(&hubs, &identity).await? {
        identity = renewed;
    }
    let mut keys = pinned(definition, config, &identity);
    let parties = definition.settings.parties.iter();
    let unknown: Vec<PartyName> = parties.filter(|n| !keys.contains_key(n)).cloned().collect();
    for names in unknown.chunks(MAX_DIRECTORY_NAMES) {
        let known = renewal::directory(&hubs, &identity, names).await.with_context(
            || "the keys of the parties cannot be asked (--offline leaves out those not pinned here)",
        )?;
        keys.extend(known.into_iter().filter_map(|(c, _)| Some((c.party()?.clone(), c.key))));
    }
    Ok((identity, keys))
}

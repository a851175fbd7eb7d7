//! `mpyc-party hub`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use mpyc_party_core::lighthouse::Limits;
use mpyc_party_hub::{Authority, HubConfig, serve};
use tokio::net::TcpListener;

use super::{Common, Outcome, output, runtime, stop};
use crate::config::files;
use crate::identity::{Store, keep_fresh};

/// Serve as a hub
#[derive(Debug, Args)]
#[command(after_help = "\
Where the authority's directory is (made by mpyc-party ca init), the hub also enrols parties and
renews their certificates. Elsewhere it needs an identity of its own: a token made with
mpyc-party ca token --for-hub 2, and mpyc-party enroll.

Examples:
  mpyc-party hub
  mpyc-party hub --listen 203.0.113.7:443")]
pub(super) struct Hub {
    /// Address and port to serve on [default: that of the configuration, else [::]:4747]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Write the port that is served on into this file as soon as it is
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,
}

impl Hub {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let (place, config) = common.load()?;
        let authority = place.state.join("ca");
        let address = self.listen.unwrap_or(config.hub.listen);
        runtime()?.block_on(async {
            let served = if authority.is_dir() {
                HubConfig::WithAuthority(Arc::new(Authority::open(&authority)?), 1)
            } else {
                let store = Store::new(&place.state);
                let hubs = config.hubs(store.hubs()?);
                let identity = store.load().with_context(|| {
                    format!(
                        "there is no authority in {} to serve (mpyc-party ca init makes one)",
                        authority.display()
                    )
                })?;
                HubConfig::Alone(keep_fresh(store, hubs, identity))
            };
            let listener = TcpListener::bind(address)
                .await
                .with_context(|| format!("the hub cannot serve on {address}"))?;
            let address = listener.local_addr()?;
            if let Some(path) = &self.port_file {
                files::replace_private(path, address.port().to_string().as_bytes())?;
            }
            output::good(format!("the hub serves on {address}"));
            serve(listener, served, Limits::default(), stop::asked()).await?;
            output::step("the hub has stopped");
            Ok(ExitCode::SUCCESS)
        })
    }
}

//! A hub beside its authority, as a process of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use mpyc_party_authority::Authority;
use mpyc_party_hub::{HubConfig, Limits, serve};
use mpyc_party_transport::quic::Endpoint;
use mpyc_party_transport::task::Supervisor;
use tokio::net::TcpListener;

use super::traffic::say;

/// What to serve, and where.
#[derive(Args)]
pub(crate) struct Hub {
    /// The authority's directory.
    authority: PathBuf,
    /// Where to serve, over TCP and UDP.
    at: SocketAddr,
}

/// Serves until it is killed.
pub(crate) fn run(wanted: &Hub) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let config = HubConfig::WithAuthority(Arc::new(Authority::open(&wanted.authority)?), 1);
        let listener = TcpListener::bind(wanted.at).await?;
        let endpoint = Endpoint::bind(wanted.at.port())?;
        say(&"listening")?;
        Ok(serve(
            listener,
            endpoint,
            config,
            Limits::default(),
            Supervisor::default(),
            std::future::pending(),
        )
        .await?)
    })
}

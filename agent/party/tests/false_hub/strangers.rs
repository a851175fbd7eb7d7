//! Somebody with a valid certificate of the network who is not of the roster, and would have anybody.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::{Expect, Identity, Incoming, Protocol, RawStream, Secure, connect};

/// What has come of it so far.
#[derive(Default)]
pub(super) struct Strangers {
    pub(super) visits: AtomicU32,
    pub(super) calls: AtomicU32,
    pub(super) let_in: AtomicU32,
}

impl Strangers {
    /// Serves whoever comes to `listener`.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener, identity: Identity) {
        let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
        while let Ok((tcp, _)) = listener.accept().await {
            self.visits.fetch_add(1, Ordering::SeqCst);
            let (strangers, identity) = (Arc::clone(&self), identity.clone());
            // What comes of it is counted.
            tokio::spawn(async move { strangers.accept(tcp, &identity).await });
        }
    }

    /// Takes the place of the party that is called.
    pub(super) async fn answer(&self, caller: Secure, identity: &Identity) -> Result<()> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.accept(caller, identity).await
    }

    async fn accept(&self, carrier: impl Into<RawStream>, identity: &Identity) -> Result<()> {
        let incoming = Incoming::read(carrier).await?;
        let protocol = incoming.protocol().context("no protocol")?;
        incoming.accept(identity, protocol, &Expect::AnyParty).await?;
        self.let_in.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Takes the place of the party that calls.
    pub(super) async fn call(&self, callee: Secure, identity: &Identity, tag: Tag) -> Result<()> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let (expect, name) = (Expect::AnyParty, tag.server_name());
        connect(callee, identity, Protocol::Control, &expect, &name).await?;
        self.let_in.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

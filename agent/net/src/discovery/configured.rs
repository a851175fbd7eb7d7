//! What the configuration says: `peers.NAME.address`.

use mpyc_party_core::addr::{Address, Vantage};

use super::{Discovery, Finding, Search, Sources};
use crate::dial::{BoxFuture, DEFAULT_KIND};

/// See the module.
#[derive(Debug)]
pub(super) struct Configured;

impl Discovery for Configured {
    fn name(&self) -> &'static str {
        "configuration"
    }

    fn is_used(&self, sources: &Sources) -> bool {
        !sources.addresses.is_empty()
    }

    fn start(&self, search: Search) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            for peer in search.peers.peers() {
                if let Some(place) = search.sources.addresses.get(search.peers.name(peer)) {
                    let addresses = vec![(parse_address(place), Vantage::Configured)];
                    search.found(Finding { peer, addresses }).await;
                }
            }
            // It does not change while this process lives.
            std::future::pending().await
        })
    }
}

/// What a person writes for an address: «host:port» for one over TCP, and «kind address» for another
/// kind of path, as in `quic 203.0.113.7:4747`. Whether it can be dialled is for its kind to check.
#[must_use]
pub fn parse_address(place: &str) -> Address {
    match place.split_once(' ') {
        Some((kind, value)) => Address::new(kind, value),
        None => Address::new(DEFAULT_KIND.name, place),
    }
}

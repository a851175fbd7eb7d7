//! A discovery for tests: each party leaves a note in a directory that all processes share.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use mpyc_party_core::addr::{Address, Vantage};
use mpyc_party_net::dial::BoxFuture;
use mpyc_party_net::discovery::{Discovery, Finding, Search};

/// How often notes are looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct Directory {
    directory: PathBuf,
}

impl Directory {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }
}

impl Discovery for Directory {
    fn name(&self) -> &'static str {
        "notes"
    }

    fn start(&self, search: Search) -> BoxFuture<'static, ()> {
        let notes = self.directory.join(format!("notes-{}", search.peers.hub_tag));
        Box::pin(run(search, notes))
    }
}

async fn run(search: Search, notes: PathBuf) {
    fs::create_dir_all(&notes).expect("a directory for notes");
    let mut known = vec![Vec::new(); search.peers.roster.len()];
    loop {
        if search.publishes() {
            let own = search.own.borrow().addresses.clone();
            let note = serde_json::to_vec(&own).expect("a note");
            let beside = notes.join(format!("{}.new", std::process::id()));
            fs::write(&beside, note).expect("a note");
            fs::rename(&beside, notes.join(search.peers.own_name().as_str())).expect("a note");
        }
        for peer in search.peers.peers() {
            let note = fs::read(notes.join(search.peers.name(peer).as_str())).unwrap_or_default();
            let found: Vec<Address> = serde_json::from_slice(&note).unwrap_or_default();
            if !found.is_empty() && found != known[peer.get()] {
                known[peer.get()].clone_from(&found);
                let told = found.into_iter().map(|address| (address, Vantage::SameHost));
                search.found(Finding { peer, addresses: told.collect() }).await;
            }
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

//! The hubs' lighthouses: this party is present at all of them, and hears where its peers are.

use mpyc_party_core::addr::Vantage;
use mpyc_party_core::name::PartyName;

use super::{Discovery, Finding, Search, Sources};
use crate::client::lighthouse::{Client, Event, Presence};
use crate::dial::{BoxFuture, relay_address};

/// See the module.
#[derive(Debug)]
pub(super) struct Hubs;

impl Discovery for Hubs {
    fn name(&self) -> &'static str {
        "hub"
    }

    fn is_used(&self, sources: &Sources) -> bool {
        !sources.hubs.is_empty()
    }

    fn start(&self, search: Search) -> BoxFuture<'static, ()> {
        Box::pin(run(search))
    }
}

async fn run(mut search: Search) {
    let (identity, udp) = (search.peers.identities(), search.local.udp.clone());
    let (client, mut events) =
        Client::start(&search.sources.hubs, &identity, presence(&search), udp);
    search.own.mark_unchanged();
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => hear(&search, event).await,
                // The client has failed, and said so: whoever runs this begins anew.
                None => return,
            },
            Ok(()) = search.own.changed() => {
                search.own.mark_unchanged();
                client.set(presence(&search));
            }
        }
    }
}

fn presence(search: &Search) -> Presence {
    let others: Vec<PartyName> =
        search.peers.peers().map(|peer| search.peers.name(peer).clone()).collect();
    Presence {
        tag: search.peers.hub_tag,
        own: search.own.borrow().clone(),
        allow: if search.publishes() { others.clone() } else { Vec::new() },
        groups: Vec::new(),
        watch: others,
    }
}

async fn hear(search: &Search, event: Event) {
    let (party, addresses) = match event {
        Event::Present { party, addresses, hubs } => {
            // Whoever is present at a hub can be called over its relay.
            let relayed = hubs.iter().map(|hub| (relay_address(hub), Vantage::Configured));
            (party, addresses.into_iter().chain(relayed).collect())
        }
        Event::Gone { party } => (party, Vec::new()),
        // Calls and what hubs see are for those who accept and dial.
        event => return drop(search.hub_events.send(event).await),
    };
    if let Some(peer) = search.peers.roster.index_of(&party).filter(|&p| p != search.peers.me) {
        search.found(Finding { peer, addresses }).await;
    }
}

//! What the hubs say, put together.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use mpyc_party_core::addr::{Address, Vantage};
use mpyc_party_core::lighthouse::Transport;
use mpyc_party_core::name::PartyName;
use mpyc_party_core::relay::CallId;
use tokio::sync::mpsc;

use super::{Event, HubError};

/// An address, and from where it was told.
pub(super) type Told = (Address, Vantage);

/// What the task of one hub reports.
pub(super) enum Report {
    Up(SocketAddr, Transport),
    Moved(SocketAddr, Transport),
    Down(HubError),
    Present(PartyName, Vec<Told>),
    Gone(PartyName),
    Call(PartyName, CallId),
    /// Everything the hub knows has been said since it came up.
    Settled,
}

/// A report and the hub it is about.
pub(super) type Reports = mpsc::Sender<(String, Report)>;

/// What one hub says about a party.
#[derive(Debug)]
struct Word {
    addresses: Vec<Told>,
    /// Whether it has said so since it came up.
    fresh: bool,
}

/// What each hub says about each party.
#[derive(Debug, Default)]
struct Hubs(BTreeMap<PartyName, HashMap<String, Word>>);

/// All that is known about a party: each address once, and the hubs that know it.
type Known = (Vec<Told>, Vec<String>);

impl Hubs {
    fn of(&self, party: &PartyName) -> Option<Known> {
        let words = self.0.get(party).filter(|words| !words.is_empty())?;
        let mut words: Vec<_> = words.iter().collect();
        words.sort_by_key(|(hub, _)| *hub);
        let mut all: Vec<Told> = Vec::new();
        for address in words.iter().flat_map(|(_, word)| &word.addresses) {
            if !all.contains(address) {
                all.push(address.clone());
            }
        }
        Some((all, words.into_iter().map(|(hub, _)| hub.clone()).collect()))
    }

    /// Takes in a report; names the parties about whom something may have changed.
    fn take(&mut self, hub: &str, report: &Report) -> Vec<PartyName> {
        match report {
            Report::Present(party, addresses) => {
                let words = self.0.entry(party.clone()).or_default();
                let word = Word { addresses: addresses.clone(), fresh: true };
                words.insert(hub.to_owned(), word);
                vec![party.clone()]
            }
            Report::Gone(party) => {
                self.0.entry(party.clone()).or_default().remove(hub);
                vec![party.clone()]
            }
            // What a lost hub said stays good until it can be asked again.
            Report::Up(..) => {
                let words = self.0.values_mut().filter_map(|words| words.get_mut(hub));
                words.for_each(|word| word.fresh = false);
                Vec::new()
            }
            Report::Settled => {
                let stale =
                    |words: &HashMap<String, Word>| words.get(hub).is_some_and(|word| !word.fresh);
                let stale: Vec<_> = self
                    .0
                    .iter()
                    .filter(|(_, words)| stale(words))
                    .map(|(p, _)| p.clone())
                    .collect();
                for party in &stale {
                    self.0.entry(party.clone()).or_default().remove(hub);
                }
                stale
            }
            Report::Moved(..) | Report::Call(..) | Report::Down(_) => Vec::new(),
        }
    }
}

/// Makes one stream of events of what the hubs report.
pub(super) async fn merge(
    mut inbox: mpsc::Receiver<(String, Report)>,
    _own: Reports,
    events: mpsc::Sender<Event>,
) {
    let mut hubs = Hubs::default();
    let mut told: BTreeMap<PartyName, Known> = BTreeMap::new();
    while let Some((hub, report)) = inbox.recv().await {
        let changed = hubs.take(&hub, &report);
        let mut news = match report {
            Report::Up(observed, transport) | Report::Moved(observed, transport) => {
                vec![Event::Connected { hub, observed, transport }]
            }
            Report::Down(reason) => vec![Event::Disconnected { hub, reason }],
            Report::Call(from, call) => vec![Event::Call { hub, from, call }],
            Report::Present(..) | Report::Gone(_) | Report::Settled => Vec::new(),
        };
        for party in changed {
            match hubs.of(&party) {
                Some(new) if told.get(&party) != Some(&new) => {
                    told.insert(party.clone(), new.clone());
                    let (addresses, hubs) = new;
                    news.push(Event::Present { party, addresses, hubs });
                }
                None if told.remove(&party).is_some() => news.push(Event::Gone { party }),
                _ => {}
            }
        }
        for event in news {
            // Nobody listens any more only when the client is being dropped.
            let _ = events.send(event).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bob() -> PartyName {
        "bob".parse().unwrap()
    }

    fn at(port: u16) -> Told {
        let address = SocketAddr::from(([203, 0, 113, 7], port));
        (Address::new("quic", address), Vantage::Elsewhere)
    }

    fn up() -> Report {
        Report::Up(SocketAddr::from(([203, 0, 113, 7], 9)), Transport::Udp)
    }

    fn of(addresses: &[u16], hubs: &[&str]) -> Option<Known> {
        let hubs = hubs.iter().map(|hub| (*hub).to_owned()).collect();
        Some((addresses.iter().map(|port| at(*port)).collect(), hubs))
    }

    #[test]
    fn hubs_add_up_and_one_of_them_is_enough() {
        let mut hubs = Hubs::default();
        hubs.take("one", &Report::Present(bob(), vec![at(1)]));
        hubs.take("two", &Report::Present(bob(), vec![at(1), at(2)]));
        assert_eq!(hubs.of(&bob()), of(&[1, 2], &["one", "two"]));
        hubs.take("one", &Report::Gone(bob()));
        assert_eq!(hubs.of(&bob()), of(&[1, 2], &["two"]));
        hubs.take("two", &Report::Gone(bob()));
        assert_eq!(hubs.of(&bob()), None);
    }

    #[test]
    fn what_a_lost_hub_said_holds_until_it_is_back_and_silent_about_it() {
        let mut hubs = Hubs::default();
        hubs.take("one", &Report::Present(bob(), vec![at(1)]));
        hubs.take("one", &Report::Down(HubError::HungUp));
        assert!(hubs.of(&bob()).is_some());
        hubs.take("one", &up());
        assert!(hubs.of(&bob()).is_some());
        assert_eq!(hubs.take("one", &Report::Settled), [bob()]);
        assert_eq!(hubs.of(&bob()), None);
        hubs.take("one", &up());
        hubs.take("one", &Report::Present(bob(), vec![at(2)]));
        assert_eq!(hubs.take("one", &Report::Settled), []);
        assert_eq!(hubs.of(&bob()), of(&[2], &["one"]));
    }
}

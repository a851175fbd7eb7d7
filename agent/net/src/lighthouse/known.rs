//! What the hubs say, put together.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use mpyc_party_core::candidate::Candidate;
use mpyc_party_core::lighthouse::Over;
use mpyc_party_core::name::PartyName;
use mpyc_party_core::relay::CallId;
use tokio::sync::mpsc;

use super::Event;

/// What the task of one hub reports.
pub(super) enum Report {
    Up(SocketAddr, Over),
    Moved(SocketAddr, Over),
    Down(String),
    Present(PartyName, Vec<Candidate>),
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
    candidates: Vec<Candidate>,
    /// Whether it has said so since it came up.
    fresh: bool,
}

/// What each hub says about each party.
#[derive(Debug, Default)]
struct Known(BTreeMap<PartyName, HashMap<String, Word>>);

/// All that is known about a party: each candidate once, and the hubs that know it.
type Whereabouts = (Vec<Candidate>, Vec<String>);

impl Known {
    fn whereabouts(&self, party: &PartyName) -> Option<Whereabouts> {
        let words = self.0.get(party).filter(|words| !words.is_empty())?;
        let mut words: Vec<_> = words.iter().collect();
        words.sort_by_key(|(hub, _)| *hub);
        let mut all: Vec<Candidate> = Vec::new();
        for candidate in words.iter().flat_map(|(_, word)| &word.candidates) {
            if !all.contains(candidate) {
                all.push(*candidate);
            }
        }
        Some((all, words.into_iter().map(|(hub, _)| hub.clone()).collect()))
    }

    /// Takes in a report; names the parties about whom something may have changed.
    fn take(&mut self, hub: &str, report: &Report) -> Vec<PartyName> {
        match report {
            Report::Present(party, candidates) => {
                let words = self.0.entry(party.clone()).or_default();
                let word = Word { candidates: candidates.clone(), fresh: true };
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
    let mut known = Known::default();
    let mut told: BTreeMap<PartyName, Whereabouts> = BTreeMap::new();
    while let Some((hub, report)) = inbox.recv().await {
        let changed = known.take(&hub, &report);
        let mut news = match report {
            Report::Up(observed, over) | Report::Moved(observed, over) => {
                vec![Event::Connected { hub, observed, over }]
            }
            Report::Down(reason) => vec![Event::Disconnected { hub, reason }],
            Report::Call(from, call) => vec![Event::Call { hub, from, call }],
            Report::Present(..) | Report::Gone(_) | Report::Settled => Vec::new(),
        };
        for party in changed {
            match known.whereabouts(&party) {
                Some(new) if told.get(&party) != Some(&new) => {
                    told.insert(party.clone(), new.clone());
                    let (candidates, hubs) = new;
                    news.push(Event::Present { party, candidates, hubs });
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

    fn at(port: u16) -> Candidate {
        Candidate::Udp(SocketAddr::from(([203, 0, 113, 7], port)))
    }

    fn up() -> Report {
        Report::Up(at(9).address(), Over::Udp)
    }

    fn of(candidates: &[u16], hubs: &[&str]) -> Option<Whereabouts> {
        let hubs = hubs.iter().map(|hub| (*hub).to_owned()).collect();
        Some((candidates.iter().map(|port| at(*port)).collect(), hubs))
    }

    #[test]
    fn hubs_add_up_and_one_of_them_is_enough() {
        let mut known = Known::default();
        known.take("one", &Report::Present(bob(), vec![at(1)]));
        known.take("two", &Report::Present(bob(), vec![at(1), at(2)]));
        assert_eq!(known.whereabouts(&bob()), of(&[1, 2], &["one", "two"]));
        known.take("one", &Report::Gone(bob()));
        assert_eq!(known.whereabouts(&bob()), of(&[1, 2], &["two"]));
        known.take("two", &Report::Gone(bob()));
        assert_eq!(known.whereabouts(&bob()), None);
    }

    #[test]
    fn what_a_lost_hub_said_holds_until_it_is_back_and_silent_about_it() {
        let mut known = Known::default();
        known.take("one", &Report::Present(bob(), vec![at(1)]));
        known.take("one", &Report::Down(String::new()));
        assert!(known.whereabouts(&bob()).is_some());
        known.take("one", &up());
        assert!(known.whereabouts(&bob()).is_some());
        assert_eq!(known.take("one", &Report::Settled), [bob()]);
        assert_eq!(known.whereabouts(&bob()), None);
        known.take("one", &up());
        known.take("one", &Report::Present(bob(), vec![at(2)]));
        assert_eq!(known.take("one", &Report::Settled), []);
        assert_eq!(known.whereabouts(&bob()), of(&[2], &["one"]));
    }
}

//! A party's side of the lighthouse: keeps a connection to every hub of the network and says who
//! can be reached where.
//!
//! Being at all hubs at once means that two parties find each other as long as one hub works and
//! none of them needs to choose the same. A [`Client`] never ends by itself: hubs come and go, it
//! keeps trying.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use mpyc_party_core::candidate::{self, Vantage};
use mpyc_party_core::lighthouse::{Answer, LONGEST, Request};
use mpyc_party_core::name::PartyName;
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::{Expect, Identity, Protocol, SecureStream, connect, frame};
use tokio::io::split;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};

use crate::beacon::{KEEPALIVE, SILENCE};
use crate::wire;

/// The first pause after a failure; it doubles up to [`LONGEST_PAUSE`].
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What one instance of a party says about itself and wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// The session.
    pub tag: Tag,
    /// Where this instance accepts connections.
    pub candidates: Vec<SocketAddr>,
    /// Who may know that; usually the roster.
    pub allow: Vec<PartyName>,
    /// Of whom it wants to hear; usually the rest of the roster.
    pub watch: Vec<PartyName>,
}

/// What a party learns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A hub answers.
    Connected {
        /// The hub, «host:port».
        hub: String,
        /// How it sees this party.
        observed: SocketAddr,
    },
    /// A hub cannot be reached or was lost; it is tried again by itself.
    Disconnected {
        /// The hub, «host:port».
        hub: String,
        /// Why, for people.
        reason: String,
    },
    /// A party can be tried there: everything that all hubs say, checked once more here. Replaces
    /// what was said before.
    Present {
        /// The party.
        party: PartyName,
        /// Where to try.
        candidates: Vec<SocketAddr>,
    },
    /// No hub knows any longer where the party is.
    Gone {
        /// The party.
        party: PartyName,
    },
}

/// What the task of one hub reports.
enum Report {
    Up(SocketAddr),
    Down(String),
    Present(PartyName, Vec<SocketAddr>),
    Gone(PartyName),
    /// Everything the hub knows has been said since it came up.
    Settled,
}

/// A party's presence at its hubs; dropping it ends the presence.
#[derive(Debug)]
pub struct Client {
    presence: watch::Sender<Presence>,
    _tasks: JoinSet<()>,
}

impl Client {
    /// Goes to all `hubs` («host:port») with `identity`, whose renewals the channel brings, and
    /// makes `presence` known. The events have to be read.
    #[must_use]
    pub fn start(
        hubs: &[String],
        identity: &watch::Receiver<Identity>,
        presence: Presence,
    ) -> (Self, mpsc::Receiver<Event>) {
        let (presence, wishes) = watch::channel(presence);
        let (reports, inbox) = mpsc::channel(64);
        let (events, outbox) = mpsc::channel(64);
        let mut tasks = JoinSet::new();
        for hub in hubs {
            let task = Visit {
                hub: hub.clone(),
                identity: identity.clone(),
                wishes: wishes.clone(),
                reports: reports.clone(),
            };
            tasks.spawn(task.run());
        }
        // The merger keeps a sender as well, so that it goes on without any hub.
        tasks.spawn(merge(inbox, reports, events));
        (Self { presence, _tasks: tasks }, outbox)
    }

    /// Replaces what is made known; the tag stays, another session is another client.
    pub fn set(&self, presence: Presence) {
        self.presence.send_if_modified(|current| {
            let presence = Presence { tag: current.tag, ..presence };
            let changed = *current != presence;
            *current = presence;
            changed
        });
    }
}

type Reports = mpsc::Sender<(String, Report)>;

/// The task of one hub.
struct Visit {
    hub: String,
    identity: watch::Receiver<Identity>,
    wishes: watch::Receiver<Presence>,
    reports: Reports,
}

impl Visit {
    async fn report(&self, report: Report) {
        // The merger lives as long as this task.
        let _ = self.reports.send((self.hub.clone(), report)).await;
    }

    async fn run(mut self) {
        let mut pause = SHORTEST_PAUSE;
        loop {
            let begun = Instant::now();
            let Err(reason) = self.once().await;
            self.report(Report::Down(reason)).await;
            if begun.elapsed() > SILENCE {
                pause = SHORTEST_PAUSE;
            }
            // Half of it random, or all parties would come back in the same moment.
            let random = getrandom::u32().unwrap_or(0) % 1000;
            sleep(pause / 2 + pause * random / 2000).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One connection, until it fails.
    async fn once(&mut self) -> Result<Infallible, String> {
        let tcp = wire::dial(&self.hub).await.map_err(|error| error.to_string())?;
        let identity = self.identity.borrow_and_update().clone();
        let name = Tag::hub(&identity.root().fingerprint).server_name();
        let secure = connect(tcp, &identity, Protocol::Hub, &Expect::Hub, &name).await;
        let secure = secure.map_err(|error| error.to_string())?;
        let vantage = Vantage::of(secure.address.ip());
        let (mut reader, mut writer) = split(secure.stream);
        tokio::select! {
            end = self.listen(&mut reader, vantage) => end,
            end = speak(self.wishes.clone(), &mut writer) => end,
        }
    }

    fn wished(&self, tag: Tag, party: &PartyName) -> bool {
        let wishes = self.wishes.borrow();
        wishes.tag == tag && wishes.watch.contains(party)
    }

    async fn listen(
        &self,
        reader: &mut tokio::io::ReadHalf<SecureStream>,
        vantage: Vantage,
    ) -> Result<Infallible, String> {
        let mut settled = false;
        loop {
            let answer = timeout(SILENCE, frame::read::<Answer>(reader, LONGEST)).await;
            let answer = answer.map_err(|_| "it went silent".to_owned())?;
            let answer = answer.map_err(|error| error.to_string())?;
            match answer.ok_or("it hung up")? {
                Answer::Welcome { observed } => self.report(Report::Up(observed)).await,
                // A hub is not believed: it could send a party to its own machine, or invent any
                // number of parties.
                Answer::Present { party, tag, candidates } => {
                    if self.wished(tag, &party) {
                        let candidates = candidate::admit(&candidates, vantage);
                        self.report(Report::Present(party, candidates)).await;
                    }
                }
                Answer::Gone { party, tag } => {
                    if self.wished(tag, &party) {
                        self.report(Report::Gone(party)).await;
                    }
                }
                Answer::Pong if settled => {}
                Answer::Pong => {
                    settled = true;
                    self.report(Report::Settled).await;
                }
            }
        }
    }
}

/// Says what is wished, again whenever it changes, and that one is still there.
async fn speak(
    mut wishes: watch::Receiver<Presence>,
    writer: &mut tokio::io::WriteHalf<SecureStream>,
) -> Result<Infallible, String> {
    let mut ticks = interval(KEEPALIVE);
    wishes.mark_changed();
    loop {
        tokio::select! {
            biased;
            changed = wishes.changed() => {
                changed.map_err(|_| "the party ends its presence".to_owned())?;
                let Presence { tag, candidates, allow, watch } = wishes.borrow_and_update().clone();
                say(writer, &Request::Announce { tag, candidates, allow }).await?;
                say(writer, &Request::Watch { tag, parties: watch }).await?;
            }
            _ = ticks.tick() => say(writer, &Request::Ping).await?,
        }
    }
}

async fn say(
    writer: &mut tokio::io::WriteHalf<SecureStream>,
    request: &Request,
) -> Result<(), String> {
    let written = timeout(SILENCE, frame::write(writer, request, LONGEST)).await;
    written.map_err(|_| "it does not read".to_owned())?.map_err(|error| error.to_string())
}

/// What each hub says about each party, and whether it has said so since it came up.
#[derive(Default)]
struct Known(BTreeMap<PartyName, HashMap<String, (Vec<SocketAddr>, bool)>>);

impl Known {
    /// All that is known about `party`, each candidate once.
    fn candidates(&self, party: &PartyName) -> Option<Vec<SocketAddr>> {
        let hubs = self.0.get(party).filter(|hubs| !hubs.is_empty())?;
        let mut hubs: Vec<_> = hubs.iter().collect();
        hubs.sort_by_key(|(hub, _)| *hub);
        let mut all: Vec<SocketAddr> = Vec::new();
        for candidate in hubs.into_iter().flat_map(|(_, (candidates, _))| candidates) {
            if !all.contains(candidate) {
                all.push(*candidate);
            }
        }
        Some(all)
    }

    /// Takes in a report; names the parties about whom something may have changed.
    fn take(&mut self, hub: &str, report: &Report) -> Vec<PartyName> {
        match report {
            Report::Present(party, candidates) => {
                let hubs = self.0.entry(party.clone()).or_default();
                hubs.insert(hub.to_owned(), (candidates.clone(), true));
                vec![party.clone()]
            }
            Report::Gone(party) => {
                self.0.entry(party.clone()).or_default().remove(hub);
                vec![party.clone()]
            }
            // What a lost hub said stays good until it can be asked again.
            Report::Up(_) => {
                let entries = self.0.values_mut().filter_map(|hubs| hubs.get_mut(hub));
                entries.for_each(|entry| entry.1 = false);
                Vec::new()
            }
            Report::Settled => {
                let stale = |hubs: &HashMap<String, (Vec<SocketAddr>, bool)>| {
                    hubs.get(hub).is_some_and(|entry| !entry.1)
                };
                let stale: Vec<_> =
                    self.0.iter().filter(|(_, hubs)| stale(hubs)).map(|(p, _)| p.clone()).collect();
                for party in &stale {
                    self.0.entry(party.clone()).or_default().remove(hub);
                }
                stale
            }
            Report::Down(_) => Vec::new(),
        }
    }
}

/// Makes one stream of events of what the hubs report.
async fn merge(
    mut inbox: mpsc::Receiver<(String, Report)>,
    _own: Reports,
    events: mpsc::Sender<Event>,
) {
    let mut known = Known::default();
    let mut told: BTreeMap<PartyName, Vec<SocketAddr>> = BTreeMap::new();
    while let Some((hub, report)) = inbox.recv().await {
        let changed = known.take(&hub, &report);
        let mut news = match report {
            Report::Up(observed) => vec![Event::Connected { hub, observed }],
            Report::Down(reason) => vec![Event::Disconnected { hub, reason }],
            _ => Vec::new(),
        };
        for party in changed {
            match known.candidates(&party) {
                Some(candidates) if told.get(&party) != Some(&candidates) => {
                    told.insert(party.clone(), candidates.clone());
                    news.push(Event::Present { party, candidates });
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

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([203, 0, 113, 7], port))
    }

    #[test]
    fn hubs_add_up_and_one_of_them_is_enough() {
        let mut known = Known::default();
        known.take("one", &Report::Present(bob(), vec![at(1)]));
        known.take("two", &Report::Present(bob(), vec![at(1), at(2)]));
        assert_eq!(known.candidates(&bob()), Some(vec![at(1), at(2)]));
        known.take("one", &Report::Gone(bob()));
        assert_eq!(known.candidates(&bob()), Some(vec![at(1), at(2)]));
        known.take("two", &Report::Gone(bob()));
        assert_eq!(known.candidates(&bob()), None);
    }

    #[test]
    fn what_a_lost_hub_said_holds_until_it_is_back_and_silent_about_it() {
        let mut known = Known::default();
        known.take("one", &Report::Present(bob(), vec![at(1)]));
        known.take("one", &Report::Down(String::new()));
        assert!(known.candidates(&bob()).is_some());
        known.take("one", &Report::Up(at(9)));
        assert!(known.candidates(&bob()).is_some());
        assert_eq!(known.take("one", &Report::Settled), [bob()]);
        assert_eq!(known.candidates(&bob()), None);
        known.take("one", &Report::Up(at(9)));
        known.take("one", &Report::Present(bob(), vec![at(2)]));
        assert_eq!(known.take("one", &Report::Settled), []);
        assert_eq!(known.candidates(&bob()), Some(vec![at(2)]));
    }
}

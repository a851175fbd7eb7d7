//! Everything that is known about where the peers of one session are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use mpyc_party_core::addr::{Address, Vantage, admit};
use mpyc_party_core::lighthouse::Transport;
use mpyc_party_core::path::Target;
use mpyc_party_core::roster::PeerIndex;
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::sleep;

use crate::addr::OwnAddresses;
use crate::addr::own_ips;
use crate::client::lighthouse::{Event, HubError};
use crate::dial::{BoxFuture, Call, LocalEnd};
use crate::discovery::nat::Nat;
use crate::discovery::{Finding, HubReport, Search, Seen, Sources, named};
use crate::peers::SessionPeers;
use crate::stack::Stack;

/// Findings, events of hubs and calls that may wait to be looked at.
const MAX_QUEUED: usize = 64;
/// How long a discovery that has failed is left alone.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Where a peer may be tried, and by which discoveries each target was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerAddresses(BTreeMap<Target, BTreeSet<&'static str>>);

impl PeerAddresses {
    /// What may be tried, the best kind first.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.0.keys()
    }

    /// The discoveries that found something.
    #[must_use]
    pub fn found_by(&self) -> BTreeSet<&'static str> {
        self.0.values().flatten().copied().collect()
    }
}

/// Looks for the peers of one session by all discoveries, and remembers what each has found.
#[derive(Debug)]
pub struct AddressBook {
    stack: Arc<Stack>,
    peers: SessionPeers,
    sources: Sources,
    local: LocalEnd,
    /// Whether this party is to be found.
    publishes: bool,
    own: watch::Sender<OwnAddresses>,
    found: BTreeMap<(PeerIndex, &'static str), Vec<Target>>,
    heard: BTreeMap<String, Result<Seen, HubError>>,
    /// Some hub was reached, now or before.
    reached: bool,
    findings: mpsc::Receiver<(&'static str, Finding)>,
    hub_events: mpsc::Receiver<Event>,
    calls: mpsc::Sender<Call>,
    taken_calls: Option<mpsc::Receiver<Call>>,
    senders: (mpsc::Sender<(&'static str, Finding)>, mpsc::Sender<Event>),
    tasks: JoinSet<()>,
    running: HashMap<Id, &'static str>,
}

impl AddressBook {
    /// Nothing is known yet; [`AddressBook::start`] begins to look.
    #[must_use]
    pub fn new(stack: Arc<Stack>, sources: Sources, peers: SessionPeers) -> Self {
        let (findings, hub_events) = (mpsc::channel(MAX_QUEUED), mpsc::channel(MAX_QUEUED));
        let (calls, taken_calls) = mpsc::channel(MAX_QUEUED);
        Self {
            stack,
            peers,
            sources,
            local: LocalEnd::default(),
            publishes: false,
            own: watch::Sender::default(),
            found: BTreeMap::new(),
            heard: BTreeMap::new(),
            reached: false,
            findings: findings.1,
            hub_events: hub_events.1,
            calls,
            taken_calls: Some(taken_calls),
            senders: (findings.0, hub_events.0),
            tasks: JoinSet::new(),
            running: HashMap::new(),
        }
    }

    /// The kinds of path and the discoveries that it goes by.
    #[must_use]
    pub fn stack(&self) -> &Arc<Stack> {
        &self.stack
    }

    /// The calls that hubs tell of; the first who asks gets them.
    pub fn calls(&mut self) -> Option<mpsc::Receiver<Call>> {
        self.taken_calls.take()
    }

    /// Looks for the peers, and publishes that this party is at `local`. Without a public port it only
    /// asks: nobody is told, or they would look here for a run of this party that waits elsewhere.
    pub fn start(&mut self, local: LocalEnd) {
        self.publishes = local.tcp.is_some();
        self.local = local;
        self.moved();
        for discovery in self.stack.clone().discoveries() {
            self.run(discovery.name(), Duration::ZERO);
        }
    }

    fn run(&mut self, name: &'static str, pause: Duration) {
        let mut used = self.stack.used(&self.sources);
        let Some(discovery) = used.find(|discovery| discovery.name() == name) else { return };
        let search = Search {
            peers: self.peers.clone(),
            sources: self.sources.clone(),
            kinds: self.stack.kinds().cloned().collect(),
            local: self.local.clone(),
            own: self.own.subscribe(),
            findings: self.senders.0.clone(),
            hub_events: self.senders.1.clone(),
            name,
        };
        let id = self.tasks.spawn(after(pause, discovery.start(search))).id();
        self.running.insert(id, name);
    }

    /// The addresses of this machine have changed: that is published, and the others are asked for
    /// again.
    pub fn moved(&mut self) {
        let own = match self.publishes {
            true => self.stack.own(&self.local),
            false => OwnAddresses::default(),
        };
        self.own.send_replace(own);
    }

    /// A peer was lost: everything is said and asked again.
    pub fn refresh(&self) {
        self.own.send_modify(|_| {});
    }

    /// What is new of a peer; replaces what was known of it. Never ends; may be cancelled.
    pub async fn next(&mut self) -> (PeerIndex, PeerAddresses) {
        loop {
            tokio::select! {
                Some((name, finding)) = self.findings.recv() => {
                    let peer = finding.peer;
                    self.take(name, finding);
                    return (peer, self.addresses(peer));
                }
                Some(event) = self.hub_events.recv() => self.hear(event),
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended),
                else => std::future::pending().await,
            }
        }
    }

    fn take(&mut self, name: &'static str, Finding { peer, addresses }: Finding) {
        let targets = addresses.iter().filter_map(|(a, vantage)| self.stack.target(a, *vantage));
        self.found.insert((peer, name), targets.collect());
    }

    /// All that is known about where `peer` is.
    #[must_use]
    pub fn addresses(&self, peer: PeerIndex) -> PeerAddresses {
        let mut all = PeerAddresses::default();
        for ((_, name), targets) in
            self.found.range((peer, "")..).take_while(|((p, _), _)| *p == peer)
        {
            for target in targets {
                all.0.entry(target.clone()).or_default().insert(name);
            }
        }
        all
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Connected { hub, observed, transport } => {
                log::debug!("hub {hub} sees this party at {observed} over {transport}");
                let seen = Seen { address: observed, udp: transport == Transport::Udp };
                self.heard.insert(hub, Ok(seen));
                self.reached = true;
            }
            Event::Disconnected { hub, reason } => {
                // It is tried again and again; the same answer is no news.
                let known = self.heard.get(&hub).is_some_and(|h| h.as_ref().err() == Some(&reason));
                // Whoever only asks tells by itself which hubs answer.
                if !known && self.publishes {
                    log::warn!("hub {hub}: {reason}");
                }
                self.heard.insert(hub, Err(reason));
            }
            Event::Call { hub, from, call } => {
                let peer = self.peers.roster.index_of(&from).filter(|&peer| peer != self.peers.me);
                if peer.is_some() {
                    // With so many waiting, whoever called tries again.
                    let _ = self.calls.try_send(Call { hub, call });
                }
            }
            Event::Present { .. } | Event::Gone { .. } => {}
        }
    }

    /// A discovery has ended: what it found stays good, and it begins anew.
    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let (id, why) = match ended {
            Ok((id, ())) => (id, "it ended by itself".to_owned()),
            Err(error) => (error.id(), error.to_string()),
        };
        if let Some(name) = self.running.remove(&id) {
            log::error!("the discovery «{name}» failed, and begins anew: {why}");
            self.run(name, RESTART_PAUSE);
        }
    }

    /// How each hub that was tried so far sees this party, or why it cannot be used.
    #[must_use]
    pub fn hubs(&self) -> Vec<HubReport> {
        let report = |(hub, heard): (&String, &Result<Seen, HubError>)| HubReport {
            hub: hub.clone(),
            seen: heard.as_ref().ok().copied(),
            problem: heard.as_ref().err().map(ToString::to_string),
        };
        self.heard.iter().map(report).collect()
    }

    /// What keeps this party from all hubs, where it is that connections to them open and then nothing
    /// gets through.
    #[must_use]
    pub fn isolated_by(&self) -> Option<String> {
        let stalled = |(hub, heard): (&String, &Result<Seen, HubError>)| match heard {
            Err(HubError::Stalled(stalled)) => Some(format!("hub {hub}: {stalled}")),
            _ => None,
        };
        let reached = self.heard.values().any(Result::is_ok);
        self.heard.iter().find_map(stalled).filter(|_| !reached)
    }

    /// Why no hub was ever reached, where this party has any: what the first of them lacks.
    #[must_use]
    pub fn never_reached(&self) -> Option<String> {
        let hub = self.sources.hubs.first().filter(|_| !self.reached)?;
        let failed = |(hub, heard): (&String, &Result<Seen, HubError>)| {
            Some(named(hub, &heard.as_ref().err()?.to_string()))
        };
        let failed = self.heard.iter().find_map(failed);
        Some(failed.unwrap_or_else(|| format!("{hub} has not answered")))
    }

    /// Where this party says that it is reached.
    #[must_use]
    pub fn own(&self) -> Vec<Address> {
        self.own.borrow().addresses.clone()
    }

    /// Where a peer that dials at the same moment might get through: how hubs see this process, and
    /// this machine's own addresses.
    #[must_use]
    pub fn punchable(&self) -> Vec<Address> {
        let kinds = self.stack.kinds().filter(|kind| kind.kind().opens_nats);
        let of_kind = |kind: &Arc<dyn crate::dial::PathKind>| {
            let seen = self.heard.values().flatten().filter(|seen| seen.udp);
            let seen = seen.map(|seen| Address::new(kind.kind().name, seen.address));
            seen.chain(kind.own(&self.local)).collect::<Vec<_>>()
        };
        admit(&kinds.flat_map(of_kind).collect::<Vec<_>>(), Vantage::SameHost)
    }

    /// The NAT before this party, as the hubs tell that see its UDP.
    #[must_use]
    pub fn nat(&self) -> Nat {
        let seen = self.heard.values().flatten().filter(|seen| seen.udp);
        let observed: Vec<_> = seen.map(|seen| seen.address).collect();
        Nat::judge(&observed, &own_ips())
    }
}

async fn after(pause: Duration, task: BoxFuture<'static, ()>) {
    sleep(pause).await;
    task.await;
}

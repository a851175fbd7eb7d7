//! The local network: this party shows itself there by DNS-SD over multicast DNS (RFC 6763, 6762)
//! and looks for its peers, so that those who sit in one room need no hub.
//!
//! A network without multicast is none of the run's troubles, and whoever floods it stops nothing
//! but this: what the library keeps of the answers has no bound of its own, so it is looked at and,
//! when there is too much of it, thrown away. In a flood the library's thread is deaf until it is
//! over; what it keeps grows slowly then, for it looks through all of it each time.

mod announcements;

use std::time::Duration;

use mdns_sd::{
    IfKind, Metrics, Receiver, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo, TxtProperty,
};
use mpyc_party_core::addr::Vantage;
use mpyc_party_core::alias::{Marks, Salt};
use mpyc_party_core::roster::PeerIndex;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use super::{Discovery, Finding, Search, Sources};
use crate::addr::own_networks;
use crate::dial::BoxFuture;
use announcements::Announcements;

/// The most records of others that are kept; a large conference has some thousands.
const MAX_RECORDS: i64 = 10_000;
/// How often they are counted.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);
/// How long the library may be too busy with packets to say so.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long to keep away from a network that could not be used.
const RETRY_PAUSE: Duration = Duration::from_secs(30);

/// Events that may wait to be looked at.
const MAX_QUEUED: usize = 64;

/// What properties with marks are called, with a number behind it (RFC 6763, section 6.4).
const MARKS_KEY: &str = "m";
/// The most bytes of a property's value: with its name it is a string of DNS (RFC 6763, section 6.1).
const MAX_PROPERTY_BYTES: usize = 248;

/// Why the library is not listened to.
const OVERFLOW: &str = "too much is announced on it at once";

/// A kind of path, its service type, and the port at which this party is found under it.
type Service = (&'static str, &'static str, Option<u16>);

/// See the module.
#[derive(Debug)]
pub(super) struct Mdns;

impl Discovery for Mdns {
    fn name(&self) -> &'static str {
        "local network"
    }

    fn is_used(&self, sources: &Sources) -> bool {
        sources.local
    }

    fn start(&self, search: Search) -> BoxFuture<'static, ()> {
        Box::pin(watch_for_ever(search))
    }
}

/// The services of all kinds of path that have one. The library itself follows the addresses of this
/// machine.
fn services(search: &Search) -> Vec<Service> {
    let own = search.own.borrow();
    let service = |kind: &std::sync::Arc<dyn crate::dial::PathKind>| {
        let name = kind.kind().name;
        let own = own.addresses.iter().filter(|address| address.kind == name);
        let port =
            own.filter_map(mpyc_party_core::addr::Address::socket).next().map(|at| at.port());
        Some((name, kind.service()?, port))
    };
    search.kinds.iter().filter_map(service).collect()
}

async fn watch_for_ever(search: Search) {
    let mut announcements = Announcements::new(&search.peers);
    loop {
        match Responder::open(&announcements, services(&search)) {
            Ok(responder) => {
                let why = responder.watch(&mut announcements, &search).await;
                log::info!("the local network is not looked at any more for now: {why}");
                responder.end().await;
            }
            Err(error) => log::info!("the local network cannot be looked at now: {error}"),
        }
        sleep(RETRY_PAUSE).await;
    }
}

/// The library's thread; it says goodbye to the network and ends when this is dropped.
struct Responder {
    daemon: ServiceDaemon,
    /// What is heard of each service.
    events: Vec<(&'static str, Receiver<ServiceEvent>)>,
}

impl Drop for Responder {
    fn drop(&mut self) {
        // One that has ended already is as good.
        let _ = self.daemon.shutdown();
    }
}

impl Responder {
    fn open(announcements: &Announcements, services: Vec<Service>) -> mdns_sd::Result<Self> {
        let daemon = ServiceDaemon::new()?;
        daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
        let mut responder = Self { events: Vec::new(), daemon };
        let alias = fresh_salt().map(|salt| announcements.own_alias(salt));
        for (kind, service, port) in services {
            responder.events.push((kind, responder.daemon.browse(service)?));
            if let (Some(alias), Some(port)) = (&alias, port) {
                responder.daemon.register(announcement(service, alias, port)?)?;
            }
        }
        Ok(responder)
    }

    /// Passes on what is heard; returns why that has ended.
    async fn watch(&self, announcements: &mut Announcements, search: &Search) -> String {
        let (sender, mut heard) = mpsc::channel(MAX_QUEUED);
        // Dropping the set ends its tasks.
        let mut listening = JoinSet::new();
        for (kind, events) in &self.events {
            listening.spawn(forward(kind, events.clone(), sender.clone()));
        }
        let mut counting = interval(COUNT_INTERVAL);
        loop {
            let peer = tokio::select! {
                Some((kind, event)) = heard.recv() => take(announcements, kind, &event),
                Some(_) = listening.join_next() => return OVERFLOW.to_owned(),
                _ = counting.tick() => match timeout(ANSWER_TIMEOUT, self.kept()).await {
                    Ok(0..=MAX_RECORDS) => None,
                    Ok(many) => return format!("{many} records were announced on it"),
                    Err(_) => return OVERFLOW.to_owned(),
                },
            };
            if let Some(peer) = peer {
                let addresses = announcements.addresses(peer).into_iter();
                let addresses = addresses.map(|address| (address, Vantage::Elsewhere)).collect();
                search.found(Finding { peer, addresses }).await;
            }
        }
    }

    /// Ends the library's thread. In a flood it hears of that only when the flood is over: there is
    /// never more than one.
    async fn end(self) {
        if let Ok(ended) = self.daemon.shutdown() {
            let _ = ended.recv_async().await;
        }
    }

    /// How many records of others are kept.
    async fn kept(&self) -> i64 {
        let metrics = match self.daemon.get_metrics() {
            Ok(answer) => answer.recv_async().await.unwrap_or_default(),
            Err(_) => Metrics::default(),
        };
        metrics.iter().filter(|(name, _)| name.starts_with("cached-")).map(|(_, many)| many).sum()
    }
}

/// Passes on what is heard of one service, until the library has ended.
async fn forward(
    kind: &'static str,
    events: Receiver<ServiceEvent>,
    heard: mpsc::Sender<(&'static str, ServiceEvent)>,
) {
    while let Ok(event) = events.recv_async().await {
        if heard.send((kind, event)).await.is_err() {
            return;
        }
    }
}

/// None without randomness, where no connection could be made either.
fn fresh_salt() -> Option<Salt> {
    let mut salt = [0; 8];
    getrandom::fill(&mut salt).ok()?;
    Some(Salt(salt))
}

/// What this party says of itself: alias and port and, by the library, its addresses.
fn announcement(
    service: &str,
    (salt, marks): &(Salt, Marks),
    port: u16,
) -> mdns_sd::Result<ServiceInfo> {
    let host = format!("{salt}.local.");
    let numbered = marks.chunks(MAX_PROPERTY_BYTES).enumerate();
    let marks: Vec<TxtProperty> =
        numbered.map(|(number, chunk)| (format!("{MARKS_KEY}{number}"), chunk).into()).collect();
    let info = ServiceInfo::new(service, &salt.to_string(), &host, "", port, marks)?;
    let mut info = info.enable_addr_auto();
    // A random name is nobody else's: asking for that would only cost time.
    info.set_requires_probe(false);
    Ok(info)
}

/// The peer of whom `event` tells something new.
fn take(
    announcements: &mut Announcements,
    kind: &'static str,
    event: &ServiceEvent,
) -> Option<PeerIndex> {
    match event {
        ServiceEvent::ServiceResolved(service) => {
            let addresses = service.addresses.iter().map(ScopedIp::to_ip_addr);
            let at = (addresses, service.port);
            let properties = service.txt_properties.iter();
            let marks = properties.filter(|property| property.key().starts_with(MARKS_KEY));
            let marks = Marks::read(marks.filter_map(TxtProperty::val));
            announcements.hear((&service.fullname, &marks), kind, at, &own_networks())
        }
        ServiceEvent::ServiceRemoved(_, name) => announcements.forget(name),
        _ => None,
    }
}

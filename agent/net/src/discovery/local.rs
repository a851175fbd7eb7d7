//! The local network: this party shows itself there by DNS-SD over multicast DNS (RFC 6763, 6762)
//! and looks for its peers, so that those who sit in one room need no hub.
//!
//! A network without multicast is none of the run's troubles, and whoever floods it stops nothing
//! but this: what the library keeps of the answers has no bound of its own, so it is looked at and,
//! when there is too much of it, thrown away. In a flood the library's thread is deaf until it is
//! over; what it keeps grows slowly then, for it looks through all of it each time.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use mdns_sd::{IfKind, Metrics, Receiver, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo};
use mpyc_party_core::alias::Alias;
use mpyc_party_core::candidate::Candidate;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use super::nearby::Nearby;

/// The service types of parties that accept connections over TCP and over UDP (RFC 6763, section 7).
const SERVICES: [&str; 2] = ["_mpyc-party._tcp.local.", "_mpyc-party._udp.local."];
/// What an announcement of each is.
const KINDS: [fn(SocketAddr) -> Candidate; 2] = [Candidate::Tcp, Candidate::Udp];
/// The most records of others that are kept; a large conference has some thousands.
const MOST_RECORDS: i64 = 10_000;
/// How often they are counted.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// How long the library may be too busy with packets to say so.
const SILENCE: Duration = Duration::from_secs(2);
/// How long to keep away from a network that could not be used.
const PAUSE: Duration = Duration::from_secs(30);

/// Why the library is not listened to.
const OVERFLOW: &str = "too much is announced on it at once";

/// A peer, and all candidates that the local network knows of it.
pub(super) type News = (usize, Vec<Candidate>);

/// The ports on which this party accepts connections, as in [`SERVICES`].
type Ports = [Option<u16>; 2];

/// This party's presence on the local network; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Local {
    news: mpsc::Receiver<News>,
    _task: JoinSet<()>,
}

impl Local {
    /// Looks for the peers of `nearby`, and shows this party to them where it accepts connections
    /// on the ports `tcp` and `udp`.
    pub(super) fn start(nearby: Nearby, tcp: Option<u16>, udp: Option<u16>) -> Self {
        let (sender, news) = mpsc::channel(64);
        let mut task = JoinSet::new();
        task.spawn(keep_watching(nearby, [tcp, udp], sender));
        Self { news, _task: task }
    }

    /// The next peer of whom something new is known. Never ends; may be cancelled.
    pub(super) async fn next(&mut self) -> News {
        match self.news.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }
}

async fn keep_watching(mut nearby: Nearby, ports: Ports, news: mpsc::Sender<News>) {
    loop {
        match Responder::open(&nearby, ports) {
            Ok(responder) => {
                let why = responder.watch(&mut nearby, &news).await;
                log::info!("the local network is not looked at any more for now: {why}");
                responder.end().await;
            }
            Err(error) => log::info!("the local network cannot be looked at now: {error}"),
        }
        sleep(PAUSE).await;
    }
}

/// The library's thread; it says goodbye to the network and ends when this is dropped.
struct Responder {
    daemon: ServiceDaemon,
    /// What is heard of each of [`SERVICES`].
    events: [Receiver<ServiceEvent>; 2],
}

impl Drop for Responder {
    fn drop(&mut self) {
        // One that has ended already is as good.
        let _ = self.daemon.shutdown();
    }
}

impl Responder {
    fn open(nearby: &Nearby, ports: Ports) -> mdns_sd::Result<Self> {
        let daemon = ServiceDaemon::new()?;
        daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
        let [tcp, udp] = SERVICES.map(|service| daemon.browse(service));
        let responder = Self { events: [tcp?, udp?], daemon };
        let alias = fresh_alias(nearby);
        for (service, port) in SERVICES.into_iter().zip(ports) {
            if let (Some(alias), Some(port)) = (&alias, port) {
                responder.daemon.register(announcement(service, &alias.to_string(), port)?)?;
            }
        }
        Ok(responder)
    }

    /// Passes on what is heard; returns why that has ended.
    async fn watch(&self, nearby: &mut Nearby, news: &mpsc::Sender<News>) -> String {
        let mut counting = interval(COUNT_EVERY);
        loop {
            let peer = tokio::select! {
                event = self.events[0].recv_async() => match event {
                    Ok(event) => take(nearby, KINDS[0], &event),
                    Err(_) => return OVERFLOW.to_owned(),
                },
                event = self.events[1].recv_async() => match event {
                    Ok(event) => take(nearby, KINDS[1], &event),
                    Err(_) => return OVERFLOW.to_owned(),
                },
                _ = counting.tick() => match timeout(SILENCE, self.kept()).await {
                    Ok(0..=MOST_RECORDS) => None,
                    Ok(many) => return format!("{many} records were announced on it"),
                    Err(_) => return OVERFLOW.to_owned(),
                },
            };
            if let Some(peer) = peer {
                // Whoever does not listen any more drops this task as well.
                let _ = news.send((peer, nearby.candidates(peer))).await;
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

/// None without randomness, where no connection could be made either.
fn fresh_alias(nearby: &Nearby) -> Option<Alias> {
    let mut salt = [0; 8];
    getrandom::fill(&mut salt).ok()?;
    nearby.own_alias(salt)
}

/// What this party says of itself: alias and port and, by the library, its addresses.
fn announcement(service: &str, alias: &str, port: u16) -> mdns_sd::Result<ServiceInfo> {
    let nothing: &[(&str, &str)] = &[];
    let host = format!("{alias}.local.");
    let info = ServiceInfo::new(service, alias, &host, "", port, nothing)?;
    let mut info = info.enable_addr_auto();
    // A random name is nobody else's: asking for that would only cost time.
    info.set_requires_probe(false);
    Ok(info)
}

/// The peer of whom `event` tells something new.
fn take(
    nearby: &mut Nearby,
    kind: fn(SocketAddr) -> Candidate,
    event: &ServiceEvent,
) -> Option<usize> {
    match event {
        ServiceEvent::ServiceResolved(service) => {
            let addresses = service.addresses.iter().map(ScopedIp::to_ip_addr);
            nearby.hear(&service.fullname, kind, (addresses, service.port), &own_networks())
        }
        ServiceEvent::ServiceRemoved(_, name) => nearby.forget(name),
        _ => None,
    }
}

/// The networks this machine is in, its own loopback apart.
fn own_networks() -> Vec<IpNet> {
    let network = |interface: if_addrs::Interface| {
        let length = match &interface.addr {
            if_addrs::IfAddr::V4(v4) => v4.prefixlen,
            if_addrs::IfAddr::V6(v6) => v6.prefixlen,
        };
        let ip: IpAddr = interface.ip();
        IpNet::new(ip, length).ok().filter(|_| !ip.is_loopback())
    };
    if_addrs::get_if_addrs().unwrap_or_default().into_iter().filter_map(network).collect()
}

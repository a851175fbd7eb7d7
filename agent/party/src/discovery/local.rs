//! The local network: this party shows itself there by DNS-SD over multicast DNS (RFC 6763, 6762)
//! and looks for its peers, so that those who sit in one room need no hub.
//!
//! A network without multicast is none of the run's troubles, and whoever floods it stops nothing
//! but this: what the library keeps of the answers has no bound of its own, so it is looked at and,
//! when there is too much of it, thrown away.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use mdns_sd::{IfKind, Metrics, Receiver, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use super::nearby::Nearby;

/// The service type of parties that accept TCP connections.
const SERVICE: &str = "_mpyc-party._tcp.local.";
/// The most records of others that are kept; a large conference has some thousands.
const MOST_RECORDS: i64 = 10_000;
/// How often they are counted.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// How long to keep away from a network that could not be used.
const PAUSE: Duration = Duration::from_secs(30);

/// A peer, and all addresses that the local network knows of it.
pub(super) type News = (usize, Vec<std::net::SocketAddr>);

/// This party's presence on the local network; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Local {
    news: mpsc::Receiver<News>,
    _task: JoinSet<()>,
}

impl Local {
    /// Looks for the peers of `nearby`, and shows this party to them where it accepts connections
    /// on `port`.
    pub(super) fn start(nearby: Nearby, port: Option<u16>) -> Self {
        let (sender, news) = mpsc::channel(64);
        let mut task = JoinSet::new();
        task.spawn(keep_watching(nearby, port, sender));
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

async fn keep_watching(mut nearby: Nearby, port: Option<u16>, news: mpsc::Sender<News>) {
    loop {
        let why = match Responder::open(&nearby, port) {
            Ok(responder) => responder.watch(&mut nearby, &news).await,
            Err(error) => error.to_string(),
        };
        log::info!("the local network is not looked at for {} s: {why}", PAUSE.as_secs());
        sleep(PAUSE).await;
    }
}

/// The library's thread; it says goodbye to the network and ends when this is dropped.
struct Responder {
    daemon: ServiceDaemon,
    events: Receiver<ServiceEvent>,
}

impl Drop for Responder {
    fn drop(&mut self) {
        // One that has ended already is as good.
        let _ = self.daemon.shutdown();
    }
}

impl Responder {
    fn open(nearby: &Nearby, port: Option<u16>) -> mdns_sd::Result<Self> {
        let daemon = ServiceDaemon::new()?;
        daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
        let responder = Self { events: daemon.browse(SERVICE)?, daemon };
        if let Some(own) = port.and_then(|port| announcement(nearby, port)) {
            responder.daemon.register(own?)?;
        }
        Ok(responder)
    }

    /// Passes on what is heard; returns why that has ended.
    async fn watch(self, nearby: &mut Nearby, news: &mpsc::Sender<News>) -> String {
        let mut counting = interval(COUNT_EVERY);
        loop {
            let peer = tokio::select! {
                event = self.events.recv_async() => match event {
                    Ok(event) => take(nearby, &event),
                    Err(_) => return "too much is announced on it at once".to_owned(),
                },
                _ = counting.tick() => match self.kept().await {
                    0..=MOST_RECORDS => None,
                    many => return format!("{many} records were announced on it"),
                },
            };
            if let Some(peer) = peer {
                // Whoever does not listen any more drops this task as well.
                let _ = news.send((peer, nearby.addresses(peer))).await;
            }
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

/// What this party says of itself: a fresh alias, its port and, by the library, its addresses.
fn announcement(nearby: &Nearby, port: u16) -> Option<mdns_sd::Result<ServiceInfo>> {
    let mut salt = [0; 8];
    getrandom::fill(&mut salt).ok()?;
    let alias = nearby.own_alias(salt)?.to_string();
    let host = format!("{alias}.local.");
    let none: &[(&str, &str)] = &[];
    let info = ServiceInfo::new(SERVICE, &alias, &host, "", port, none);
    Some(info.map(|info| {
        let mut info = info.enable_addr_auto();
        // A random name is nobody else's: asking for that would only cost time.
        info.set_requires_probe(false);
        info
    }))
}

/// The peer of whom `event` tells something new.
fn take(nearby: &mut Nearby, event: &ServiceEvent) -> Option<usize> {
    match event {
        ServiceEvent::ServiceResolved(service) => {
            let addresses = service.addresses.iter().map(ScopedIp::to_ip_addr);
            nearby.hear(&service.fullname, (addresses, service.port), &own_networks())
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

//! What happens to the hub, one thing after the other.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mpyc_party_lab::TempState;
use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use super::client::Client;
use super::clients::Clients;
use super::report::{Limit, Report, Times};
use super::{Hub, Transport, progress};

/// Parties that arrive at the same time, and after the restart. All of them at once would be more
/// than this one process can speak for: each waits for the others, and the hub for each.
const AT_ONCE: usize = 64;
const RUSH: usize = 1000;
/// How often a party tries to arrive.
const ATTEMPTS: usize = 5;
/// Look-ups and moves in a second at work.
const LOOK_UPS: u32 = 200;
const MOVES: u32 = 100;
/// Half-open connections of strangers, and their addresses.
const STRANGERS: usize = 2000;
const STRANGE_ADDRESSES: usize = 50;

type ConnectedClients = Arc<Vec<Client>>;

/// Runs all phases.
pub(super) async fn all(
    state: &TempState,
    mut hub: Hub,
    clients: Clients,
    phase: Duration,
) -> Result<Report> {
    let (count, clients) = (clients.members.len(), Arc::new(clients));
    let transport = if clients.transport == Transport::Udp { "QUIC" } else { "TLS on TCP" };
    let mut report = Report { parties: count, transport, ..Report::default() };
    report.hub_mb_empty = hub.process.peak_megabytes()?;
    progress("the parties arrive");
    let connected = arrive(&hub, &clients, &mut report).await?;
    report.hub_mb_full = hub.process.peak_megabytes()?;
    report.hub_kb_per_party = (report.hub_mb_full - report.hub_mb_empty) * 1000.0 / count as f64;
    let (begun, cpu) = (Instant::now(), hub.process.cpu_seconds()?);
    progress("all rest");
    sleep(phase).await;
    let used = |since: Instant, before: f64| -> Result<f64> {
        Ok((hub.process.cpu_seconds()? - before) / since.elapsed().as_secs_f64())
    };
    report.hub_cpu_at_rest = used(begun, cpu)?;
    let (begun, cpu) = (Instant::now(), hub.process.cpu_seconds()?);
    progress("they look each other up and move");
    (report.look_up, report.push, report.unanswered) = work(&clients, &connected, phase).await?;
    report.hub_cpu_at_work = used(begun, cpu)?;
    progress("strangers come");
    report.connect_among_strangers = among_strangers(&clients, hub.port).await?;
    progress("one party and one address want too much");
    limits(&clients, hub.port, &mut report).await;
    for (member, client) in connected.iter().enumerate().step_by(97) {
        let peer = &clients.members[clients.peer(member)].name;
        report.lost += usize::from(client.look_up(peer).await.is_err());
    }
    let port = hub.port;
    drop(hub);
    drop(connected);
    progress("the hub is killed, and all come back");
    hub = Hub::start(state, port)?;
    come_back(&clients, port, &mut report).await?;
    report.hub_mb_in_the_end = hub.process.peak_megabytes()?;
    Ok(report)
}

async fn arrive(
    hub: &Hub,
    clients: &Arc<Clients>,
    report: &mut Report,
) -> Result<ConnectedClients> {
    let (begun, cpu) = (Instant::now(), hub.process.cpu_seconds()?);
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut arriving = JoinSet::new();
    for member in 0..clients.members.len() {
        let place = Arc::clone(&places).acquire_owned().await?;
        let (clients, port) = (Arc::clone(clients), hub.port);
        arriving.spawn(async move {
            let begun = Instant::now();
            let (client, attempts) = patiently(&clients, member, port).await;
            drop(place);
            (member, client, begun.elapsed(), attempts)
        });
    }
    let mut arrived = arriving.join_all().await;
    let took = begun.elapsed().as_secs_f64();
    let count = clients.members.len() as f64;
    report.connects_per_second = count / took;
    report.hub_cpu_ms_per_connect = (hub.process.cpu_seconds()? - cpu) * 1000.0 / count;
    report.connect = Times::new(arrived.iter().map(|(_, _, time, _)| *time).collect());
    report.connect_attempts = arrived.iter().map(|(.., attempts)| attempts).sum();
    arrived.sort_by_key(|(member, ..)| *member);
    let connected: Result<Vec<_>> = arrived.into_iter().map(|(_, client, ..)| client).collect();
    Ok(Arc::new(connected.context("somebody could not connect")?))
}

/// Lets a party arrive, in several attempts where it must be; how many it took.
async fn patiently(clients: &Clients, member: usize, port: u16) -> (Result<Client>, usize) {
    let mut attempts = 1;
    loop {
        let client = clients.arrive(member, port).await;
        if client.is_ok() || attempts == ATTEMPTS {
            return (client, attempts);
        }
        attempts += 1;
    }
}

/// Look-ups and moves at a steady pace, whether the answers come in time or not; what came to
/// nothing is counted.
async fn work(
    clients: &Arc<Clients>,
    connected: &ConnectedClients,
    phase: Duration,
) -> Result<(Times, Times, usize)> {
    let steps = u32::try_from(phase.as_millis())? * (LOOK_UPS + MOVES) / 1000;
    let mut ticks = interval(phase / steps);
    let mut running = JoinSet::new();
    for step in 0..steps {
        ticks.tick().await;
        let (clients, connected) = (Arc::clone(clients), Arc::clone(connected));
        // A prime goes around so that nobody is asked twice in a while.
        let member = step as usize * 7919 % connected.len();
        let moves = step % ((LOOK_UPS + MOVES) / MOVES) == 0;
        running.spawn(async move {
            let (peer, client) = (clients.peer(member), &connected[member]);
            if !moves {
                return Ok::<_, anyhow::Error>((
                    moves,
                    client.look_up(&clients.members[peer].name).await?,
                ));
            }
            let told = client.expect(&clients.members[peer].name);
            let begun = Instant::now();
            let port = u16::try_from(step % 60_000)? + 2;
            connected[peer].announce(Clients::address(peer, port)).await?;
            Ok((moves, timeout(Duration::from_secs(30), told).await?? - begun))
        });
    }
    let done: Vec<_> = running.join_all().await.into_iter().flatten().collect();
    let of =
        |kind: bool| done.iter().filter(move |(moves, _)| *moves == kind).map(|(_, time)| *time);
    let unanswered = steps as usize - done.len();
    Ok((Times::new(of(false).collect()), Times::new(of(true).collect()), unanswered))
}

/// Parties that arrive while strangers do what they can.
async fn among_strangers(clients: &Arc<Clients>, port: u16) -> Result<Times> {
    let mut strangers = JoinSet::new();
    for number in 0..STRANGERS {
        let [.., low] = (number % STRANGE_ADDRESSES + 1).to_be_bytes();
        strangers.spawn(loiter(Ipv4Addr::new(127, 66, 6, low), port));
    }
    sleep(Duration::from_secs(2)).await;
    let mut times = Vec::new();
    for member in (0..clients.members.len()).step_by(clients.members.len() / 200) {
        let begun = Instant::now();
        let (client, _) = patiently(clients, member, port).await;
        times.push(begun.elapsed());
        drop(client.context("strangers keep parties out")?);
    }
    Ok(Times::new(times))
}

/// Opens connections and says nothing on them, a new one a second after each that is cut.
async fn loiter(from: Ipv4Addr, port: u16) {
    loop {
        let held = async {
            let socket = TcpSocket::new_v4()?;
            socket.bind((from, 0).into())?;
            let mut tcp = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?;
            tcp.read(&mut [0; 1]).await
        };
        // However it ended, it is a stranger's.
        let _ = held.await;
        sleep(Duration::from_secs(1)).await;
    }
}

async fn limits(clients: &Arc<Clients>, port: u16, report: &mut Report) {
    let several = |number: usize| (0, Clients::home(clients.members.len() + number * 100));
    report.one_party = fill(clients, port, (0..40).map(several)).await;
    let crowded = |number: usize| (number, Ipv4Addr::new(127, 99, 9, 9));
    report.one_address = fill(clients, port, (0..600).map(crowded)).await;
}

/// Lets these parties arrive from these addresses, one after the other; all leave in the end.
async fn fill(
    clients: &Arc<Clients>,
    port: u16,
    who: impl Iterator<Item = (usize, Ipv4Addr)>,
) -> Limit {
    let (mut limit, mut connected) = (Limit::default(), Vec::new());
    for (member, from) in who {
        limit.tried += 1;
        match clients.arrive_from(member, from, port).await {
            Ok(client) => connected.push(client),
            Err(error) => limit.reason = error.root_cause().to_string(),
        }
    }
    limit.let_in = connected.len();
    limit
}

/// All parties, as many at once as can be, each again and again until it is there.
async fn come_back(clients: &Arc<Clients>, port: u16, report: &mut Report) -> Result<()> {
    let (begun, attempts) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let places = Arc::new(Semaphore::new(RUSH));
    let mut coming = JoinSet::new();
    for member in 0..clients.members.len() {
        let (clients, attempts) = (Arc::clone(clients), Arc::clone(&attempts));
        let places = Arc::clone(&places);
        coming.spawn(async move {
            let mut pause = Duration::from_millis(250);
            loop {
                attempts.fetch_add(1, Ordering::Relaxed);
                let place = places.acquire().await;
                if let Ok(client) = clients.arrive(member, port).await {
                    return client;
                }
                drop(place);
                // As different as the parties are.
                sleep(pause / 2 + pause * u32::try_from(member % 1000).unwrap_or(0) / 2000).await;
                pause = (pause * 2).min(Duration::from_secs(2));
            }
        });
    }
    let connected = timeout(Duration::from_secs(300), coming.join_all()).await;
    let connected = connected.context("not everybody comes back after a restart")?;
    report.seconds_until_all_are_back = begun.elapsed().as_secs_f64();
    report.attempts_until_all_are_back = attempts.load(Ordering::Relaxed);
    drop(connected);
    Ok(())
}

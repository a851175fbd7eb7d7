//! The task of one peer: feeds the machine of its paths, and does what that says.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use mpyc_party_core::control::{Control, MAX_OPENING_BYTES, Purpose};
use mpyc_party_core::path::{Action, ConnectionId, Event, Paths, Target};
use mpyc_party_core::roster::PeerIndex;
use mpyc_party_core::verdict::Remark;
use mpyc_party_transport::task::Connections;
use mpyc_party_transport::{Protocol, Secure, frame};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::connection::{Connection, Way};
use super::report::{Attempt, PathReport};
use super::{GOODBYE_TIMEOUT, Link, LinkEvent, Linked, Shared};
use crate::dial::DialError;
use crate::segment_memory;

/// Connections that may be up at once beside the link.
const MAX_CONNECTIONS: usize = 32;

/// What the runner asks.
#[derive(Debug)]
pub(super) enum PeerCommand {
    Targets(Vec<Target>),
    Moved(Vec<IpAddr>),
    /// For the link of this epoch, or for any where it is 0.
    Send(u64, Control),
    Unlink(u64),
    /// A stream over the link of this epoch made no progress.
    Stalled(u64),
}

/// What connections and attempts tell.
#[derive(Debug)]
pub(super) enum PeerEvent {
    /// A connection is up; links up to the epoch are of no use to the end that dialled.
    Opened(Box<Secure>, Way, u64),
    /// A message came over a connection.
    Message(ConnectionId, Control),
    /// A connection has ended.
    Closed(ConnectionId, Remark),
    /// An attempt is over, and whether it opened a connection over which nothing got through.
    Tried(Target, String, bool),
}

struct PeerTask {
    shared: Arc<Shared>,
    peer: PeerIndex,
    paths: Paths,
    began: Instant,
    events: mpsc::Sender<PeerEvent>,
    connections: BTreeMap<ConnectionId, Connection>,
    /// The connection that is the link, and whether the runner knows it as suspect.
    link: Option<ConnectionId>,
    suspect: bool,
    /// Older links, and until when each is kept.
    fading: Vec<(Instant, Connection)>,
    /// Why the last connection that was the link ended.
    why: Remark,
    attempts: Connections,
    /// What reads and writes the connections.
    connection_tasks: Connections,
}

/// Keeps a link to `peer` until the runner drops its commands; then says goodbye.
pub(super) async fn run(
    shared: Arc<Shared>,
    peer: PeerIndex,
    mut inbox: mpsc::Receiver<PeerEvent>,
    mut commands: mpsc::UnboundedReceiver<PeerCommand>,
) {
    let events = shared.inboxes[peer.get()].clone();
    let paths = Paths::new(shared.peers.controls(peer));
    let mut task = PeerTask {
        shared,
        peer,
        paths,
        began: Instant::now(),
        events,
        connections: BTreeMap::new(),
        link: None,
        suspect: false,
        fading: Vec::new(),
        why: "it was closed".into(),
        attempts: Connections::new("an attempt to reach a peer"),
        connection_tasks: Connections::new("a connection to a peer"),
    };
    loop {
        let tick = task.next_tick();
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => task.command(command).await,
                None => break,
            },
            Some(event) = inbox.recv() => task.hear(event).await,
            () = tokio::time::sleep_until(tick.into()) => {
                task.prune();
                task.happen(Event::Tick).await;
            }
        }
    }
    task.attempts.abort_all();
    task.fading.clear();
    task.part(&mut inbox).await;
}

impl PeerTask {
    /// When the clock has to be looked at.
    fn next_tick(&self) -> Instant {
        let faded = self.fading.iter().map(|(until, _)| *until);
        faded.fold(self.began + self.paths.next_tick(), Instant::min)
    }

    /// Says goodbye on all connections, and waits until the other end of the link has done the same.
    async fn part(mut self, inbox: &mut mpsc::Receiver<PeerEvent>) {
        let link = self.link;
        self.connections.retain(|id, _| Some(*id) == link);
        if let Some((id, link)) = self.connections.iter_mut().next() {
            link.part();
            while let Some(event) = inbox.recv().await {
                if matches!(event, PeerEvent::Closed(closed, _) if closed == *id) {
                    break;
                }
            }
        }
        self.connections.clear();
        self.connection_tasks.join_all().await;
    }

    async fn command(&mut self, command: PeerCommand) {
        match command {
            PeerCommand::Targets(targets) => self.happen(Event::Targets(targets)).await,
            PeerCommand::Moved(gone) => {
                let local = self.link.and_then(|id| self.connections.get(&id)?.way.local);
                let uprooted = local.is_some_and(|local| gone.contains(&local));
                self.happen(Event::Moved { uprooted }).await;
            }
            PeerCommand::Send(epoch, message) => {
                if self.is_current(epoch) {
                    self.send(message).await;
                }
            }
            PeerCommand::Stalled(epoch) => {
                if let Some(id) = self.link.filter(|_| self.shared.is_current(self.peer, epoch)) {
                    self.happen(Event::StreamStalled(id)).await;
                }
            }
            PeerCommand::Unlink(epoch) => {
                if !self.is_current(epoch) {
                    return;
                }
                if let Some(id) = self.link {
                    self.ended(id, "it was closed here".into()).await;
                }
            }
        }
    }

    async fn hear(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::Opened(secure, way, lost) => self.opened(*secure, way, lost).await,
            PeerEvent::Message(id, message) => self.message(id, message).await,
            PeerEvent::Closed(id, why) => self.ended(id, why).await,
            PeerEvent::Tried(target, outcome, stalled) => {
                if stalled && self.link.is_none() {
                    self.tell(LinkEvent::Stalled(self.peer, outcome.as_str().into())).await;
                }
                self.note(&target, outcome);
                self.happen(Event::Tried(target)).await;
            }
        }
    }

    async fn opened(&mut self, secure: Secure, way: Way, lost: u64) {
        if self.connections.len() >= MAX_CONNECTIONS {
            log::debug!("{}: too many connections at once", self.name());
            return;
        }
        let id = self.shared.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let kind = way.kind;
        let traffic = self.shared.slots()[self.peer.get()].traffic.clone();
        let tasks = &mut self.connection_tasks;
        let connection = Connection::start(id, secure, way, self.events.clone(), traffic, tasks);
        if !self.shared.peers.controls(self.peer) {
            connection.send(Control::Instance(self.shared.instance));
        }
        self.connections.insert(id, connection);
        self.happen(Event::Opened { id, kind, lost }).await;
    }

    /// Only the link's messages count. What an older one delivers late is dropped.
    async fn message(&mut self, id: ConnectionId, message: Control) {
        let Some(connection) = self.connections.get(&id) else { return };
        match message {
            Control::Use { instance, epoch } if self.link != Some(id) => {
                let kind = connection.way.kind;
                self.happen(Event::Taken { id, kind, instance, epoch }).await;
            }
            Control::Instance(instance) => self.happen(Event::Introduced { id, instance }).await,
            _ if self.link != Some(id) => {}
            Control::Echo(number) => self.happen(Event::Echoed(id, number)).await,
            message => {
                let Control::Beat(number) = message else {
                    return self.tell(LinkEvent::Received(self.peer, message)).await;
                };
                self.send(Control::Echo(number)).await;
                // A runner that is busy for long has more than enough of these, and whoever waits until
                // it has read them answers no more of them.
                let _ = self.shared.events.try_send(LinkEvent::Received(self.peer, message));
            }
        }
    }

    async fn ended(&mut self, id: ConnectionId, why: Remark) {
        if self.connections.remove(&id).is_some() {
            if self.link == Some(id) {
                self.why = why;
            }
            self.happen(Event::Closed(id)).await;
        }
    }

    /// Whether the link has this epoch, or there was none before it.
    fn is_current(&self, epoch: u64) -> bool {
        epoch == 0 || self.shared.is_current(self.peer, epoch)
    }

    async fn send(&mut self, message: Control) {
        self.send_by(|link| link.send(message)).await;
    }

    async fn send_by(&mut self, send: impl FnOnce(&Connection) -> bool) {
        let Some(id) = self.link else { return };
        let stuck = self.connections.get(&id).is_some_and(|link| !send(link));
        if stuck {
            Box::pin(self.ended(id, "too many messages wait for it".into())).await;
        }
    }

    /// Gives the machine an event and does what it says.
    async fn happen(&mut self, event: Event) {
        for action in self.paths.handle(self.began.elapsed(), event) {
            self.act(action).await;
        }
        let suspect = self.link.is_some() && self.paths.healthy().is_none();
        if suspect != self.suspect && self.link.is_some() {
            let event = if suspect { LinkEvent::Suspect } else { LinkEvent::Well };
            self.tell(event(self.peer)).await;
        }
        self.suspect = suspect;
        let slot = &mut self.shared.slots()[self.peer.get()];
        slot.away = match self.paths.healthy() {
            Some(_) => None,
            // Before the first link a peer is not away.
            None => slot.away.or_else(|| (self.paths.lost() > 0).then(Instant::now)),
        };
        if let Some(link) = &mut slot.link {
            link.path.round_trip = self.paths.round_trip().map(|time| time.as_secs_f64());
        }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Dial(target) => self.dial(target),
            Action::Use(id, epoch) => {
                let instance = self.shared.instance;
                if let Some(connection) = self.connections.get(&id) {
                    connection.send(Control::Use { instance, epoch });
                }
                self.adopt(id, epoch).await;
            }
            Action::Adopt(id, epoch) => self.adopt(id, epoch).await,
            Action::Close(id) => {
                if let Some(connection) = self.connections.remove(&id)
                    && self.link == Some(id)
                {
                    // The other end may not know yet that there is another link.
                    self.fading.push((Instant::now() + GOODBYE_TIMEOUT, connection));
                }
            }
            Action::Beat { number, full } => {
                let beat = Control::Beat(number);
                let send =
                    |link: &Connection| if full { link.send_full(beat) } else { link.send(beat) };
                Box::pin(self.send_by(send)).await;
            }
            Action::Stalled(id) => self.stalled(id).await,
            Action::Shrink(id) => {
                let segments = self.connections.get(&id).and_then(|known| known.way.segments);
                if let Some((address, bytes)) = segments {
                    segment_memory::stalled(address, bytes);
                }
            }
            Action::Lost => {
                self.link = None;
                self.shared.slots()[self.peer.get()].link = None;
                let why = std::mem::replace(&mut self.why, "it was closed".into());
                self.tell(LinkEvent::Unlinked(self.peer, why)).await;
            }
        }
    }

    /// Only small packets pass on this connection.
    async fn stalled(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else { return };
        let way = &connection.way;
        let label = self.shared.stack.label(way.kind.name);
        let why = format!(
            "on the path to it ({label}, {}) small packets pass and those of full size vanish",
            way.address
        );
        self.why = why.as_str().into();
        self.tell(LinkEvent::Stalled(self.peer, why.into())).await;
    }

    /// This connection is the link from now on.
    async fn adopt(&mut self, id: ConnectionId, epoch: u64) {
        let Some(Connection { way, key, .. }) = self.connections.get(&id) else { return };
        let path = PathReport {
            kind: way.kind.name.to_owned(),
            label: self.shared.stack.label(way.kind.name).to_owned(),
            address: way.address.clone(),
            via: way.via.clone(),
            since: mpyc_party_transport::now(),
            round_trip: None,
            epoch,
        };
        let linked = Linked { key: *key, path: path.clone(), opener: way.route.is_some() };
        let link = Link { way: way.clone(), path };
        self.shared.slots()[self.peer.get()].link = Some(link);
        (self.link, self.suspect) = (Some(id), false);
        self.tell(LinkEvent::Linked(self.peer, Box::new(linked))).await;
    }

    fn dial(&mut self, target: Target) {
        self.attempts.reap();
        let (shared, peer, events) = (self.shared.clone(), self.peer, self.events.clone());
        let lost = self.paths.lost();
        self.attempts.spawn(async move {
            let (outcome, stalled) = match dial(&shared, peer, &target, lost).await {
                Ok((secure, way)) => {
                    let _ = events.send(PeerEvent::Opened(Box::new(secure), way, lost)).await;
                    ("connected".to_owned(), false)
                }
                Err(error) => (error.to_string(), error.stalled().is_some()),
            };
            let _ = events.send(PeerEvent::Tried(target, outcome, stalled)).await;
        });
    }

    /// Remembers what came of an attempt, for those who ask why a path is not used.
    fn note(&self, target: &Target, outcome: String) {
        let (kind, candidate) = (target.kind.name.to_owned(), target.to_string());
        log::debug!("{} at {candidate}: {outcome}", self.name());
        let slots = &mut self.shared.slots();
        let attempts = &mut slots[self.peer.get()].attempts;
        attempts.retain(|known| known.candidate != candidate);
        attempts.truncate(MAX_CONNECTIONS);
        attempts.insert(0, Attempt { kind, candidate, outcome });
    }

    /// Drops connections that nobody chose.
    fn prune(&mut self) {
        let link = self.link;
        self.connections.retain(|id, connection| Some(*id) == link || !connection.is_stale());
        self.fading.retain(|(until, _)| *until > Instant::now());
        self.connection_tasks.reap();
    }

    async fn tell(&self, event: LinkEvent) {
        // Nobody listens any more when the runner ends.
        let _ = self.shared.events.send(event).await;
    }

    fn name(&self) -> &mpyc_party_core::name::PartyName {
        self.shared.peers.name(self.peer)
    }
}

/// Tries to reach `peer` at `target`, and says that links up to the epoch `lost` are of no use.
async fn dial(
    shared: &Shared,
    peer: PeerIndex,
    target: &Target,
    lost: u64,
) -> Result<(Secure, Way), DialError> {
    let kind = shared.stack.kind(target.kind.name).ok_or(DialError::Unreadable)?;
    let expect = shared.expect(Some(peer));
    let context = shared.peers.dial_context(peer, expect.clone(), shared.local.clone());
    let attempt = async {
        let route = kind.route(target.address.clone(), context, Protocol::Control).await?;
        let mut secure = route.open(Protocol::Control, expect).await?;
        let way = Way::dialled(&secure, target, route);
        frame::write(&mut secure.stream, &Purpose::Run { lost }, MAX_OPENING_BYTES).await?;
        Ok((secure, way))
    };
    timeout(kind.timeout(), attempt).await.map_err(|_| DialError::Timeout)?
}

//! The task of one peer: feeds the machine of its paths, and does what that says.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use mpyc_party_core::control::Control;
use mpyc_party_core::path::{Action, ConnectionId, Event, Paths, Target};
use mpyc_party_core::verdict::Remark;
use mpyc_party_transport::Secure;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::connection::{Connection, Way};
use super::report::{Attempt, PathReport};
use super::{Link, LinkEvent, Linked, Shared, dial};

/// Connections that may be up at once beside the link.
const MOST_CONNECTIONS: usize = 32;

/// What the runner asks.
#[derive(Debug)]
pub(super) enum Order {
    Targets(Vec<Target>),
    Moved(Vec<IpAddr>),
    Send(Control),
    Unlink,
}

/// What connections and attempts tell.
#[derive(Debug)]
pub(super) enum News {
    /// A connection is up; links up to the epoch are of no use to the end that dialled.
    Opened(Box<Secure>, Way, u64),
    /// A message came over a connection.
    Message(ConnectionId, Control),
    /// A connection has ended.
    Closed(ConnectionId, Remark),
    /// An attempt is over.
    Tried(Target, String),
}

struct Keeper {
    shared: Arc<Shared>,
    peer: usize,
    paths: Paths,
    began: Instant,
    news: mpsc::Sender<News>,
    connections: BTreeMap<ConnectionId, Connection>,
    /// The connection that is the link, and whether the runner knows it as suspect.
    link: Option<ConnectionId>,
    suspect: bool,
    /// Why the last connection that was the link ended.
    why: Remark,
    attempts: JoinSet<()>,
}

/// Keeps a link to `peer` until the runner drops its orders; then says goodbye.
pub(super) async fn keep(
    shared: Arc<Shared>,
    peer: usize,
    mut inbox: mpsc::Receiver<News>,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let news = shared.doors[peer].clone();
    let paths = Paths::new(shared.circle.controls(peer));
    let mut keeper = Keeper {
        shared,
        peer,
        paths,
        began: Instant::now(),
        news,
        connections: BTreeMap::new(),
        link: None,
        suspect: false,
        why: "it was closed".into(),
        attempts: JoinSet::new(),
    };
    loop {
        let tick = keeper.began + keeper.paths.next_tick();
        tokio::select! {
            order = orders.recv() => match order {
                Some(order) => keeper.order(order).await,
                None => break,
            },
            Some(news) = inbox.recv() => keeper.hear(news).await,
            () = tokio::time::sleep_until(tick.into()) => {
                keeper.prune();
                keeper.happen(Event::Tick).await;
            }
        }
    }
    keeper.attempts.abort_all();
    let Some(id) = keeper.link else { return };
    keeper.connections.retain(|other, _| *other == id);
    if let Some(link) = keeper.connections.get_mut(&id) {
        link.part();
    }
    while let Some(news) = inbox.recv().await {
        if matches!(news, News::Closed(closed, _) if closed == id) {
            return;
        }
    }
}

impl Keeper {
    async fn order(&mut self, order: Order) {
        match order {
            Order::Targets(targets) => self.happen(Event::Targets(targets)).await,
            Order::Moved(gone) => {
                let local = self.link.and_then(|id| self.connections.get(&id)?.way.local);
                let uprooted = local.is_some_and(|local| gone.contains(&local));
                self.happen(Event::Moved { uprooted }).await;
            }
            Order::Send(message) => self.send(message).await,
            Order::Unlink => {
                if let Some(id) = self.link {
                    self.ended(id, "it was closed here".into()).await;
                }
            }
        }
    }

    async fn hear(&mut self, news: News) {
        match news {
            News::Opened(secure, way, lost) => self.opened(*secure, way, lost).await,
            News::Message(id, message) => self.message(id, message).await,
            News::Closed(id, why) => self.ended(id, why).await,
            News::Tried(target, outcome) => {
                self.note(&target, outcome);
                self.happen(Event::Tried(target)).await;
            }
        }
    }

    async fn opened(&mut self, secure: Secure, way: Way, lost: u64) {
        if self.connections.len() >= MOST_CONNECTIONS {
            log::debug!("{}: too many connections at once", self.name());
            return;
        }
        let id = self.shared.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let kind = way.kind;
        let traffic = self.shared.slots()[self.peer].traffic.clone();
        let connection = Connection::start(id, secure, way, self.news.clone(), traffic);
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
            _ if self.link != Some(id) => {}
            Control::Echo(number) => self.happen(Event::Echoed(id, number)).await,
            message => {
                if let Control::Beat(number) = message {
                    self.send(Control::Echo(number)).await;
                }
                self.tell(LinkEvent::Received(self.peer, message)).await;
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

    async fn send(&mut self, message: Control) {
        let Some(id) = self.link else { return };
        let stuck = self.connections.get(&id).is_some_and(|link| !link.send(message));
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
        if let Some(link) = &mut self.shared.slots()[self.peer].link {
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
                    connection.fade();
                }
            }
            Action::Beat(number) => Box::pin(self.send(Control::Beat(number))).await,
            Action::Lost => {
                self.link = None;
                self.shared.slots()[self.peer].link = None;
                let why = std::mem::replace(&mut self.why, "it was closed".into());
                self.tell(LinkEvent::Unlinked(self.peer, why)).await;
            }
        }
    }

    /// This connection is the link from now on.
    async fn adopt(&mut self, id: ConnectionId, epoch: u64) {
        let Some(Connection { way, key, .. }) = self.connections.get(&id) else { return };
        let path = PathReport {
            kind: way.kind,
            address: way.address,
            via: way.via.clone(),
            since: mpyc_party_transport::now(),
            round_trip: None,
            epoch,
        };
        let linked = Linked { key: *key, path: path.clone(), opener: way.dialled };
        let link = Link { way: way.clone(), path };
        self.shared.slots()[self.peer].link = Some(link);
        (self.link, self.suspect) = (Some(id), false);
        self.tell(LinkEvent::Linked(self.peer, Box::new(linked))).await;
    }

    fn dial(&mut self, target: Target) {
        while self.attempts.try_join_next().is_some() {}
        let (shared, peer, news) = (self.shared.clone(), self.peer, self.news.clone());
        let lost = self.paths.lost();
        self.attempts.spawn(async move {
            let outcome = match dial::dial(&shared, peer, &target, lost).await {
                Ok((secure, way)) => {
                    let _ = news.send(News::Opened(Box::new(secure), way, lost)).await;
                    "connected".to_owned()
                }
                Err(error) => error.to_string(),
            };
            let _ = news.send(News::Tried(target, outcome)).await;
        });
    }

    /// Remembers what came of an attempt, for those who ask why a path is not used.
    fn note(&self, target: &Target, outcome: String) {
        let candidate = target.to_string();
        log::debug!("{} at {candidate}: {outcome}", self.name());
        let slots = &mut self.shared.slots();
        let attempts = &mut slots[self.peer].attempts;
        attempts.retain(|known| known.candidate != candidate);
        attempts.truncate(MOST_CONNECTIONS);
        attempts.insert(0, Attempt { candidate, outcome });
    }

    /// Drops connections that nobody chose.
    fn prune(&mut self) {
        let link = self.link;
        self.connections.retain(|id, connection| Some(*id) == link || !connection.is_stale());
    }

    async fn tell(&self, event: LinkEvent) {
        // Nobody listens any more when the runner ends.
        let _ = self.shared.events.send(event).await;
    }

    fn name(&self) -> &mpyc_party_core::name::PartyName {
        self.shared.circle.name(self.peer)
    }
}

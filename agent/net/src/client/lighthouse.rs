//! A party's side of the lighthouse: keeps a connection to every hub of the network and says who
//! can be reached where.
//!
//! Being at all hubs at once means that two parties find each other as long as one hub works and
//! none of them needs to choose the same. A [`Client`] never ends by itself: hubs come and go, it
//! keeps trying, over QUIC on the party's own UDP socket and over TCP where that does not get
//! through.

mod connect;
mod merge;
mod reconnect;
mod session;

use mpyc_party_core::addr::{Address, Vantage};
use mpyc_party_core::lighthouse::Transport;
use mpyc_party_core::name::{GroupName, PartyName};
use mpyc_party_core::relay::CallId;
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::task::Supervisor;
use mpyc_party_transport::{Identity, quic};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::addr::OwnAddresses;
use reconnect::HubTask;

pub use session::HubError;

/// What one instance of a party says about itself and wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// The session.
    pub tag: Tag,
    /// Where this instance accepts connections.
    pub own: OwnAddresses,
    /// Who may know that, and call; usually the roster.
    pub allow: Vec<PartyName>,
    /// Whoever is in one of these groups may, too.
    pub groups: Vec<GroupName>,
    /// Of whom it wants to hear; usually the rest of the roster.
    pub watch: Vec<PartyName>,
}

/// What a party learns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A hub answers; again when it sees this party elsewhere.
    Connected {
        /// The hub, «host:port».
        hub: String,
        /// How it sees this party.
        observed: SocketAddr,
        /// What the connection runs over.
        transport: Transport,
    },
    /// A hub cannot be reached or was lost; it is tried again by itself.
    Disconnected {
        /// The hub, «host:port».
        hub: String,
        /// Why.
        reason: HubError,
    },
    /// A party can be tried there: everything that all hubs say, checked once more here. Replaces
    /// what was said before.
    Present {
        /// The party.
        party: PartyName,
        /// Where to try, and from where that was told.
        addresses: Vec<(Address, Vantage)>,
        /// Where it can be called over a relay: the hubs that say so, «host:port».
        hubs: Vec<String>,
    },
    /// No hub knows any longer where the party is.
    Gone {
        /// The party.
        party: PartyName,
    },
    /// A party whom the presence allows calls over a hub's relay, and waits for a few seconds:
    /// [`relay::join`](super::relay::join).
    Call {
        /// The hub, «host:port».
        hub: String,
        /// Who the hub says it is; the handshake inside the pipe tells.
        from: PartyName,
        /// What to join.
        call: CallId,
    },
}

/// A party's presence at its hubs; dropping it ends the presence.
#[derive(Debug)]
pub struct Client {
    /// Goes first: no task is to see that nobody wants the presence any more.
    _task: JoinSet<()>,
    presence: watch::Sender<Presence>,
}

impl Client {
    /// Goes to all `hubs` («host:port») with `identity`, whose renewals the channel brings, and
    /// makes `presence` known, over the UDP socket of `quic` where that gets through. The events
    /// have to be read; they end when one of the tasks behind them has.
    #[must_use]
    pub fn start(
        hubs: &[String],
        identity: &watch::Receiver<Identity>,
        presence: Presence,
        quic: Option<quic::Endpoint>,
    ) -> (Self, mpsc::Receiver<Event>) {
        let (presence, desired) = watch::channel(presence);
        let (reports, inbox) = mpsc::channel(64);
        let (events, outbox) = mpsc::channel(64);
        let (mut at_hubs, instance) = (Supervisor::default(), Arc::default());
        for hub in hubs {
            let task = HubTask {
                hub: hub.clone(),
                instance: Arc::clone(&instance),
                identity: identity.clone(),
                desired: desired.clone(),
                quic: quic.clone(),
                reports: reports.clone(),
            };
            at_hubs.spawn(format!("presence at hub {hub}"), |_| task.run());
        }
        let mut task = JoinSet::new();
        task.spawn(async move {
            tokio::select! {
                // The merger keeps a sender as well, so that it goes on without any hub.
                () = merge::merge(inbox, reports, events) => {}
                failure = at_hubs.failure() => log::error!("{failure}"),
            }
        });
        (Self { _task: task, presence }, outbox)
    }

    /// Replaces what is made known; the tag stays, another session is another client. Does what
    /// [`Client::nudge`] does as well.
    pub fn set(&self, presence: Presence) {
        self.presence.send_modify(|current| {
            *current = Presence { tag: current.tag, ..presence };
        });
    }

    /// Something about the network has changed, or a peer was lost: everything is said again to
    /// every hub, one that does not answer in a few seconds is connected to anew, and one that
    /// could not be reached is tried at once.
    pub fn nudge(&self) {
        self.presence.send_modify(|_| {});
    }
}

//! Being found without looking for anybody: this party at the hubs under a tag of its own, told to
//! those who may know.

use std::sync::Arc;

use mpyc_party_core::name::{GroupName, PartyName};
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::Identity;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::client::lighthouse::{Client, Event, Presence};
use crate::dial::{Call, LocalEnd};
use crate::stack::Stack;

/// Calls that may wait to be joined.
const MAX_QUEUED: usize = 64;

/// Who may know where this party is, and call it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// These parties.
    pub parties: Vec<PartyName>,
    /// And whoever is in one of these groups.
    pub groups: Vec<GroupName>,
}

/// This party's place at the hubs under one tag; dropping it ends that.
#[derive(Debug)]
pub struct Publication {
    tag: Tag,
    stack: Arc<Stack>,
    local: LocalEnd,
    audience: Audience,
    client: Client,
    task: JoinSet<()>,
}

impl Publication {
    /// Tells `hubs` under `tag`, for `audience`, that this party accepts connections at `local`; who
    /// calls over their relays comes out of the channel, and who that is, the handshake inside tells.
    #[must_use]
    pub fn start(
        tag: Tag,
        audience: Audience,
        stack: Arc<Stack>,
        local: LocalEnd,
        hubs: &[String],
        identity: &watch::Receiver<Identity>,
    ) -> (Self, mpsc::Receiver<Call>) {
        let presence = presence(tag, &audience, &stack, &local);
        let (client, events) = Client::start(hubs, identity, presence, local.udp.clone());
        let (calls, called) = mpsc::channel(MAX_QUEUED);
        let mut task = JoinSet::new();
        task.spawn(pass_calls_on(events, calls));
        (Self { tag, stack, local, audience, client, task }, called)
    }

    /// From now on it is for `audience`.
    pub fn set(&mut self, audience: Audience) {
        self.audience = audience;
        self.moved();
    }

    /// The addresses of this machine have changed: the hubs are told.
    pub fn moved(&self) {
        self.client.set(presence(self.tag, &self.audience, &self.stack, &self.local));
    }

    /// Completes when this party is not published any more, which is a fault. May be cancelled.
    pub async fn ended(&mut self) {
        // It has ended by itself, or panicked and said so.
        let _ = self.task.join_next().await;
    }
}

/// Tells who calls; the rest is for the log.
async fn pass_calls_on(mut events: mpsc::Receiver<Event>, calls: mpsc::Sender<Call>) {
    while let Some(event) = events.recv().await {
        match event {
            // With so many waiting, whoever called tries again.
            Event::Call { hub, call, .. } => drop(calls.try_send(Call { hub, call })),
            Event::Connected { hub, observed, transport } => {
                log::info!("hub {hub} sees this party at {observed} over {transport}");
            }
            Event::Disconnected { hub, reason } => log::info!("hub {hub}: {reason}"),
            Event::Present { .. } | Event::Gone { .. } => {}
        }
    }
}

fn presence(tag: Tag, audience: &Audience, stack: &Stack, local: &LocalEnd) -> Presence {
    let Audience { parties: allow, groups } = audience.clone();
    Presence { tag, own: stack.own(local), allow, groups, watch: Vec::new() }
}

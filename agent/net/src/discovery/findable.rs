//! Being found without looking for anybody: this party at the hubs under a tag of its own, told to
//! those who may know.

use mpyc_party_core::name::{GroupName, PartyName};
use mpyc_party_core::relay::CallId;
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::{Identity, quic};

use crate::lighthouse::{Client, Event, Presence};
use tokio::sync::{mpsc, watch};

use super::own_candidates;

/// Who may know where this party is, and call it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// These parties.
    pub parties: Vec<PartyName>,
    /// And whoever is in one of these groups.
    pub groups: Vec<GroupName>,
}

/// A call over a hub's relay, from somebody who waits for a few seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The hub, «host:port».
    pub hub: String,
    /// What to join.
    pub call: CallId,
}

/// This party's place at the hubs under one tag; dropping it ends that.
#[derive(Debug)]
pub struct Findable {
    tag: Tag,
    ports: (u16, u16),
    audience: Audience,
    client: Client,
    events: mpsc::Receiver<Event>,
}

impl Findable {
    /// Tells `hubs` under `tag`, for `audience`, that this party accepts connections on TCP `port`
    /// and on the UDP socket of `quic`.
    #[must_use]
    pub fn begin(
        tag: Tag,
        audience: Audience,
        port: u16,
        quic: quic::Endpoint,
        hubs: &[String],
        identity: &watch::Receiver<Identity>,
    ) -> Self {
        let ports = (port, quic.port());
        let presence = presence(tag, &audience, ports);
        let (client, events) = Client::start(hubs, identity, presence, Some(quic));
        Self { tag, ports, audience, client, events }
    }

    /// From now on it is for `audience`.
    pub fn set(&mut self, audience: Audience) {
        self.audience = audience;
        self.moved();
    }

    /// The addresses of this machine have changed: the hubs are told.
    pub fn moved(&self) {
        self.client.set(presence(self.tag, &self.audience, self.ports));
    }

    /// The next call; who it is from, the handshake inside tells. May be cancelled.
    pub async fn next(&mut self) -> Call {
        while let Some(event) = self.events.recv().await {
            match event {
                Event::Call { hub, call, .. } => return Call { hub, call },
                Event::Connected { hub, observed, over } => {
                    log::info!("hub {hub} sees this party at {observed} over {over}");
                }
                Event::Disconnected { hub, reason } => log::info!("hub {hub}: {reason}"),
                Event::Present { .. } | Event::Gone { .. } => {}
            }
        }
        std::future::pending().await
    }
}

fn presence(tag: Tag, audience: &Audience, (tcp, udp): (u16, u16)) -> Presence {
    let Audience { parties: allow, groups } = audience.clone();
    let candidates = own_candidates((tcp, Some(udp)));
    Presence { tag, candidates, allow, groups, watch: Vec::new() }
}

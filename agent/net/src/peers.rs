//! Who meets in a session, or at an exposed port, and as whom this party is there.

use std::sync::Arc;

use mpyc_party_core::claims::{Claims, Fingerprint, PublicKey};
use mpyc_party_core::name::{PartyName, SessionName};
use mpyc_party_core::roster::{PeerIndex, PerParty, Roster, RosterError};
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::{Expect, Identity};
use tokio::sync::watch;

use crate::dial::{DialContext, LocalEnd};

/// Who meets in a session, and as whom this party is there.
#[derive(Clone, Debug)]
pub struct SessionPeers {
    identity: watch::Receiver<Identity>,
    /// The parties.
    pub roster: Roster,
    /// This party's index.
    pub me: PeerIndex,
    /// The keys that peers must have, by index.
    pub pins: Vec<Option<PublicKey>>,
    /// Under what this party is at the hubs.
    pub hub_tag: Tag,
    /// By what this party and the one at each index ask for each other; that at its own index is of no
    /// use.
    tags: PerParty<Tag>,
    server_names: Arc<[String]>,
}

impl SessionPeers {
    /// The peers of the session `name`; new connections use the newest identity.
    #[must_use]
    pub fn new(
        identity: watch::Receiver<Identity>,
        name: &SessionName,
        roster: Roster,
        me: PeerIndex,
        pins: Vec<Option<PublicKey>>,
    ) -> Self {
        let root = identity.borrow().root().fingerprint;
        let hub_tag = Tag::session(&root, name);
        let mut tags = PerParty::of(roster.len(), hub_tag);
        let own = &roster.as_slice()[me.get()];
        for peer in roster.indices().filter(|&peer| peer != me) {
            tags[peer] = Tag::pair(&root, name, own, &roster.as_slice()[peer.get()]);
        }
        Self::tagged(identity, (roster, me), pins, hub_tag, tags)
    }

    fn tagged(
        identity: watch::Receiver<Identity>,
        (roster, me): (Roster, PeerIndex),
        pins: Vec<Option<PublicKey>>,
        hub_tag: Tag,
        tags: PerParty<Tag>,
    ) -> Self {
        let others = tags.indexed().filter(|(peer, _)| *peer != me);
        let server_names = others.map(|(_, tag)| tag.server_name()).collect();
        Self { identity, roster, me, pins, hub_tag, tags, server_names }
    }

    /// This party and one `other` that exposes ports to it.
    ///
    /// # Errors
    /// Where both are the same.
    pub fn exposed(
        identity: watch::Receiver<Identity>,
        own: PartyName,
        other: PartyName,
        pin: Option<PublicKey>,
    ) -> Result<Self, RosterError> {
        let tag = Tag::exposed(&identity.borrow().root().fingerprint, &other);
        let roster = Roster::try_from(vec![own, other])?;
        let (me, tags) = (PeerIndex::new(0), PerParty::of(roster.len(), tag));
        Ok(Self::tagged(identity, (roster, me), vec![None, pin], tag, tags))
    }

    /// By what this party and the one at index `peer` ask for each other.
    #[must_use]
    pub fn tag(&self, peer: PeerIndex) -> Tag {
        self.tags[peer]
    }

    /// What the others ask for, each by its own, in roster order.
    pub fn tags(&self) -> impl Iterator<Item = Tag> {
        self.peers().map(|peer| self.tags[peer])
    }

    /// The TLS server names at which this party answers.
    #[must_use]
    pub fn server_names(&self) -> Arc<[String]> {
        Arc::clone(&self.server_names)
    }

    /// What is needed to dial the party at index `peer`, which must be as `expect` says.
    #[must_use]
    pub fn dial_context(&self, peer: PeerIndex, expect: Expect, local: LocalEnd) -> DialContext {
        let (identity, party) = (self.identities(), self.name(peer).clone());
        let (hub_tag, tag) = (self.hub_tag, self.tag(peer));
        DialContext { identity, hub_tag, tag, party, expect, local }
    }

    /// This party's identity as it is now, and as it will be renewed.
    #[must_use]
    pub fn identities(&self) -> watch::Receiver<Identity> {
        self.identity.clone()
    }

    /// This party's identity as it is now.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity.borrow().clone()
    }

    /// What the network is known by.
    #[must_use]
    pub fn root(&self) -> Fingerprint {
        self.identity.borrow().root().fingerprint
    }

    /// The peers, or this one, as the handshake expects them, with these keys where they are known.
    #[must_use]
    pub fn expect(&self, only: Option<PeerIndex>, keys: &[Option<PublicKey>]) -> Expect {
        let peers = self.peers().filter(|&i| only.is_none_or(|only| only == i));
        Expect::Parties(peers.map(|i| (self.name(i).clone(), keys[i.get()])).collect())
    }

    /// The others' indices.
    pub fn peers(&self) -> impl Iterator<Item = PeerIndex> + use<> {
        let me = self.me;
        self.roster.indices().filter(move |&i| i != me)
    }

    /// This party's name.
    #[must_use]
    pub fn own_name(&self) -> &PartyName {
        self.name(self.me)
    }

    /// The name of the party at `index`.
    #[must_use]
    pub fn name(&self, index: PeerIndex) -> &PartyName {
        &self.roster.as_slice()[index.get()]
    }

    /// The index of the peer with these claims.
    pub(crate) fn index_of(&self, claims: &Claims) -> Option<PeerIndex> {
        let name = claims.party()?;
        self.roster.index_of(name).filter(|&i| i != self.me)
    }

    /// Whether this party decides which connection to `peer` becomes the link.
    pub(crate) fn controls(&self, peer: PeerIndex) -> bool {
        self.own_name() < self.name(peer)
    }
}

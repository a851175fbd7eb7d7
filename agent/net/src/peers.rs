//! Who meets in a session, or at an exposed port, and as whom this party is there.

use mpyc_party_core::claims::{Claims, Fingerprint, PublicKey};
use mpyc_party_core::name::{PartyName, SessionName};
use mpyc_party_core::roster::{PeerIndex, Roster, RosterError};
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
    /// What stands for this session in public.
    pub tag: Tag,
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
        let tag = Tag::new(&identity.borrow().root().fingerprint, name, roster.as_slice());
        Self { identity, roster, me, pins, tag }
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
        Ok(Self { identity, roster, me: PeerIndex::new(0), pins: vec![None, pin], tag })
    }

    /// What is needed to dial the party at index `peer`, which must be as `expect` says.
    #[must_use]
    pub fn dial_context(&self, peer: PeerIndex, expect: Expect, local: LocalEnd) -> DialContext {
        let (identity, party) = (self.identities(), self.name(peer).clone());
        DialContext { identity, tag: self.tag, party, expect, local }
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

//! How often and how long each link was away: for the one who waits, and for the record.

use std::time::{Duration, Instant};

use mpyc_party_core::name::PartyName;
use mpyc_party_core::roster::{PeerIndex, PerParty, Roster};

use crate::session::record::Outage;

/// The links that are away, and the sum of what was.
#[derive(Debug)]
pub(super) struct Outages {
    since: PerParty<Option<Instant>>,
    was: PerParty<(u32, Duration)>,
}

impl Outages {
    pub(super) fn new(parties: usize) -> Self {
        Self { since: PerParty::of(parties, None), was: PerParty::of(parties, (0, Duration::ZERO)) }
    }

    /// The link to `peer` is lost or silent; true where that is news.
    pub(super) fn begin(&mut self, peer: PeerIndex) -> bool {
        let news = self.since[peer].is_none();
        self.since[peer].get_or_insert_with(Instant::now);
        news
    }

    /// Whether no outage of the link to `peer` is known.
    pub(super) fn is_well(&self, peer: PeerIndex) -> bool {
        self.since[peer].is_none()
    }

    /// There is a good link to `peer` again; how long there was none.
    pub(super) fn end(&mut self, peer: PeerIndex) -> Option<Duration> {
        let time = self.since[peer].take()?.elapsed();
        let (count, sum) = &mut self.was[peer];
        (*count, *sum) = (*count + 1, *sum + time);
        Some(time)
    }

    /// The sum for each peer whose link was ever away, until now.
    pub(super) fn record(&mut self, roster: &Roster) -> Vec<Outage> {
        for peer in roster.indices() {
            self.end(peer);
        }
        let outage = |(party, (count, time)): (&PartyName, &(u32, Duration))| {
            let seconds = time.as_secs_f64();
            (*count > 0).then(|| Outage { party: party.clone(), count: *count, seconds })
        };
        roster.iter().zip(self.was.iter()).filter_map(outage).collect()
    }
}

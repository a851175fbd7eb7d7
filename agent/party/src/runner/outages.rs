//! How often and how long each link was away: for the one who waits, and for the record.

use std::time::{Duration, Instant};

use mpyc_party_core::name::PartyName;
use mpyc_party_core::roster::Roster;

use crate::session::record::Outage;

/// The links that are away, and the sum of what was.
#[derive(Debug)]
pub(super) struct Outages {
    since: Vec<Option<Instant>>,
    was: Vec<(u32, Duration)>,
}

impl Outages {
    pub(super) fn new(parties: usize) -> Self {
        Self { since: vec![None; parties], was: vec![(0, Duration::ZERO); parties] }
    }

    /// The link to `peer` is lost or silent; true where that is news.
    pub(super) fn begin(&mut self, peer: usize) -> bool {
        let news = self.since[peer].is_none();
        self.since[peer].get_or_insert_with(Instant::now);
        news
    }

    /// Whether no outage of the link to `peer` is known.
    pub(super) fn is_well(&self, peer: usize) -> bool {
        self.since[peer].is_none()
    }

    /// There is a good link to `peer` again; how long there was none.
    pub(super) fn end(&mut self, peer: usize) -> Option<Duration> {
        let time = self.since[peer].take()?.elapsed();
        let (count, sum) = &mut self.was[peer];
        (*count, *sum) = (*count + 1, *sum + time);
        Some(time)
    }

    /// The sum for each peer whose link was ever away, until now.
    pub(super) fn record(&mut self, roster: &Roster) -> Vec<Outage> {
        for peer in 0..self.since.len() {
            self.end(peer);
        }
        let outage = |(party, (count, time)): (&PartyName, &(u32, Duration))| {
            let seconds = time.as_secs_f64();
            (*count > 0).then(|| Outage { party: party.clone(), count: *count, seconds })
        };
        roster.iter().zip(&self.was).filter_map(outage).collect()
    }
}

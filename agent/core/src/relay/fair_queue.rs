//! Whose bytes are next: start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996) over
//! parties, so that one with many busy pairs gets no more than one with a single pair, and one that
//! asks rarely waits for one piece of another at most.

use std::collections::{BTreeMap, HashMap};

use crate::name::PartyName;

/// Parties that are remembered while they do not wait.
const MAX_IDLE_ACCOUNTS: usize = 64;

/// Those who want to send, and the order in which they may.
///
/// Each piece starts where the one before it of the same party ends, on a scale of bytes, and no
/// earlier than the piece sent last; the one that starts first is next.
#[derive(Debug)]
pub struct FairQueue<T> {
    /// By start and order of asking.
    waiting: BTreeMap<(u64, u64), (T, usize)>,
    /// Where the latest piece of a party ends.
    ends: HashMap<PartyName, u64>,
    /// Where the piece sent last starts.
    now: u64,
    asked: u64,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        let (waiting, ends, now, asked) = Default::default();
        Self { waiting, ends, now, asked }
    }
}

impl<T> FairQueue<T> {
    /// `who` wants to send `bytes` on the account of `party`.
    pub fn ask(&mut self, party: &PartyName, who: T, bytes: usize) {
        if self.ends.len() > 2 * self.waiting.len() + MAX_IDLE_ACCOUNTS {
            self.ends.retain(|_, end| *end > self.now);
        }
        let start = self.ends.get(party).copied().unwrap_or_default().max(self.now);
        self.ends.insert(party.clone(), start.saturating_add(bytes as u64));
        self.asked += 1;
        self.waiting.insert((start, self.asked), (who, bytes));
    }

    /// Who may send now, and how much it is.
    pub fn take(&mut self) -> Option<(T, usize)> {
        let Some(((start, _), next)) = self.waiting.pop_first() else {
            // Nobody is behind whom anybody could be ahead of.
            (self.now, self.asked) = (0, 0);
            self.ends.clear();
            return None;
        };
        self.now = start;
        Some(next)
    }

    /// Those for whom `keep` is false do not wait any longer.
    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.waiting.retain(|_, (who, _)| keep(who));
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.ends.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

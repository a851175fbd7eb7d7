//! How many connections there may be at once, in all and of one party: no party takes all the room
//! there is from the others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mpyc_party_core::expose::Refusal;
use mpyc_party_core::name::PartyName;

/// Who is connected. Cloning shares it.
#[derive(Clone, Debug)]
pub struct ConnectionPermits {
    max: usize,
    max_per_party: usize,
    held: Arc<Mutex<BTreeMap<PartyName, usize>>>,
}

/// One connection; dropping it frees its place.
#[derive(Debug)]
pub struct Permit(ConnectionPermits, PartyName);

impl ConnectionPermits {
    /// Room for `max` connections in all, and of one party.
    pub fn new(max: usize, max_per_party: usize) -> Self {
        Self { max, max_per_party, held: Arc::default() }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<PartyName, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more connection of `party`.
    pub fn take(&self, party: &PartyName) -> Result<Permit, Refusal> {
        let mut held = self.held();
        if held.values().sum::<usize>() >= self.max {
            return Err(Refusal::Full);
        }
        let own = held.entry(party.clone()).or_default();
        if *own >= self.max_per_party {
            return Err(Refusal::PartyFull);
        }
        *own += 1;
        Ok(Permit(self.clone(), party.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.0.held();
        if let Some(own) = held.get_mut(&self.1) {
            *own -= 1;
            if *own == 0 {
                held.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_party_leaves_room_for_others_and_all_are_bounded() {
        const MAX: usize = 128;
        const MAX_PER_PARTY: usize = 32;
        let permits = ConnectionPermits::new(MAX, MAX_PER_PARTY);
        let name = |number: usize| format!("p{number}").parse::<PartyName>().unwrap();
        let mut held: Vec<Permit> =
            (0..MAX_PER_PARTY).map(|_| permits.take(&name(0)).unwrap()).collect();
        assert_eq!(permits.take(&name(0)).unwrap_err(), Refusal::PartyFull);
        for party in 1..=MAX / MAX_PER_PARTY {
            held.extend((0..MAX_PER_PARTY).map_while(|_| permits.take(&name(party)).ok()));
        }
        assert_eq!(held.len(), MAX);
        assert_eq!(permits.take(&name(9)).unwrap_err(), Refusal::Full);
        held.pop();
        assert!(permits.take(&name(9)).is_ok());
        held.clear();
        assert!(permits.held().is_empty());
    }
}

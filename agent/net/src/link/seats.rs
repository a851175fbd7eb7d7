//! How many connections there may be at once, in all and of one party: no party takes all the room
//! there is from the others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mpyc_party_core::expose::Refusal;
use mpyc_party_core::name::PartyName;

/// Who is connected. Cloning shares it.
#[derive(Clone, Debug)]
pub(super) struct Seats {
    most: usize,
    most_of_one: usize,
    taken: Arc<Mutex<BTreeMap<PartyName, usize>>>,
}

/// One connection; dropping it frees its place.
#[derive(Debug)]
pub(super) struct Seat(Seats, PartyName);

impl Seats {
    /// Room for `most` connections in all, and of one party.
    pub(super) fn new(most: usize, most_of_one: usize) -> Self {
        Self { most, most_of_one, taken: Arc::default() }
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<PartyName, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more connection of `party`.
    pub(super) fn take(&self, party: &PartyName) -> Result<Seat, Refusal> {
        let mut taken = self.taken();
        if taken.values().sum::<usize>() >= self.most {
            return Err(Refusal::Full);
        }
        let own = taken.entry(party.clone()).or_default();
        if *own >= self.most_of_one {
            return Err(Refusal::PartyFull);
        }
        *own += 1;
        Ok(Seat(self.clone(), party.clone()))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.0.taken();
        if let Some(own) = taken.get_mut(&self.1) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_party_leaves_room_for_others_and_all_are_bounded() {
        const MOST: usize = 128;
        const MOST_OF_ONE: usize = 32;
        let seats = Seats::new(MOST, MOST_OF_ONE);
        let name = |number: usize| format!("p{number}").parse::<PartyName>().unwrap();
        let mut held: Vec<Seat> = (0..MOST_OF_ONE).map(|_| seats.take(&name(0)).unwrap()).collect();
        assert_eq!(seats.take(&name(0)).unwrap_err(), Refusal::PartyFull);
        for party in 1..=MOST / MOST_OF_ONE {
            held.extend((0..MOST_OF_ONE).map_while(|_| seats.take(&name(party)).ok()));
        }
        assert_eq!(held.len(), MOST);
        assert_eq!(seats.take(&name(9)).unwrap_err(), Refusal::Full);
        held.pop();
        assert!(seats.take(&name(9)).is_ok());
        held.clear();
        assert!(seats.taken().is_empty());
    }
}

//! Who has called whom and who is connected with whom.

use std::collections::HashMap;
use std::time::Duration;

use super::{CallId, JOIN_TIMEOUT, Limits, Refusal};
use crate::name::PartyName;

/// One party's connection to the relay; numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PipeId(u64);

#[derive(Debug)]
enum State {
    /// Has asked for nothing so far.
    Fresh,
    Calling(CallId),
    ConnectedWith(PipeId),
}

#[derive(Debug)]
struct Pipe {
    party: PartyName,
    state: State,
}

#[derive(Debug)]
struct Call {
    caller: PipeId,
    called: PartyName,
    until: Duration,
}

/// The calls and pairs of a relay. Time is given as it has passed since any fixed moment.
#[derive(Debug)]
pub struct Calls {
    limits: Limits,
    pipes: HashMap<PipeId, Pipe>,
    calls: HashMap<CallId, Call>,
    parties: HashMap<PartyName, usize>,
    next: u64,
}

impl Calls {
    /// An exchange without calls.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let (pipes, calls, parties, next) = Default::default();
        Self { limits, pipes, calls, parties, next }
    }

    /// A new pipe of `party`.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn enter(&mut self, party: PartyName) -> Result<PipeId, Refusal> {
        let own = self.parties.get(&party).copied().unwrap_or_default();
        if own >= self.limits.per_party {
            return Err(Refusal::PartyFull);
        }
        if self.pipes.len() >= self.limits.pipes {
            return Err(Refusal::Full);
        }
        self.parties.insert(party.clone(), own + 1);
        self.next += 1;
        let id = PipeId(self.next);
        self.pipes.insert(id, Pipe { party, state: State::Fresh });
        Ok(id)
    }

    /// `pipe` calls `called`, who may join `call` until [`JOIN_TIMEOUT`] is over.
    ///
    /// # Errors
    /// When the pipe has had its request, or the id is not a fresh one.
    pub fn call(
        &mut self,
        pipe: PipeId,
        called: PartyName,
        call: CallId,
        now: Duration,
    ) -> Result<(), Refusal> {
        if self.calls.contains_key(&call) {
            return Err(Refusal::NoSuchCall);
        }
        self.fresh(pipe)?.state = State::Calling(call);
        self.calls.insert(call, Call { caller: pipe, called, until: now + JOIN_TIMEOUT });
        Ok(())
    }

    /// `pipe` joins `call`; returns the pipe it is now connected with.
    ///
    /// # Errors
    /// When there is no such call for this party, and where the pipe has had its request. A call
    /// for somebody else stays theirs.
    pub fn join(&mut self, pipe: PipeId, call: CallId, now: Duration) -> Result<PipeId, Refusal> {
        let party = self.fresh(pipe)?.party.clone();
        let waits = |made: &Call| made.called == party && now < made.until;
        let caller = match self.calls.get(&call) {
            Some(made) if waits(made) => made.caller,
            _ => return Err(Refusal::NoSuchCall),
        };
        self.calls.remove(&call);
        for (one, other) in [(pipe, caller), (caller, pipe)] {
            if let Some(pipe) = self.pipes.get_mut(&one) {
                pipe.state = State::ConnectedWith(other);
            }
        }
        Ok(caller)
    }

    fn fresh(&mut self, pipe: PipeId) -> Result<&mut Pipe, Refusal> {
        let found = self.pipes.get_mut(&pipe);
        found.filter(|pipe| matches!(pipe.state, State::Fresh)).ok_or(Refusal::NoSuchCall)
    }

    /// `pipe` has ended, and its call or pair with it; returns the other end of the pair, which has
    /// to end as well. Reporting it twice does no harm.
    pub fn leave(&mut self, pipe: PipeId) -> Option<PipeId> {
        let gone = self.pipes.remove(&pipe)?;
        if let Some(count) = self.parties.get_mut(&gone.party) {
            *count -= 1;
            if *count == 0 {
                self.parties.remove(&gone.party);
            }
        }
        match gone.state {
            State::Fresh => None,
            State::Calling(call) => {
                self.calls.remove(&call);
                None
            }
            State::ConnectedWith(other) => self.pipes.contains_key(&other).then_some(other),
        }
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pipes.is_empty() && self.calls.is_empty() && self.parties.is_empty()
    }
}

//! The link as it is: whether its beats are answered, and whether packets of full size get through.
//!
//! Some paths carry small packets and lose larger ones without a word: their MTU is smaller than
//! that of the interfaces, and no ICMP message gets through that would say so (a black hole, RFC 2923).
//! There heartbeats alone would show a healthy link over which no stream moves. So as soon as the first
//! beat of a link is answered, the second is sent in packets of full size, and so is every fourth from
//! then on, if all before it were answered: whoever answers the small ones and not that one is
//! behind such a path.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Action, ConnectionId, Kind, Paths};

/// Time between two beats.
pub(super) const BEAT_INTERVAL: Duration = Duration::from_millis(500);
/// How old an unanswered beat makes its link suspect; older where round trips are long, or the
/// machines so busy that they seem so.
pub(super) const SUSPECT_AFTER: Duration = Duration::from_millis(1250);
/// The multiple of the usual round trip, and how many times `SUSPECT_AFTER` at most.
const SUSPECT_ROUND_TRIPS: u32 = 4;
const MAX_SUSPECT_FACTOR: u32 = 5;
/// How many beats there are for each one of full size: what a black hole that opens later may cost
/// is two seconds, and what it takes to see it, a kilobyte a second.
const BEATS_PER_FULL_BEAT: u32 = 4;
/// Stalled streams after which a link is given up, whatever its beats say.
const MAX_STALLED_STREAMS: u32 = 2;
/// How old it is enough where the peer asks for another link, as it would not do for nothing.
const SUSPECT_AFTER_IF_NEEDED: Duration = Duration::from_millis(750);
/// Beats that are remembered while nothing is answered.
const MAX_REMEMBERED_BEATS: usize = 64;

/// A connection in use.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: ConnectionId,
    pub(super) kind: Kind,
    pub(super) since: Duration,
    /// The instance of the peer that it leads to, once that is known.
    pub(super) instance: Option<u64>,
    pub(super) suspect: bool,
    pub(super) round_trip: Option<Duration>,
    usual: Option<Duration>,
    /// A beat of full size was answered.
    proven: bool,
    /// It is suspect since then because one was not.
    pub(super) stalled: Option<Duration>,
    /// How often a stream over it made no progress.
    stalled_streams: u32,
    /// The beats that were not answered yet.
    beats: VecDeque<Beat>,
    next_beat: Duration,
    number: u32,
    /// The next beat is to be of full size, if all before it were answered.
    full_due: bool,
}

/// A beat that was sent.
#[derive(Clone, Copy, Debug)]
struct Beat {
    number: u32,
    sent: Duration,
    /// In a packet of full size.
    full: bool,
}

impl Link {
    /// A fresh link to a peer whose answers `usually` took so long.
    pub(super) fn new(
        id: ConnectionId,
        kind: Kind,
        instance: Option<u64>,
        now: Duration,
        usual: Option<Duration>,
    ) -> Self {
        Self {
            id,
            kind,
            since: now,
            instance,
            suspect: false,
            round_trip: None,
            usual,
            proven: false,
            stalled: None,
            stalled_streams: 0,
            beats: VecDeque::new(),
            next_beat: now,
            number: 0,
            full_due: false,
        }
    }

    pub(super) fn next_tick(&self, needed: bool) -> Duration {
        let oldest = self.beats.front().filter(|_| !self.suspect);
        let due = oldest.map(|beat| beat.sent + self.suspect_after(needed));
        due.map_or(self.next_beat, |at| at.min(self.next_beat))
    }

    /// How long an answer may take.
    fn suspect_after(&self, needed: bool) -> Duration {
        match self.usual {
            _ if needed => SUSPECT_AFTER_IF_NEEDED,
            // It is fresh, so it works.
            None => SUSPECT_AFTER * 2,
            Some(usual) => (usual * SUSPECT_ROUND_TRIPS)
                .clamp(SUSPECT_AFTER, SUSPECT_AFTER * MAX_SUSPECT_FACTOR),
        }
    }

    /// A beat was answered: those before it are not waited for, and the link is good.
    pub(super) fn echoed(&mut self, now: Duration, number: u32) {
        if let Some(at) = self.beats.iter().position(|beat| beat.number == number) {
            self.proven |= self.beats.iter().take(at + 1).any(|beat| beat.full);
            let beat = self.beats.drain(..=at).next_back();
            self.round_trip = beat.map(|beat| now.saturating_sub(beat.sent));
            (self.suspect, self.stalled) = (false, None);
            if !self.proven && self.number == 1 {
                self.next_beat = now;
            }
            let newest = self.round_trip.unwrap_or_default();
            // As TCP does it (RFC 6298, section 2), but quick to become patient.
            let smoothed = |usual: Duration| (usual * 7 + newest) / 8;
            self.usual = Some(self.usual.map_or(newest, smoothed).max(newest / 2));
        }
    }

    /// Whether another connection to the peer has come up so soon after a beat of full size was given
    /// up that this was no outage: in one that had ended, the old connection would have recovered.
    pub(super) fn is_black_hole(&self, now: Duration) -> bool {
        self.stalled.is_some_and(|since| now < since + SUSPECT_AFTER)
    }

    /// How long its answers usually take, where that is known.
    pub(super) fn usual(&self) -> Option<Duration> {
        self.usual
    }
}

impl Paths {
    /// A machine that slept, or a runner that was stopped, did not listen meanwhile: what it did
    /// not hear then is no sign.
    pub(super) fn sleep(&mut self, now: Duration) {
        let slept = now.saturating_sub(self.now);
        if let Some(link) = self.link.as_mut().filter(|_| slept > SUSPECT_AFTER) {
            link.beats.iter_mut().for_each(|beat| beat.sent += slept);
        }
    }

    /// Sends what beats are due, and suspects a link that does not answer.
    pub(super) fn watch(&mut self) {
        let needed = self.is_needed();
        let Some(link) = &mut self.link else { return };
        let limit = link.suspect_after(needed);
        let late = link.beats.front().filter(|beat| beat.sent + limit <= self.now).copied();
        if let Some(beat) = late.filter(|_| !link.suspect) {
            (link.suspect, link.stalled) = (true, beat.full.then_some(self.now));
            if beat.full && !link.proven {
                // Whether or not it is a black hole: smaller packets do no harm.
                self.actions.push(Action::Shrink(link.id));
            }
            self.redial();
        }
        let Some(link) = &mut self.link else { return };
        if link.next_beat <= self.now {
            link.next_beat = self.now + BEAT_INTERVAL;
            link.number = link.number.wrapping_add(1);
            link.beats.truncate(MAX_REMEMBERED_BEATS - 1);
            link.full_due |= link.number % BEATS_PER_FULL_BEAT == 2;
            let full = link.full_due && link.beats.is_empty();
            link.full_due &= !full;
            link.beats.push_back(Beat { number: link.number, sent: self.now, full });
            self.actions.push(Action::Beat { number: link.number, full });
        }
    }

    /// A stream over the link of this connection made no progress, for so long that its carrier was
    /// given up. The first of them gets another carrier; with the next the link goes as well.
    pub(super) fn stream_stalled(&mut self, id: ConnectionId) {
        let Some(link) = self.link.as_mut().filter(|link| link.id == id) else { return };
        link.stalled_streams += 1;
        self.actions.push(Action::Shrink(id));
        if link.stalled_streams >= MAX_STALLED_STREAMS {
            link.stalled = Some(self.now);
            self.drop_link();
            self.actions.push(Action::Close(id));
        }
    }
}

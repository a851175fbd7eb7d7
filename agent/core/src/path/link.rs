//! The link as it is: whether its beats are answered.

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
    pub(super) suspect: bool,
    pub(super) round_trip: Option<Duration>,
    usual: Option<Duration>,
    /// The beats that were not answered yet, and when they were sent.
    beats: VecDeque<(u32, Duration)>,
    next_beat: Duration,
    number: u32,
}

impl Link {
    pub(super) fn new(id: ConnectionId, kind: Kind, now: Duration) -> Self {
        Self {
            id,
            kind,
            since: now,
            suspect: false,
            round_trip: None,
            usual: None,
            beats: VecDeque::new(),
            next_beat: now,
            number: 0,
        }
    }

    pub(super) fn next_tick(&self, needed: bool) -> Duration {
        let oldest = self.beats.front().filter(|_| !self.suspect);
        let due = oldest.map(|(_, sent)| *sent + self.suspect_after(needed));
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
        if let Some(at) = self.beats.iter().position(|(sent, _)| *sent == number) {
            let beat = self.beats.drain(..=at).next_back();
            self.round_trip = beat.map(|(_, sent)| now.saturating_sub(sent));
            self.suspect = false;
            let newest = self.round_trip.unwrap_or_default();
            // As TCP does it (RFC 6298, section 2), but quick to become patient.
            let smoothed = |usual: Duration| (usual * 7 + newest) / 8;
            self.usual = Some(self.usual.map_or(newest, smoothed).max(newest / 2));
        }
    }
}

impl Paths {
    /// A machine that slept, or a runner that was stopped, did not listen meanwhile: what it did
    /// not hear then is no sign.
    pub(super) fn sleep(&mut self, now: Duration) {
        let slept = now.saturating_sub(self.now);
        if let Some(link) = self.link.as_mut().filter(|_| slept > SUSPECT_AFTER) {
            link.beats.iter_mut().for_each(|(_, sent)| *sent += slept);
        }
    }

    /// Sends what beats are due, and suspects a link that does not answer.
    pub(super) fn watch(&mut self) {
        let needed = self.is_needed();
        let Some(link) = &mut self.link else { return };
        let limit = link.suspect_after(needed);
        let unanswered = link.beats.front().is_some_and(|(_, sent)| *sent + limit <= self.now);
        if unanswered && !link.suspect {
            link.suspect = true;
            self.redial();
        }
        let Some(link) = &mut self.link else { return };
        if link.next_beat <= self.now {
            link.next_beat = self.now + BEAT_INTERVAL;
            link.number = link.number.wrapping_add(1);
            link.beats.truncate(MAX_REMEMBERED_BEATS - 1);
            link.beats.push_back((link.number, self.now));
            self.actions.push(Action::Beat(link.number));
        }
    }
}

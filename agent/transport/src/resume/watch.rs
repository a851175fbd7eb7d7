//! Whether a carrier still carries.
//!
//! A carrier may stand still without an end: where somebody on the way has made one record of TLS
//! seem longer than it is, the other end waits for the rest of it. Beats on the link do not show
//! that, for they go elsewhere. So an end whose bytes are not acknowledged asks, an end whose local
//! process does not read says that it is there, and who hears nothing at all gives the carrier up.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// How often is asked.
const QUESTION_INTERVAL: Duration = Duration::from_secs(5);
/// So often in vain.
const MAX_UNANSWERED: u32 = 3;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    None,
    Speak,
    Cut,
}

/// Watches the carriers of one stream.
#[derive(Default)]
pub(super) struct Watch {
    /// Whether the local process does not read what has come.
    pub(super) blocked: bool,
    /// Questions since something was heard.
    unanswered: u32,
    /// Runs only while there is something to say, so that an idle stream wakes nobody.
    due: Option<Pin<Box<Sleep>>>,
}

impl Watch {
    /// Something has come over the carrier, or it is new.
    pub(super) fn heard(&mut self) {
        self.unanswered = 0;
    }

    /// What is to be done where this end `waits` for an acknowledgement or is `blocked`.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, waits: bool, blocked: bool) -> Sign {
        if !waits {
            self.unanswered = 0;
        }
        if !waits && !blocked && self.due.is_none() {
            return Sign::None;
        }
        let due = self.due.get_or_insert_with(|| Box::pin(sleep(QUESTION_INTERVAL)));
        if due.as_mut().poll(context) == Poll::Pending {
            return Sign::None;
        }
        if !waits && !blocked {
            self.due = None;
            return Sign::None;
        }
        due.as_mut().reset(Instant::now() + QUESTION_INTERVAL);
        // Registers for the next time.
        let _ = due.as_mut().poll(context);
        if waits && self.unanswered == MAX_UNANSWERED {
            self.unanswered = 0;
            return Sign::Cut;
        }
        self.unanswered += u32::from(waits);
        Sign::Speak
    }
}

//! What parties of a session say to each other over their control link.

use serde::{Deserialize, Serialize};

use crate::agreement::{EncodedEntry, RunId};
use crate::stream::Epoch;
use crate::verdict::{Failure, Reason};
use crate::waits::Waits;

/// Largest control message in bytes: the list of [`crate::roster::MAX_PARTIES`] entries fits, each
/// as long as [`EncodedEntry::MAX_BYTES`] allows.
pub const MAX_CONTROL_BYTES: usize = 512 * 1024;

/// Largest first message of a control link or a stream in bytes.
pub const MAX_OPENING_BYTES: usize = 96;

/// The first message on a connection that may become a control link, sent by the end that dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// To take part in a run.
    Run {
        /// Links up to this epoch are of no use to the sender; 0 where it has one or never had.
        lost: u64,
    },
    /// To compare entries and leave again.
    Check,
    /// To see who is there and how long an answer takes: every [`Control::Beat`] is answered.
    Ping,
}

/// The tag of the extension of [`Control::Abort`] that has the reason where not every version of this
/// protocol knows it: the message itself then has another, in words.
const REASON_TAG: u32 = 2;

/// The tag of the extension of [`Control::Beat`] that makes it [`Control::Waits`].
const WAITS_TAG: u32 = 3;
/// The number of that beat. The beats that want an answer count from 1.
const WAITS_BEAT: u32 = 0;

/// A message on a control link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Control {
    /// The controlling end (the one whose name sorts first) takes this connection as the link from
    /// now on, in place of the one there may have been.
    Use {
        /// Drawn at random by each runner.
        instance: u64,
        /// Rises with every link that the sender takes.
        epoch: u64,
    },
    /// What this party would run.
    Entry(EncodedEntry),
    /// All entries as this party received them, byte for byte, in roster order.
    List(Vec<EncodedEntry>),
    /// This party holds the agreement, and its engine's process waits for the start.
    Ready(RunId),
    /// The sender, who did not dial this link, asks its peer for a carrier of this stream.
    Dial {
        /// Its number among the connections to this peer, from 0.
        cycle: u32,
        /// The newest carrier that the sender knows; one that is newer is on its way already.
        newest: Epoch,
    },
    /// The program ended with success here.
    Done,
    /// The run has failed.
    Abort(Failure),
    /// The sender has heard [`Control::Done`] or [`Control::Abort`]: it need not be said again.
    Noted,
    /// «Are you there?»
    Beat(u32),
    /// The answer to the beat of this number.
    Echo(u32),
    /// What the sender waits for, whenever that changes and on each new link. It travels beside a beat,
    /// which a version that does not know it answers like any other.
    #[serde(skip)]
    Waits(Waits),
}

impl Control {
    /// The message as every version of this protocol can read it, and its extensions: tags with bytes.
    #[must_use]
    pub fn into_wire(self) -> (Self, Vec<(u32, Vec<u8>)>) {
        if let Self::Waits(waits) = &self {
            let extension = postcard::to_allocvec(waits).map(|bytes| (WAITS_TAG, bytes));
            return (Self::Beat(WAITS_BEAT), extension.into_iter().collect());
        }
        let Self::Abort(failure) = &self else { return (self, Vec::new()) };
        let Some(reason) = failure.reason.known_to_all() else { return (self, Vec::new()) };
        let extension = postcard::to_allocvec(&failure.reason).map(|bytes| (REASON_TAG, bytes));
        let message = Self::Abort(Failure { reason, ..failure.clone() });
        (message, extension.into_iter().collect())
    }

    /// The message of which this came, with these extensions. Those that are not known are skipped.
    #[must_use]
    pub fn from_wire(mut self, extensions: &[(u32, Vec<u8>)]) -> Self {
        if let Self::Beat(_) = &self
            && let Some((_, bytes)) = extensions.iter().find(|(tag, _)| *tag == WAITS_TAG)
            && let Ok(waits) = postcard::from_bytes(bytes)
        {
            return Self::Waits(waits);
        }
        if let Self::Abort(failure) = &mut self
            && let Some((_, bytes)) = extensions.iter().find(|(tag, _)| *tag == REASON_TAG)
            && let Ok(reason) = postcard::from_bytes::<Reason>(bytes)
        {
            failure.reason = reason;
        }
        self
    }
}

/// The first message on a carrier of a stream, sent by the end that dialled the link. Which of the
/// two processes opened the connection needs no telling: it is always the one with the lower
/// index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamOpening {
    /// The run this stream belongs to.
    pub run: RunId,
    /// Its number among the engine's connections of this pair, from 0.
    pub cycle: u32,
    /// Which carrier of the stream it is.
    pub epoch: Epoch,
    /// All before this position has been received by the sender.
    pub received: u64,
}

/// The answer to [`StreamOpening`]; there is none to a carrier that is not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamAnswer {
    /// All before this position has been received by the sender.
    pub received: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::MAX_PARTIES;

    #[test]
    fn a_reason_that_not_all_know_has_one_that_they_do() {
        let failure = Failure {
            who: vec!["alice".parse().unwrap()],
            stage: crate::verdict::Stage::Run,
            reason: Reason::Left,
            observer: "bob".parse().unwrap(),
            via: None,
        };
        let said = Control::Abort(failure.clone());
        let (message, extensions) = said.clone().into_wire();
        let Control::Abort(plain) = &message else { panic!("{message:?}") };
        assert!(matches!(plain.reason, Reason::Lost(_)), "{plain}");
        assert!(plain.to_string().contains(&Reason::Left.to_string()), "{plain}");
        assert_eq!(message.clone().from_wire(&extensions), said);
        // A version that does not know the reason, or the tag, keeps what all know.
        let later = [(REASON_TAG, vec![255, 1]), (77, vec![1])];
        assert_eq!(message.clone().from_wire(&later), message);
        let old = Control::Abort(Failure { reason: Reason::Stopped, ..failure });
        assert_eq!(old.clone().into_wire(), (old, Vec::new()));
    }

    #[test]
    fn what_a_party_waits_for_travels_beside_a_beat() {
        let longest = (0..200).map(|i| format!("{i:063}").parse().unwrap()).collect();
        for waits in [Waits::Nothing, Waits::Preparing, Waits::Answer, Waits::for_parties(longest)]
        {
            let said = Control::Waits(waits);
            let (message, extensions) = said.clone().into_wire();
            assert_eq!(message, Control::Beat(WAITS_BEAT));
            // 1 KiB is what a frame has for all extensions.
            assert!(postcard::to_allocvec(&extensions).unwrap().len() <= 1024);
            assert_eq!(message.from_wire(&extensions), said);
        }
        let nonsense = [(WAITS_TAG, vec![2, 1, 1, b'/', 0])];
        assert_eq!(Control::Beat(7).from_wire(&nonsense), Control::Beat(7));
    }

    #[test]
    fn the_longest_list_fits() {
        let entry = EncodedEntry::from(vec![255; EncodedEntry::MAX_BYTES]);
        for parties in [64, MAX_PARTIES] {
            let list = Control::List(vec![entry.clone(); parties]);
            assert!(postcard::to_allocvec(&list).unwrap().len() <= MAX_CONTROL_BYTES);
        }
    }
}

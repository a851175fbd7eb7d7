//! What parties of a session say to each other over their control link.

use serde::{Deserialize, Serialize};

use crate::agreement::{EncodedEntry, RunId};
use crate::roster::Roster;
use crate::stream::Epoch;
use crate::verdict::Failure;
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
    /// First on each connection from the end that does not control: which of its runners this is. A
    /// second one must not stay unseen while the first has the link.
    Instance(u64),
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
    /// Early on each link: whom the sender names in its session. The entry has a digest of it as well;
    /// this lets people be told what differs.
    Roster(Roster),
    /// What the sender waits for, whenever that changes and on each new link.
    Waits(Waits),
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
    fn the_longest_list_fits() {
        let entry = EncodedEntry::from(vec![255; EncodedEntry::MAX_BYTES]);
        for parties in [64, MAX_PARTIES] {
            let list = Control::List(vec![entry.clone(); parties]);
            assert!(postcard::to_allocvec(&list).unwrap().len() <= MAX_CONTROL_BYTES);
        }
    }
}

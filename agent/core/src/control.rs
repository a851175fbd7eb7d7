//! What parties of a session say to each other over their control link.

use serde::{Deserialize, Serialize};

use crate::agreement::{Entry, RunId};
use crate::verdict::Failure;

/// Largest control message in bytes: the list of [`crate::roster::MOST_PARTIES`] entries fits.
pub const LARGEST_CONTROL: usize = 128 * 1024;

/// Largest first message of a control link or a stream in bytes.
pub const LARGEST_OPENING: usize = 64;

/// The first message on a control link, sent by the party that dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// To take part in a run.
    Run,
    /// To compare entries and leave again.
    Check,
    /// To see who is there and how long an answer takes: every [`Control::Beat`] is sent back.
    Ping,
}

/// A message on a control link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Control {
    /// The controlling end (the one whose name sorts first) takes this link for the run. It takes
    /// one at a time; the others that the two parties dialled at once are closed.
    Use,
    /// What this party would run.
    Entry(Entry),
    /// All entries as this party received them, in roster order.
    List(Vec<Entry>),
    /// This party holds the agreement, and its MPyC process waits for the start.
    Ready(RunId),
    /// The sender asks its peer to dial a stream that the sender's MPyC opens.
    Dial {
        /// The how-manieth connection to this peer it is, from 0.
        cycle: u32,
    },
    /// The program ended with success here.
    Done,
    /// The run has failed.
    Abort(Failure),
    /// Nothing new.
    Beat,
}

/// The first message on a stream, sent by the party that dialled. Which of the two MPyC processes
/// opened the connection needs no telling: it is always the one with the lower index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamOpening {
    /// The run this stream belongs to.
    pub run: RunId,
    /// The how-manieth MPyC connection of this pair it is, from 0.
    pub cycle: u32,
}

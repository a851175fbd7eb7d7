//! What the one who waits is shown.

use std::time::Duration;

use mpyc_party_core::agreement::RunId;
use mpyc_party_core::name::PartyName;
use mpyc_party_core::verdict::Verdict;

use mpyc_party_net::links::report::PathReport;

/// Which of its two outputs the program wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Standard output: the program's result.
    Output,
    /// Standard error: MPyC's log.
    Log,
}

/// One thing worth telling.
#[derive(Debug)]
pub enum Notice<'a> {
    /// What is being done before the parties are looked for.
    Preparing(&'a str),
    /// Something is not as it should be; the run goes on.
    Warning(&'a str),
    /// This party is ready and listens on this port; these peers are not there yet.
    Waiting(u16, &'a [PartyName]),
    /// A party is there; these are not there yet.
    Linked(&'a PartyName, &'a PathReport, &'a [PartyName]),
    /// A party has gone again before all had agreed.
    Unlinked(&'a PartyName),
    /// There is a new link to this party, this long after the beginning.
    Link(&'a PartyName, &'a PathReport, Duration),
    /// All had agreed, and the link to this party is lost or silent: another is looked for.
    Away(&'a PartyName),
    /// There is a good link to this party again after so long.
    Back(&'a PartyName, Duration, Option<&'a PathReport>),
    /// All parties hold the same agreement.
    Agreed(&'a RunId),
    /// The program runs.
    Running(Duration),
    /// All MPyC processes are connected.
    Connected(Duration),
    /// A line of the program, without terminal escapes.
    Line(Channel, &'a str),
    /// The end.
    Ended(&'a Verdict),
}

/// Shows notices.
pub trait View {
    /// Shows one.
    fn show(&mut self, notice: Notice<'_>);
}

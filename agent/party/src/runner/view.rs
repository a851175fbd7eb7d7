//! What the one who waits is shown.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use mpyc_party_core::agreement::RunId;
use mpyc_party_core::name::PartyName;
use mpyc_party_core::verdict::Verdict;
use mpyc_party_core::waits::Waits;

use mpyc_party_net::links::report::PathReport;

/// Which of its two outputs the program wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Standard output: the program's result.
    Output,
    /// Standard error: MPyC's log.
    Log,
}

impl Channel {
    /// The file of a run's record that holds it.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Self::Output => "output.txt",
            Self::Log => "log.txt",
        }
    }
}

/// Lines that the program wrote, where the run's record holds them.
#[derive(Clone, Debug)]
pub struct Excerpt {
    /// Where the program wrote them to.
    pub channel: Channel,
    /// The file of the record, open for reading.
    pub file: Arc<File>,
    /// Which bytes of it: whole lines without terminal escapes.
    pub range: Range<u64>,
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
    /// There is a new link to this party, this long after the beginning; and whether the next notice
    /// tells people the same.
    Link(&'a PartyName, &'a PathReport, Duration, bool),
    /// All had agreed, and the link to this party is lost or silent: another is looked for.
    Away(&'a PartyName),
    /// There is a good link to this party again after so long.
    Back(&'a PartyName, Duration, Option<&'a PathReport>),
    /// This party waited for the first and waits for the second, as it says.
    Waits(&'a PartyName, &'a Waits, &'a Waits),
    /// All parties hold the same agreement.
    Agreed(&'a RunId),
    /// The program runs.
    Running(Duration),
    /// All MPyC processes are connected.
    Connected(Duration),
    /// The end.
    Ended(&'a Verdict),
}

/// Who is waited for before the program starts, and how much longer.
#[derive(Debug)]
pub struct Countdown<'a> {
    /// Time left until all have to be there.
    pub left: Duration,
    /// Those to whom there is no link.
    pub missing: &'a [PartyName],
    /// This party still makes itself ready.
    pub preparing: bool,
    /// What the others wait for.
    pub waits: Vec<(&'a PartyName, Waits)>,
}

/// Shows how a run goes. A run does not wait for whoever looks on: this returns at once.
pub trait View {
    /// Shows a notice.
    fn show(&mut self, notice: Notice<'_>);

    /// Shows who is waited for, as often as that changes and each second; none once nobody is. This
    /// takes the place of what it has shown before.
    fn count_down(&mut self, _countdown: Option<Countdown<'_>>) {}

    /// Shows lines of the program, after all that was shown before. Each excerpt of a channel begins
    /// where the last one ended. Where no program runs there is nothing to show.
    fn wrote(&mut self, _excerpt: Excerpt) {}
}

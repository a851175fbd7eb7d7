//! The other parties and the hubs, as a checking party finds them.

use std::sync::Arc;
use std::time::Duration;

use mpyc_party_core::agreement::Entry;
use mpyc_party_core::component::Components;
use mpyc_party_core::label::{Label, difference};
use mpyc_party_core::roster::{PeerIndex, Roster};
use mpyc_party_net::Stack;
use mpyc_party_net::address_book::AddressBook;
use mpyc_party_net::address_book::PeerAddresses;
use mpyc_party_net::dial::LocalEnd;
use mpyc_party_net::discovery::HubReport;
use mpyc_party_net::peers::SessionPeers;
use mpyc_party_net::probe::{Shown, inquire};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::runner::engine::{self, Profile};
use crate::session::words::{names, visible};
use crate::session::{Copied, Definition};

/// Pause before a party that could not be asked is asked again.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// The longest that is waited.
const MAX_WAIT: Duration = Duration::from_secs(86_400);

/// What a peer answered: none where it was not found.
pub(super) type Answer = Option<Result<Shown, String>>;
/// Each hub, and why it cannot be used.
pub(super) type Heard = Vec<(String, Result<(), String>)>;

/// Asks all peers until each has answered, and each hub is known to answer or not, or the time is
/// over.
pub(super) async fn ask(
    session_peers: &SessionPeers,
    mut book: AddressBook,
    hubs: &[String],
    wait: Duration,
) -> (Vec<Answer>, Heard) {
    let end = Instant::now() + wait.min(MAX_WAIT);
    let mut answers: Vec<Answer> = vec![None; session_peers.roster.len()];
    let mut known = vec![PeerAddresses::default(); session_peers.roster.len()];
    let mut asked = JoinSet::new();
    book.start(LocalEnd::default());
    let stack = book.stack().clone();
    loop {
        let answered = answers.iter().filter(|answer| matches!(answer, Some(Ok(_)))).count();
        if answered + 1 == answers.len() && book.hubs().len() == hubs.len() {
            break;
        }
        tokio::select! {
            () = sleep_until(end) => break,
            (peer, at) = book.next() => {
                known[peer.get()].clone_from(&at);
                if at != PeerAddresses::default() {
                    asked.spawn(inquire_once(stack.clone(), session_peers.clone(), peer, at, Duration::ZERO));
                }
            }
            Some(Ok((peer, at, answer))) = asked.join_next() => {
                if matches!(answers[peer.get()], Some(Ok(_))) {
                    continue;
                }
                // At most one of a peer goes on: the one that asks where it is now.
                if answer.is_err() && known[peer.get()] == at {
                    asked.spawn(inquire_once(stack.clone(), session_peers.clone(), peer, at, RETRY_INTERVAL));
                }
                answers[peer.get()] = Some(answer);
            }
        }
    }
    let silent = || Err("no answer".to_owned());
    let reports = book.hubs();
    let heard = |hub: &String| match reports.iter().find(|report| report.hub == *hub) {
        Some(HubReport { problem: Some(problem), .. }) => Err(problem.clone()),
        Some(_) => Ok(()),
        None => silent(),
    };
    let heard = hubs.iter().map(|hub| (hub.clone(), heard(hub))).collect();
    (answers, heard)
}

async fn inquire_once(
    stack: Arc<Stack>,
    session_peers: SessionPeers,
    peer: PeerIndex,
    at: PeerAddresses,
    pause: Duration,
) -> (PeerIndex, PeerAddresses, Result<Shown, String>) {
    sleep(pause).await;
    let answer =
        inquire(&stack, &session_peers, peer, &at).await.map_err(|error| error.to_string());
    (peer, at, answer)
}

/// This party's own components, as far as they are known.
pub(super) struct Own {
    components: Components,
    /// Whether there are all of them.
    complete: bool,
}

impl Own {
    pub(super) fn new(definition: &Definition, copied: &Copied, profile: Option<&Profile>) -> Self {
        let components = engine::components(definition, copied, profile);
        Self { components, complete: profile.is_some() }
    }

    /// In what the sender of `entry` differs, as far as this party knows its own components.
    fn differences(&self, entry: &Entry) -> Vec<Label> {
        let mut differs = self.components.differences(&entry.nonce, &entry.digests);
        differs.retain(|label| self.complete || self.components.labels().any(|own| own == label));
        differs
    }
}

/// What is to be said of a party: in a word, in words, and in what it differs. Where this party is
/// `hubless`, no hub that it has could be asked where others are.
pub(super) fn judge(
    own: Option<&Own>,
    roster: &Roster,
    answer: &Answer,
    hubless: bool,
) -> (&'static str, Result<String, String>, Vec<Label>) {
    let Shown { roster: theirs, entry } = match answer {
        None if hubless => {
            return ("absent", Err("not found: no hub could be reached".to_owned()), Vec::new());
        }
        None => {
            let text =
                "not waiting in a run of this session, or it does not name this party in its own";
            return ("absent", Err(text.to_owned()), Vec::new());
        }
        Some(Err(why)) => {
            let text = format!("not there, or it cannot be asked: {}", visible(why));
            return ("unreachable", Err(text), Vec::new());
        }
        Some(Ok(shown)) => shown,
    };
    let versions = visible(&entry.versions.to_string());
    let Some(own) = own else {
        return ("there", Ok(format!("there, not compared ({versions})")), Vec::new());
    };
    let differs = own.differences(entry);
    if differs.is_empty() {
        return ("there", Ok(format!("there, and the same ({versions})")), differs);
    }
    let mut what = difference(&differs, engine::words);
    if theirs != roster {
        let (there, here) = (names(theirs.as_slice()), names(roster.as_slice()));
        what = format!("{what} (the roster is {there} there, and {here} here)");
    }
    (
        "differs",
        Err(format!("there, but it would run something else: {what} ({versions})")),
        differs,
    )
}

//! Looks for parties of a session without taking part: they are pinged where they are said to be.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use mpyc_party_core::claims::ClaimsError;
use mpyc_party_core::name::PartyName;
use mpyc_party_core::roster::PeerIndex;
use mpyc_party_net::Stack;
use mpyc_party_net::address_book::AddressBook;
use mpyc_party_net::address_book::PeerAddresses;
use mpyc_party_net::dial::LocalEnd;
use mpyc_party_net::discovery::{HubReport, named};
use mpyc_party_net::peers::SessionPeers;
use mpyc_party_net::ping::Ping;
use mpyc_party_net::probe::{ProbeError, targets};
use mpyc_party_transport::{Identity, now};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::diagnose;
use crate::config::Config;
use crate::identity::{Renewal, Store, check_validity, keep_fresh};

/// Pause before a party that was not reached is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// The longest that is waited.
const MAX_WAIT: Duration = Duration::from_secs(86_400);

/// This party, for as long as it looks for another.
pub(super) struct Present {
    /// Its name.
    pub(super) me: PartyName,
    /// What it shows to others, renewed when that is due.
    pub(super) identity: watch::Receiver<Identity>,
    /// Where it is present.
    pub(super) hubs: Vec<String>,
}

impl Present {
    /// Loads the key, and renews the certificate first where nobody would accept it any more.
    /// What comes along renews it while it is run.
    pub(super) async fn of(config: &Config, store: Store) -> anyhow::Result<(Self, Renewal)> {
        let (mut identity, me, hubs) = store.load_all().await?;
        let hubs = config.hubs(hubs);
        if let Err(ClaimsError::Expired { .. }) = identity.claims().check_validity(now()) {
            let renewed = store.renew_if_due(&hubs, &identity).await;
            let renewed =
                renewed.context("this machine's certificate has expired, and cannot be renewed")?;
            identity = renewed.unwrap_or(identity);
        }
        check_validity(&identity)?;
        let (identity, renewal) = keep_fresh(store, hubs.clone(), identity);
        Ok((Self { me, identity, hubs }, renewal))
    }
}

/// A party that was not found.
#[derive(Clone, Debug)]
pub(super) struct Miss {
    /// Whether somebody says where it is.
    pub(super) known: bool,
    /// Why it was not found, for people.
    pub(super) why: String,
}

/// What was found of one party so far.
#[derive(Default)]
struct Search {
    at: PeerAddresses,
    echo: Option<Ping>,
    last: Option<ProbeError>,
}

/// Looks for `peers`, roster indices of `session_peers`, until all answer or the time is over; the results
/// are in their order.
pub(super) async fn locate(
    session_peers: &SessionPeers,
    mut book: AddressBook,
    peers: &[PeerIndex],
    wait: Duration,
) -> Vec<Result<Ping, Miss>> {
    let end = Instant::now() + wait.min(MAX_WAIT);
    let mut searches: Vec<Search> = peers.iter().map(|_| Search::default()).collect();
    let mut attempts = JoinSet::new();
    book.start(LocalEnd::default());
    let stack = book.stack().clone();
    while searches.iter().any(|search| search.echo.is_none()) {
        tokio::select! {
            () = sleep_until(end) => break,
            (peer, at) = book.next() => {
                let Some(place) = peers.iter().position(|wanted| *wanted == peer) else { continue };
                if at != PeerAddresses::default() {
                    let at = at.clone();
                    attempts.spawn(attempt(&stack, session_peers, (place, peer), at, Duration::ZERO));
                }
                searches[place].at = at;
            }
            Some(Ok((place, tried, outcome))) = attempts.join_next() => {
                let search = &mut searches[place];
                match outcome {
                    Ok(echo) => search.echo = Some(echo),
                    Err(why) => {
                        search.last = Some(why);
                        // At most one goes on: the one that looks where it is now.
                        if search.echo.is_none() && tried == search.at {
                            let party = (place, peers[place]);
                            attempts.spawn(attempt(&stack, session_peers, party, tried, RETRY_INTERVAL));
                        }
                    }
                }
            }
        }
    }
    let hubs = book.hubs();
    searches.into_iter().map(|search| search.result(&stack, &hubs)).collect()
}

fn attempt(
    stack: &Arc<Stack>,
    peers: &SessionPeers,
    (place, peer): (usize, PeerIndex),
    at: PeerAddresses,
    pause: Duration,
) -> impl Future<Output = (usize, PeerAddresses, Result<Ping, ProbeError>)> + use<> {
    let (stack, peers) = (Arc::clone(stack), peers.clone());
    async move {
        sleep(pause).await;
        let ping = Ping::open(&stack, &peers, peer, &at).await;
        (place, at, ping)
    }
}

impl Search {
    fn result(self, stack: &Stack, hubs: &[HubReport]) -> Result<Ping, Miss> {
        if let Some(echo) = self.echo {
            return Ok(echo);
        }
        let tried: Vec<String> = targets(&self.at).map(ToString::to_string).collect();
        let (known, told) = (!tried.is_empty(), tried.join(", "));
        let why = match self.last {
            _ if !known => nowhere(stack, hubs),
            Some(last) => format!("it should be at {told}, but: {last}"),
            None => format!("it should be at {told}, but does not answer"),
        };
        Err(Miss { known, why })
    }
}

/// Why nothing is known of a party, and which hubs could not be asked.
fn nowhere(stack: &Stack, hubs: &[HubReport]) -> String {
    format!("{}{}", diagnose::unknown(stack, hubs), problems(hubs))
}

/// The hubs that could not be asked, in brackets; nothing where there is none.
pub(super) fn problems(hubs: &[HubReport]) -> String {
    let problem = |hub: &HubReport| Some(named(&hub.hub, hub.problem.as_ref()?));
    let problems: Vec<String> = hubs.iter().filter_map(problem).collect();
    match problems.as_slice() {
        [] => String::new(),
        problems => format!(" ({})", problems.join("; ")),
    }
}

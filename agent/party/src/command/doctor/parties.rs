//! The other parties of each session.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mpyc_party_core::name::PartyName;
use mpyc_party_core::roster::PeerIndex;
use mpyc_party_net::Stack;
use mpyc_party_net::address_book::AddressBook;
use mpyc_party_net::packets::Packets;
use mpyc_party_net::peers::SessionPeers;
use mpyc_party_net::ping::{Ping, PingError};
use mpyc_party_transport::Identity;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::super::locate::{Miss, locate};
use super::super::peers::milliseconds;
use super::super::ping::path;
use super::findings::{Findings, PathMtu};
use crate::config::Config;
use crate::session::Definition;
use crate::session::words::{names, visible};

/// Sessions that are looked at side by side: a hub allows a party only so many connections.
const SIDE_BY_SIDE: usize = 8;
const CHECK: &str = "party";

/// Which packets of TCP get through, and the size of smaller ones that do where those do not.
type Sizes = Option<(Packets, Option<u32>)>;
/// What was found of one party: the session, its name, how long its answer takes, and which packets get
/// through to it.
type Looked = (String, PartyName, Result<(String, Sizes), Miss>);

/// Looks for the other parties of all `sessions`.
pub(super) async fn look(
    sessions: Vec<Definition>,
    me: &PartyName,
    (stack, config, hubs): (&Arc<Stack>, &Config, &[String]),
    identity: &watch::Receiver<Identity>,
    wait: Duration,
    findings: &mut Findings,
) {
    for group in sessions.chunks(SIDE_BY_SIDE) {
        let mut looking = JoinSet::new();
        for definition in group {
            let at = match definition.index_of(me) {
                Ok(at) => at,
                Err(error) => {
                    findings.broken(CHECK, error);
                    continue;
                }
            };
            let (roster, pins) = (definition.settings.parties.clone(), definition.pins(config));
            let peers = SessionPeers::new(identity.clone(), &definition.name, roster, at, pins);
            let sources = config.sources(hubs.to_vec());
            let book = AddressBook::new(Arc::clone(stack), sources, peers.clone());
            looking.spawn(ask(definition.name.to_string(), peers, book, wait));
        }
        let mut looked: Vec<Looked> = looking.join_all().await.into_iter().flatten().collect();
        looked.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        tell(looked, findings);
    }
}

async fn ask(
    session: String,
    peers: SessionPeers,
    book: AddressBook,
    wait: Duration,
) -> Vec<Looked> {
    let stack = Arc::clone(book.stack());
    let others: Vec<PeerIndex> = peers.peers().collect();
    let mut looked = Vec::new();
    for (at, found) in others.iter().zip(locate(&peers, book, &others, wait).await) {
        let answer = match found {
            Ok(mut echo) => measure(&stack, &mut echo).await,
            Err(miss) => Err(miss),
        };
        let name = peers.name(*at).clone();
        looked.push((session.clone(), name, answer));
    }
    looked
}

async fn measure(stack: &Stack, echo: &mut Ping) -> Result<(String, Sizes), Miss> {
    let measured = async { Ok::<_, PingError>((echo.round_trip().await?, sizes(echo).await?)) };
    match measured.await {
        Ok((time, packets)) => {
            let time = milliseconds(time.as_secs_f64());
            let address = visible(echo.probe().address());
            Ok((format!("answers at {address} in {time}, {}", path(stack, echo)), packets))
        }
        Err(error) => Err(Miss { known: true, why: error.to_string() }),
    }
}

/// Where packets of full size do not get through, the next connection sends smaller ones.
async fn sizes(echo: &mut Ping) -> Result<Sizes, PingError> {
    let Some(packets) = echo.packets().await? else { return Ok(None) };
    if packets.through {
        return Ok(Some((packets, None)));
    }
    let smaller = match echo.again().await {
        Ok(mut again) => again.packets().await.ok().flatten(),
        Err(_) => None,
    };
    Ok(Some((packets, smaller.filter(|smaller| smaller.through).map(|smaller| smaller.full))))
}

/// Tells of all parties of a group of sessions; of those that nobody knows of, in one go.
fn tell(looked: Vec<Looked>, findings: &mut Findings) {
    let mut nowhere: BTreeMap<(String, String), Vec<PartyName>> = BTreeMap::new();
    for (session, party, found) in looked {
        match found {
            Ok((text, packets)) => {
                findings.good(CHECK, format!("{party} ({session}) {text}"));
                let to = format!("{party} ({session})");
                if let Some((packets, smaller)) = packets {
                    findings.path_mtu(PathMtu::of(to, packets, smaller));
                }
            }
            Err(Miss { known: true, why }) => findings.doubtful(
                CHECK,
                format!("{party} ({session}): {why}"),
                "look at the firewall on its side; mpyc-party doctor there tells more",
            ),
            Err(Miss { why, .. }) => nowhere.entry((session, why)).or_default().push(party),
        }
    }
    for ((session, why), parties) in nowhere {
        findings.doubtful(
            CHECK,
            format!("not there ({session}): {}: {why}", names(&parties)),
            "only a party that runs the session can be seen; start it at both, and look again",
        );
    }
}

//! Why a peer is not reached as well as it might be, in words for people.

use mpyc_party_net::Stack;
use mpyc_party_net::discovery::HubReport;
use mpyc_party_net::discovery::nat::Nat;
use mpyc_party_net::links::report::{Attempt, PeerReport};

use crate::runner::inspect::Snapshot;

/// Failed attempts that are told of one peer.
const MAX_ATTEMPTS_SHOWN: usize = 4;

/// Why the peer of `report` is away or not on the best kind of path; none where it is on that.
pub(super) fn not_direct(stack: &Stack, report: &PeerReport, run: &Snapshot) -> Option<String> {
    let kind = |name: &str| stack.kind(name).map(|kind| kind.kind());
    match report.working_path().map(|path| kind(&path.kind)) {
        Some(None) => None,
        Some(Some(used)) if used.relayed => Some(format!(
            "{}{}",
            udp(run),
            tried(report, |name| kind(name).is_some_and(|k| k.opens_nats))
        )),
        Some(Some(used)) => {
            let better = stack.best().filter(|best| *best < used)?;
            let tried = tried(report, |name| kind(name).is_some_and(|kind| kind < used));
            Some(format!("no {} connection gets through{tried}", better.name.to_uppercase()))
        }
        None if report.attempts.is_empty() && report.away_s.is_some() => None,
        None if report.attempts.is_empty() => Some(unknown(stack, &run.hubs)),
        None => Some(format!(
            "it is known where it was, but not reached there{}",
            tried(report, |_| true)
        )),
    }
}

/// Why nothing is known of a peer.
pub(super) fn unknown(stack: &Stack, hubs: &[HubReport]) -> String {
    let asked: Vec<_> = stack.discoveries().map(|discovery| discovery.name()).collect();
    let why = if hubs.iter().any(|hub| hub.seen.is_some()) {
        ": it has not started the session, does not name this party in its own, or reaches none of these hubs"
    } else {
        ", and no hub can be asked"
    };
    format!("nothing says where it is ({}){why}", asked.join(", "))
}

/// What keeps QUIC from getting through, as far as this side of it is known.
fn udp(run: &Snapshot) -> &'static str {
    match run.nat {
        Nat::NoUdp => "UDP does not get out of this network, so there is no way through a NAT",
        Nat::Symmetric => {
            "UDP answers come from another port: symmetric NAT here, so nobody outside can be told where to knock"
        }
        Nat::None | Nat::Easy => {
            "nothing gets through from the other side: a firewall there, or a symmetric NAT"
        }
        Nat::Unclear => {
            "neither end gets through to the other: a symmetric NAT on one side, or a firewall"
        }
    }
}

/// The newest failures among the attempts of the kinds that are `wanted`.
fn tried(report: &PeerReport, wanted: impl Fn(&str) -> bool) -> String {
    let mut failed: Vec<&Attempt> =
        report.attempts.iter().filter(|attempt| wanted(&attempt.kind)).collect();
    let more = failed.len().saturating_sub(MAX_ATTEMPTS_SHOWN);
    failed.truncate(MAX_ATTEMPTS_SHOWN);
    if failed.is_empty() {
        return String::new();
    }
    let told = failed.iter().map(|a| format!("{}: {}", a.candidate, a.outcome));
    let told = told.collect::<Vec<_>>().join("; ");
    let more = if more == 0 { String::new() } else { format!("; and {more} more") };
    format!(" ({told}{more})")
}

//! The hubs, over TCP and over UDP, and what they tell about the network before this party.

use std::net::{IpAddr, SocketAddr};

use mpyc_party_core::claims::Claims;
use mpyc_party_core::lighthouse::Reason;
use mpyc_party_net::client::probe::{self, Found, Miss};
use mpyc_party_net::discovery::named;
use mpyc_party_net::discovery::nat::Nat;
use mpyc_party_transport::{Identity, quic};
use tokio::task::JoinSet;

use super::findings::{Findings, PathMtu};

/// What looking at the hubs has shown.
#[derive(Default)]
pub(super) struct Hubs {
    /// The certificates of those that answer.
    pub(super) certificates: Vec<Claims>,
    /// What the clocks of those that answer over TCP show beyond this machine's, in seconds.
    pub(super) clocks: Vec<(String, i64)>,
    /// How they see the UDP of this party.
    observed: Vec<SocketAddr>,
    /// The port that it sends UDP from.
    port: u16,
}

/// What looking at one hub has shown.
type Looked = (String, Result<Found, Miss>, Option<Result<Vec<Found>, Miss>>);

/// Looks at all `hubs` at once, over both; UDP from the configured `port`, like a run.
pub(super) async fn look(
    hubs: &[String],
    identity: &Identity,
    port: u16,
    findings: &mut Findings,
) -> Hubs {
    const CHECK: &str = "hub";
    let endpoint = quic::Endpoint::bind(port);
    if let Err(error) = &endpoint {
        let text = format!("this machine gives no UDP socket: {error}");
        findings.bad("UDP", text, "allow this user to open UDP sockets");
    }
    if hubs.is_empty() {
        findings.doubtful(
            CHECK,
            "none is configured: other parties are found in the local network, or at addresses of the configuration",
            "set network.hubs, or enrol with a token that names the hub",
        );
    }
    let endpoint = endpoint.ok();
    let mut looking = JoinSet::new();
    for hub in hubs {
        let (hub, identity, endpoint) = (hub.clone(), identity.clone(), endpoint.clone());
        looking.spawn(async move {
            let udp = async {
                match &endpoint {
                    Some(endpoint) => Some(probe::udp(&hub, &identity, endpoint).await),
                    None => None,
                }
            };
            let (tcp, udp) = tokio::join!(probe::tcp(&hub, &identity), udp);
            (hub, tcp, udp)
        });
    }
    let mut looked: Vec<Looked> = looking.join_all().await;
    looked.sort_by(|a, b| a.0.cmp(&b.0));
    let port = endpoint.as_ref().map(quic::Endpoint::port).unwrap_or_default();
    let mut seen = Hubs { port, ..Hubs::default() };
    let usable = |(_, tcp, udp): &Looked| tcp.is_ok() || matches!(udp, Some(Ok(_)));
    let any = looked.iter().any(usable);
    for one in looked {
        tell(&mut seen, one, any, findings);
    }
    if !hubs.is_empty() && endpoint.is_some() {
        nat(&seen, findings);
    }
    seen
}

/// Tells of one hub. Without `any` that can be used, one that cannot is what keeps sessions from
/// running.
fn tell(seen: &mut Hubs, (hub, tcp, udp): Looked, any: bool, findings: &mut Findings) {
    let (over_tcp, over_udp) = ("hub over TCP", "hub over UDP");
    let up = tcp.is_ok() || matches!(udp, Some(Ok(_)));
    match &tcp {
        Ok(found) => findings.good(over_tcp, format!("{hub} {}", answered(found))),
        Err(why) if up => findings.doubtful(
            over_tcp,
            miss(&hub, why),
            "it is used over UDP; enrolment, renewal and the relay need TCP: let it out",
        ),
        Err(why @ Miss::Refused(Reason::NotMember)) => findings.bad(
            over_tcp,
            miss(&hub, why),
            "ask the holder of the network for a new token. Then move the identity in the state directory away, and enrol anew",
        ),
        Err(why) if any => findings.doubtful(over_tcp, miss(&hub, why), "another hub answers; ask the holder of this one"),
        Err(why) => findings.bad(
            over_tcp,
            miss(&hub, why),
            "check the address (network.hubs) and this network. Ask the holder whether mpyc-party hub runs there",
        ),
    }
    match &udp {
        Some(Ok(found)) => {
            for one in found {
                findings.good(over_udp, format!("{hub} {}", answered(one)));
            }
        }
        // One that is down is told of once.
        Some(Err(why)) if up => findings.doubtful(
            over_udp,
            miss(&hub, why),
            "UDP seems to be blocked: parties behind a NAT are reached through the relay only, which is slower. Let UDP out to that port",
        ),
        Some(Err(_)) | None => {}
    }
    path_mtu(&hub, tcp.as_ref().ok(), udp.as_ref().and_then(|udp| udp.as_ref().ok()), findings);
    if let Ok(found) = tcp {
        seen.clocks.push((hub.clone(), found.ahead));
        seen.certificates.push(found.claims);
    }
    for found in udp.and_then(Result::ok).into_iter().flatten() {
        seen.observed.push(found.observed);
        seen.certificates.push(found.claims);
    }
}

/// Tells which packets get through to `hub`: over UDP that is measured, over TCP it is tried whether
/// those do that this machine sends.
fn path_mtu(hub: &str, tcp: Option<&Found>, udp: Option<&Vec<Found>>, findings: &mut Findings) {
    let at = |at: IpAddr| udp.into_iter().flatten().find(move |found| found.address.ip() == at);
    let found = match tcp.and_then(|tcp| Some((tcp.address.ip(), tcp.packets?))) {
        Some((ip, packets)) => {
            let measured = at(ip).and_then(|found| found.path_mtu).map(u32::from);
            PathMtu::of(hub.to_owned(), packets, measured)
        }
        None => {
            let measured = udp.into_iter().flatten().filter_map(|found| found.path_mtu).max();
            let Some(bytes) = measured else { return };
            PathMtu { to: hub.to_owned(), bytes: Some(bytes.into()), lost: None }
        }
    };
    findings.path_mtu(found);
}

fn miss(hub: &str, why: &Miss) -> String {
    named(hub, &why.to_string())
}

fn answered(found: &Found) -> String {
    let (took, observed) = (found.took.as_secs_f64() * 1000.0, found.observed);
    format!("answers at {} in {took:.0} ms, and sees this party at {observed}", found.address)
}

/// Tells which kind of NAT is before this party.
fn nat(seen: &Hubs, findings: &mut Findings) {
    const CHECK: &str = "NAT";
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let own: Vec<_> = interfaces.iter().map(if_addrs::Interface::ip).collect();
    let port = match seen.observed.iter().all(|address| address.port() == seen.port) {
        true => format!("it keeps this machine's port, {}", seen.port),
        false => format!("it changes this machine's port, {}", seen.port),
    };
    match Nat::judge(&seen.observed, &own) {
        Nat::None => findings.good(CHECK, "none: this machine is seen under its own address"),
        Nat::Easy => findings.good(
            CHECK,
            format!("all hubs see the same address: other parties get in; {port}"),
        ),
        Nat::Symmetric => findings.doubtful(
            CHECK,
            "every hub sees another address (symmetric NAT): parties that are not public are reached through the relay",
            "a forwarded port, or IPv6, makes direct ways possible",
        ),
        Nat::Unclear => findings.good(
            CHECK,
            format!("there is one, and {port}; whether each destination sees another address cannot be told with one hub"),
        ),
        // That has been told where the hub was.
        Nat::NoUdp => {}
    }
}

//! Whereto a host sends: its packet filter remembers each address and port.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use crate::LabError;
use crate::namespace::Namespace;
use crate::tool::NFT;

/// Only what the host itself begins counts, not what it answers.
pub(crate) const WATCH: &str = "
table inet watch {
  set v4 { type ipv4_addr . inet_service; flags dynamic; size 65535; }
  set v6 { type ipv6_addr . inet_service; flags dynamic; size 65535; }
  chain leaving {
    type filter hook output priority 0;
    meta l4proto { tcp, udp } ct state new add @v4 { ip daddr . th dport }
    meta l4proto { tcp, udp } ct state new add @v6 { ip6 daddr . th dport }
  }
}
";

/// What was remembered so far.
pub(crate) fn read(namespace: &Namespace) -> Result<BTreeSet<SocketAddr>, LabError> {
    let listed = NFT.answer(namespace, &["-j", "list", "table", "inet", "watch"])?;
    let listed: Value = serde_json::from_slice(&listed)
        .map_err(|error| LabError::io("cannot read nft's answer")(error.into()))?;
    let sets = listed["nftables"].as_array().into_iter().flatten();
    let elements = sets.filter_map(|object| object["set"]["elem"].as_array()).flatten();
    Ok(elements.filter_map(destination).collect())
}

/// An element: an address and a port.
fn destination(element: &Value) -> Option<SocketAddr> {
    let element = element.get("elem").map_or(element, |elem| &elem["val"]);
    let address: IpAddr = element["concat"][0].as_str()?.parse().ok()?;
    Some((address, u16::try_from(element["concat"][1].as_u64()?).ok()?).into())
}

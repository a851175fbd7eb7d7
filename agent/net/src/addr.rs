//! This process's and this machine's own addresses.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use mpyc_party_core::addr::{Address, Reflexive};

/// Where a process says that it can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnAddresses {
    /// What it knows itself.
    pub addresses: Vec<Address>,
    /// What hubs complete.
    pub reflexive: Vec<Reflexive>,
}

/// The addresses of this machine with `port`, as addresses of the kind `kind`. Loopback is among
/// them: hubs pass it on only where both parties are on the hub's own machine.
#[must_use]
pub fn own_sockets(kind: &str, port: u16) -> Vec<Address> {
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let all = own_ips().into_iter().chain(loopback);
    all.map(|ip| Address::new(kind, SocketAddr::new(ip, port))).collect()
}

/// The addresses of this machine, without loopback.
#[must_use]
pub fn own_ips() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        log::warn!("the addresses of this machine cannot be listed: {error}");
        Vec::new()
    });
    interfaces.iter().map(if_addrs::Interface::ip).filter(|ip| !ip.is_loopback()).collect()
}

/// The networks this machine is in, without loopback; none where the system does not tell.
pub(crate) fn own_networks() -> Vec<IpNet> {
    let network = |interface: if_addrs::Interface| {
        let length = match &interface.addr {
            if_addrs::IfAddr::V4(v4) => v4.prefixlen,
            if_addrs::IfAddr::V6(v6) => v6.prefixlen,
        };
        let ip: IpAddr = interface.ip();
        IpNet::new(ip, length).ok().filter(|_| !ip.is_loopback())
    };
    if_addrs::get_if_addrs().unwrap_or_default().into_iter().filter_map(network).collect()
}

/// All addresses of this machine; none where the system does not tell.
pub(crate) fn all_ips() -> Option<BTreeSet<IpAddr>> {
    let interfaces = if_addrs::get_if_addrs().ok()?;
    Some(interfaces.iter().map(|interface| interface.ip().to_canonical()).collect())
}

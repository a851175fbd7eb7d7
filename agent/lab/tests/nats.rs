//! Each kind of NAT and firewall does what it claims, seen with real sockets.

#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not their helpers")]

mod scene;

use std::net::{IpAddr, SocketAddr};

use mpyc_party_lab::topology::Kind;
use mpyc_party_lab::{LabError, Router, Topology};
use scene::{
    INSIDE, LIMIT, Listeners, SILENCE_TIME, Scene, connects, hears_nothing, receive,
    receive_within, send,
};

#[test]
fn an_easy_nat_maps_by_endpoint_and_filters_by_address_and_port() {
    for kind in [Kind::Easy, Kind::Carrier] {
        let scene = Scene::new(kind);
        let [mapped, again, far] = scene.mapped();
        assert_eq!((mapped, mapped), (again, far), "{kind}: another mapping for each destination");
        assert_eq!(mapped.port(), INSIDE, "{kind}: the port is not kept");
        send(&scene.far, mapped);
        assert_eq!(receive(&scene.inside), Some(scene.address("far", 7000)), "{kind}");
        let stranger = scene.built.hosts["far"].udp_socket(7002).unwrap();
        send(&stranger, mapped);
        hears_nothing(&scene.inside);
    }
}

#[test]
fn an_early_packet_does_not_change_the_mapping() {
    let scene = Scene::new(Kind::Easy);
    let outside = scene.built.routers["alice-router"].ip().unwrap();
    send(&scene.near, (outside, INSIDE).into());
    hears_nothing(&scene.inside);
    let [mapped, ..] = scene.mapped();
    assert_eq!(mapped, (outside, INSIDE).into(), "the early packet has taken the port");
    send(&scene.near, mapped);
    assert!(receive(&scene.inside).is_some());
}

#[test]
fn a_symmetric_nat_maps_each_destination_to_another_port() {
    let scene = Scene::new(Kind::Symmetric);
    let mapped = scene.mapped();
    let [near, again, far] = mapped.map(|address| address.port());
    assert!(near != again && again != far && near != far, "{mapped:?}");
    send(&scene.near, mapped[0]);
    assert_eq!(receive(&scene.inside), Some(scene.address("near", 7000)));
    send(&scene.far, mapped[0]);
    hears_nothing(&scene.inside);
}

#[test]
fn a_full_cone_lets_strangers_in() {
    let scene = Scene::new(Kind::FullCone);
    let [mapped, again, far] = scene.mapped();
    assert_eq!((mapped, mapped), (again, far));
    let stranger = scene.built.hosts["far"].udp_socket(7002).unwrap();
    send(&stranger, mapped);
    assert_eq!(receive(&scene.inside), Some(scene.address("far", 7002)));
    // On low ports, which parties here serve on, as well.
    let low = scene.built.hosts["alice"].udp_socket(443).unwrap();
    send(&low, scene.address("near", 7000));
    let mapped = receive(&scene.near).unwrap();
    send(&stranger, mapped);
    assert_eq!(receive(&low), Some(scene.address("far", 7002)));
}

/// Does something to the router of a host behind a NAT of this kind, and returns its mapping before
/// and after. The old one is dead, the new one works.
fn rebound(kind: Kind, by: fn(&Router) -> Result<(), LabError>) -> [SocketAddr; 2] {
    let scene = Scene::new(kind);
    let [before, ..] = scene.mapped();
    by(&scene.built.routers["alice-router"]).unwrap();
    let [after, ..] = scene.mapped();
    assert_ne!(after, before, "{kind}");
    send(&scene.near, before);
    hears_nothing(&scene.inside);
    send(&scene.near, after);
    assert!(receive(&scene.inside).is_some(), "{kind}: {after} is not open");
    [before, after]
}

#[test]
fn rebinding_changes_the_port() {
    for kind in [Kind::Easy, Kind::Symmetric] {
        let [before, after] = rebound(kind, Router::rebind);
        assert_eq!(before.ip(), after.ip(), "{kind}");
    }
}

#[test]
fn another_provider_changes_the_address() {
    for kind in [Kind::Easy, Kind::FullCone] {
        let [before, after] = rebound(kind, Router::renumber);
        assert_ne!(before.ip(), after.ip(), "{kind}");
    }
}

#[test]
fn firewalls_let_out_what_they_say() {
    for (kind, other_port, udp) in
        [(Kind::Easy, true, true), (Kind::UdpBlocked, true, false), (Kind::Tcp443, false, false)]
    {
        let scene = Scene::new(kind);
        let (alice, near) = (&scene.built.hosts["alice"], &scene.built.hosts["near"]);
        let _listeners = Listeners::new(near, &[443, 8443]);
        assert!(connects(alice, near.socket(443), true), "{kind}");
        assert!(connects(alice, near.socket(8443), other_port), "{kind}");
        send(&scene.inside, near.socket(7000));
        let limit = if udp { LIMIT } else { SILENCE_TIME };
        assert_eq!(receive_within(&scene.near, limit).is_some(), udp, "{kind}");
    }
}

#[test]
fn nobody_outside_gets_in_unasked() {
    for kind in [Kind::Easy, Kind::Symmetric, Kind::FullCone, Kind::UdpBlocked, Kind::Tcp443] {
        let scene = Scene::new(kind);
        let (alice, near) = (&scene.built.hosts["alice"], &scene.built.hosts["near"]);
        let _listener = Listeners::new(alice, &[4747]);
        let outside = scene.built.routers["alice-router"].ip().unwrap();
        assert!(connects(near, (outside, 4747).into(), false), "{kind}");
        assert!(
            connects(near, alice.socket(4747), false),
            "{kind}: its private address is reachable"
        );
        assert!(connects(alice, alice.socket(4747), true), "{kind}: the listener is gone");
        if kind != Kind::FullCone {
            send(&scene.near, (outside, INSIDE).into());
            hears_nothing(&scene.inside);
        }
    }
}

#[test]
fn ipv6_alone_is_without_ipv4() {
    let topology = Kind::Ipv6Only.place(Topology::default(), "alice").public("near");
    let built = topology.build().unwrap();
    let (alice, near) = (&built.hosts["alice"], &built.hosts["near"]);
    let _listener = Listeners::new(near, &[443]);
    assert!(connects(alice, (near.ipv6(), 443).into(), true));
    assert!(connects(alice, near.socket(443), false));
    assert_eq!(alice.addresses(), [IpAddr::from(alice.ipv6())]);
    let addresses = alice.command("ip").args(["-4", "addr", "show", "dev", "eth0"]).output();
    assert_eq!(String::from_utf8(addresses.unwrap().stdout).unwrap(), "");
}

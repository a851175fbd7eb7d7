//! Any two parties connect, whatever their networks: a part of the matrix that
//! `mpyc-party-lab matrix` goes through as a whole.

use anyhow::{Result, ensure};
use mpyc_party_lab::hosts_for_tests;
use mpyc_party_lab::reach::{Expected, Path, meet};
use mpyc_party_lab::topology::Kind;

/// Meets over a path that is as it has to be there; none where there can be no hosts.
fn over(a: Kind, b: Kind) -> Result<Option<Path>> {
    if !hosts_for_tests()? {
        return Ok(None);
    }
    let [meeting, ..] = meet(a, b)?.meetings;
    let expected = Expected::between(a, b);
    ensure!(expected.allows(meeting.path), "{a} and {b}: {expected:?}, and it is {meeting:?}");
    Ok(Some(meeting.path))
}

#[test]
fn who_is_public_is_reached_over_tcp() -> Result<()> {
    for other in [Kind::Symmetric, Kind::Tcp443] {
        ensure!(over(other, Kind::Public)?.is_none_or(|path| path == Path::Tcp), "{other}");
    }
    Ok(())
}

#[test]
fn two_behind_nats_punch_through() -> Result<()> {
    ensure!(over(Kind::Easy, Kind::Carrier)?.is_none_or(|path| path == Path::Quic));
    ensure!(over(Kind::Symmetric, Kind::FullCone)?.is_none_or(|path| path == Path::Quic));
    Ok(())
}

#[test]
fn ipv6_alone_does() -> Result<()> {
    over(Kind::Ipv6Only, Kind::Ipv6Only)?;
    over(Kind::Ipv6Only, Kind::Easy)?;
    Ok(())
}

#[test]
fn who_cannot_be_reached_goes_through_the_hub() -> Result<()> {
    over(Kind::UdpBlocked, Kind::Easy)?;
    over(Kind::Symmetric, Kind::Symmetric)?;
    over(Kind::Tcp443, Kind::UdpBlocked)?;
    Ok(())
}

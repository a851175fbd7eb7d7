//! Where hubs and peers are said to be: whether each place has the form that it needs.

use mpyc_party_core::addr::{Refusal, Vantage, is_host_port};
use mpyc_party_net::Stack;
use mpyc_party_net::discovery::parse_address;

use super::Config;

/// Why a place cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// No hub can be there.
    #[error(
        "«{0}» is no address of a hub: write a host and a port, as in \"hub.example.org:4747\" or \"[2001:db8::1]:4747\""
    )]
    Hub(String),
    /// No party can be there.
    #[error(
        "«{place}» cannot be dialled: {why}. Write a host and a port, as in \"bob.example.org:4747\"; or, for another kind of path than TCP, its name, an IP address and a port, as in \"quic 203.0.113.7:4747\""
    )]
    Peer {
        /// What is written.
        place: String,
        /// Why it is of no use.
        why: Refusal,
    },
    /// A kind that is not there.
    #[error(
        "«{place}» names the kind of path «{kind}», which is not known here: there are {known}"
    )]
    UnknownKind {
        /// What is written.
        place: String,
        /// What it names.
        kind: String,
        /// What there is.
        known: String,
    },
}

/// Checks every place in `config`. One whose kind `stack` does not have is no error: only what has the
/// kind can check it.
///
/// # Errors
/// The first that cannot be used, with its key.
pub(super) fn check(config: &Config, stack: &Stack) -> Result<(), (String, PlaceError)> {
    if let Some(hub) = config.network.hubs.iter().find(|hub| !is_host_port(hub)) {
        return Err(("network.hubs".to_owned(), PlaceError::Hub(hub.clone())));
    }
    for (key, place) in peers(config) {
        let address = parse_address(place);
        let Some(kind) = stack.kind(&address.kind) else { continue };
        if let Err(why) = kind.check(&address, Vantage::Configured) {
            return Err((key, PlaceError::Peer { place: place.to_owned(), why }));
        }
    }
    Ok(())
}

/// Checks that `stack` has the kind of every address in `config`.
///
/// # Errors
/// The first that it has not, with its key.
pub(super) fn check_kinds(config: &Config, stack: &Stack) -> Result<(), (String, PlaceError)> {
    for (key, place) in peers(config) {
        let kind = parse_address(place).kind;
        if stack.kind(&kind).is_none() {
            let known: Vec<_> = stack.kinds().map(|kind| kind.kind().name).collect();
            let (place, known) = (place.to_owned(), known.join(", "));
            return Err((key, PlaceError::UnknownKind { place, kind, known }));
        }
    }
    Ok(())
}

/// The addresses of peers, each with its key.
fn peers(config: &Config) -> impl Iterator<Item = (String, &str)> {
    config.peers.iter().filter_map(|(name, peer)| {
        peer.address.as_deref().map(|place| (format!("peers.{name}.address"), place))
    })
}

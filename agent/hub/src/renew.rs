//! Renewal: a member gets a fresh certificate for the key it has, and certificates of parties it
//! asks about.
//!
//! The directory answers any member about any party by name: a certificate holds nothing that its
//! holder does not show to every peer. With it a session bundle can pin its roster's keys.

use std::sync::Arc;

use mpyc_party_core::claims::Claims;
use mpyc_party_core::name::PartyName;
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::{Expect, Identity, Protocol, Secure, connect, verify_issued};
use serde::{Deserialize, Serialize};

use crate::authority::Authority;
use crate::clock::now;
use crate::refusal::AuthorityError;
use crate::wire::{self, RequestError};

/// The most parties that one request may ask about.
pub const MOST_NAMES: usize = 64;

/// What a member asks for.
#[derive(Serialize, Deserialize)]
pub(crate) struct Request {
    renew: bool,
    directory: Vec<PartyName>,
}

#[derive(Serialize, Deserialize)]
struct Granted {
    certificate: Option<Vec<u8>>,
    directory: Vec<Vec<u8>>,
}

/// Asks one of `hubs` for a fresh certificate; it works up to thirty days after expiry. What comes may
/// take the place of the old one: it is for the same member and key.
///
/// # Errors
/// Says why the authority refuses or cannot be reached.
pub async fn renew(hubs: &[String], identity: &Identity) -> Result<Vec<u8>, RequestError> {
    let request = Request { renew: true, directory: Vec::new() };
    let granted = at_first(hubs, identity, &request).await?;
    let certificate =
        granted.certificate.ok_or_else(|| RequestError::NotRenewed("there is none".to_owned()))?;
    let fresh = verify_issued(identity.root(), &certificate);
    let fresh = fresh.map_err(|error| RequestError::NotRenewed(error.to_string()))?;
    let own = identity.claims();
    if (&fresh.role, fresh.key) != (&own.role, own.key) {
        let text = format!("it is for {} with the key {}", fresh.role, fresh.key);
        return Err(RequestError::NotRenewed(text));
    }
    Ok(certificate)
}

/// Asks one of `hubs` for the certificates of `names`, at most [`MOST_NAMES`]. Each is returned
/// with its claims and belongs to this network; names that are not enrolled are left out.
///
/// # Errors
/// Says why the authority refuses or cannot be reached.
pub async fn directory(
    hubs: &[String],
    identity: &Identity,
    names: &[PartyName],
) -> Result<Vec<(Claims, Vec<u8>)>, RequestError> {
    let request = Request { renew: false, directory: names.to_vec() };
    let granted = at_first(hubs, identity, &request).await?;
    let asked = |der: Vec<u8>| {
        let claims = verify_issued(identity.root(), &der).ok()?;
        claims.party().is_some_and(|name| names.contains(name)).then_some((claims, der))
    };
    Ok(granted.directory.into_iter().filter_map(asked).collect())
}

async fn at_first(
    hubs: &[String],
    identity: &Identity,
    request: &Request,
) -> Result<Granted, RequestError> {
    let mut last = RequestError::NoHub;
    for hub in hubs {
        match request_at(hub, identity, request).await {
            Err(refused @ RequestError::Refused(_)) => return Err(refused),
            Err(error) => last = error,
            Ok(granted) => return Ok(granted),
        }
    }
    Err(last)
}

async fn request_at(
    hub: &str,
    identity: &Identity,
    request: &Request,
) -> Result<Granted, RequestError> {
    let tcp = wire::dial(hub).await?;
    let name = Tag::hub(&identity.root().fingerprint).server_name();
    let mut secure = connect(tcp, identity, Protocol::Renew, &Expect::Authority, &name).await?;
    wire::ask(hub, &mut secure.stream, request).await
}

fn grant(
    authority: &Authority,
    claims: &Claims,
    request: &Request,
) -> Result<Granted, AuthorityError> {
    authority.check(claims)?;
    let names = &request.directory[..request.directory.len().min(MOST_NAMES)];
    let directory = authority.directory(names)?;
    let certificate = request.renew.then(|| authority.renew(claims, now())).transpose()?;
    Ok(Granted { certificate, directory })
}

/// What a member asks for, if it asks in time.
pub(crate) async fn hear(secure: &mut Secure) -> Option<Request> {
    wire::hear(secure.address, &mut secure.stream).await
}

/// Serves one member what it asked for.
pub(crate) async fn serve(mut secure: Secure, request: Request, authority: Arc<Authority>) {
    let (address, claims) = (secure.address, secure.peer.clone());
    let work = move || grant(&authority, &claims, &request).map_err(|error| error.to_string());
    let outcome = tokio::task::spawn_blocking(work).await;
    let outcome =
        outcome.unwrap_or_else(|_| Err("an internal error; see the authority's log".to_owned()));
    if let Err(why) = &outcome {
        log::warn!("{} at {address} was not renewed: {why}", secure.peer.role);
    }
    wire::answer(address, &mut secure.stream, outcome).await;
}

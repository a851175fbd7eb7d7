//! Renewal: a member gets a fresh certificate for the key it has, and certificates of parties it
//! asks about.
//!
//! The directory answers any member about any party by name: a certificate holds nothing that its
//! holder does not show to every peer. With it a session bundle can pin its roster's keys.

use std::sync::Arc;

use mpyc_party_authority::{Authority, AuthorityError};
use mpyc_party_core::claims::Claims;
use mpyc_party_core::membership::{MAX_DIRECTORY_NAMES, Renewal, Renewed};
use mpyc_party_transport::{Secure, now};

use crate::reply;

fn grant(
    authority: &Authority,
    claims: &Claims,
    request: &Renewal,
) -> Result<Renewed, AuthorityError> {
    authority.check(claims)?;
    let names = &request.directory[..request.directory.len().min(MAX_DIRECTORY_NAMES)];
    let directory = authority.directory(names)?;
    let certificate = request.renew.then(|| authority.renew(claims, now())).transpose()?;
    Ok(Renewed { certificate, directory })
}

/// What a member asks for, if it asks in time.
pub(crate) async fn read_request(secure: &mut Secure) -> Option<Renewal> {
    reply::read_request(secure.address, &mut secure.stream).await
}

/// Serves one member what it asked for.
pub(crate) async fn serve(mut secure: Secure, request: Renewal, authority: Arc<Authority>) {
    let (address, claims) = (secure.address, secure.peer.clone());
    let work = move || grant(&authority, &claims, &request).map_err(|error| error.to_string());
    let outcome = tokio::task::spawn_blocking(work).await;
    let outcome =
        outcome.unwrap_or_else(|_| Err("an internal error; see the authority's log".to_owned()));
    if let Err(why) = &outcome {
        log::warn!("{} at {address} was not renewed: {why}", secure.peer.role);
    }
    reply::write_reply(address, &mut secure.stream, outcome).await;
}

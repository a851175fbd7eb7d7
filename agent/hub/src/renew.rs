//! Renewal: a member gets a fresh certificate for the key it has, and certificates of parties it
//! asks about.
//!
//! The directory answers any member about any party by name: a certificate holds nothing that its
//! holder does not show to every peer. With it a session bundle can pin its roster's keys. Only
//! whoever wants a fresh certificate waits for a signature.

use std::sync::Arc;

use mpyc_party_authority::{Authority, AuthorityError};
use mpyc_party_core::claims::Claims;
use mpyc_party_core::membership::{MAX_DIRECTORY_NAMES, Renewal, Renewed};
use mpyc_party_core::name::PartyName;
use mpyc_party_transport::task::blocking;
use mpyc_party_transport::{Secure, now};

use crate::reply;
use crate::signing::{IssueError, Requester, SigningQueue};

/// What a member asks for, if it asks in time.
pub(crate) async fn read_request(secure: &mut Secure) -> Option<Renewal> {
    reply::read_request(secure.address, &mut secure.stream).await
}

/// Serves one member what it asked for.
pub(crate) async fn serve(
    mut secure: Secure,
    request: Renewal,
    authority: Arc<Authority>,
    signing: &SigningQueue,
) {
    let outcome = grant(&secure.peer, request, authority, signing).await;
    let address = secure.address;
    if let Err(why) = &outcome {
        log::warn!("{} at {address} was not renewed: {why}", secure.peer.role);
    }
    reply::write_reply(address, &mut secure.stream, outcome).await;
}

async fn grant(
    claims: &Claims,
    request: Renewal,
    authority: Arc<Authority>,
    signing: &SigningQueue,
) -> Result<Renewed, IssueError> {
    let (asking, records) = (claims.clone(), Arc::clone(&authority));
    let mut names = request.directory;
    names.truncate(MAX_DIRECTORY_NAMES);
    let directory = blocking(move || look_up(&records, &asking, &names)).await?;
    let certificate = if request.renew {
        let asking = claims.clone();
        let work = move || authority.renew(&asking, now());
        Some(signing.issue(Requester::Member(claims.key), work).await?)
    } else {
        None
    };
    Ok(Renewed { certificate, directory })
}

fn look_up(
    authority: &Authority,
    asking: &Claims,
    names: &[PartyName],
) -> Result<Vec<Vec<u8>>, AuthorityError> {
    authority.check(asking)?;
    authority.directory(names)
}

//! Renewal: a member gets a fresh certificate for the key it has, and certificates of parties it
//! asks about.
//!
//! The directory answers any member about any party by name: a certificate holds nothing that its
//! holder does not show to every peer. With it a session bundle can pin its roster's keys.

use mpyc_party_core::claims::Claims;
use mpyc_party_core::membership::{Renewal, Renewed};
use mpyc_party_core::name::PartyName;
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::{Expect, Identity, Protocol, connect, verify_issued};

use super::request::{self, RequestError};

/// Asks one of `hubs` for a fresh certificate; it works up to thirty days after expiry. What comes may
/// take the place of the old one: it is for the same member and key.
///
/// # Errors
/// Says why the authority refuses or cannot be reached.
pub async fn renew(hubs: &[String], identity: &Identity) -> Result<Vec<u8>, RequestError> {
    let request = Renewal { renew: true, directory: Vec::new() };
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

/// Asks one of `hubs` for the certificates of `names`, at most [`MAX_DIRECTORY_NAMES`](mpyc_party_core::membership::MAX_DIRECTORY_NAMES). Each is returned
/// with its claims and belongs to this network; names that are not enrolled are left out.
///
/// # Errors
/// Says why the authority refuses or cannot be reached.
pub async fn directory(
    hubs: &[String],
    identity: &Identity,
    names: &[PartyName],
) -> Result<Vec<(Claims, Vec<u8>)>, RequestError> {
    let request = Renewal { renew: false, directory: names.to_vec() };
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
    request: &Renewal,
) -> Result<Renewed, RequestError> {
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
    request: &Renewal,
) -> Result<Renewed, RequestError> {
    let tcp = request::dial(hub).await?;
    let name = Tag::hub(&identity.root().fingerprint).server_name();
    let mut secure = connect(tcp, identity, Protocol::Renew, &Expect::Authority, &name).await?;
    request::ask(hub, &mut secure.stream, request).await
}

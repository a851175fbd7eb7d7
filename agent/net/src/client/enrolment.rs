//! Enrolment: a newcomer with a token becomes a member.
//!
//! The newcomer recognises the authority by the root's fingerprint in its token and by the
//! authority's role, so that no party on the way can collect tokens. It then shows that it knows
//! the token's secret, bound to this connection and to its new key, and sends a certificate request
//! that shows that it holds the key.

use mpyc_party_core::claims::Claims;
use mpyc_party_core::membership::Enrolment;
use mpyc_party_core::token::Token;
use mpyc_party_transport::{Identity, KeyPair, connect_to_enrol};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::request::{self, RequestError};
use crate::segment_memory;

/// What a newcomer has afterwards, beside its key.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// Its certificate in DER.
    pub certificate: Vec<u8>,
    /// The network's root in DER.
    pub root: Vec<u8>,
    /// What the certificate claims.
    pub claims: Claims,
}

/// Enrols with `token` and the private key in `key_pkcs8`, at the first of the token's hubs that
/// can be reached. Asking again with the same token and key is harmless.
///
/// # Errors
/// Says which hubs could not be reached, or why the authority refuses.
pub async fn request(
    token: &Token,
    key_pkcs8: &Zeroizing<Vec<u8>>,
) -> Result<Enrolled, RequestError> {
    let mut last = RequestError::NoHub;
    for hub in &token.hubs {
        match request_at(hub, token, key_pkcs8).await {
            Err(refused @ (RequestError::Refused(_) | RequestError::Unusable(_))) => {
                return Err(refused);
            }
            Err(error) => last = error,
            Ok(enrolled) => return Ok(enrolled),
        }
    }
    Err(last)
}

async fn request_at(
    hub: &str,
    token: &Token,
    key_pkcs8: &Zeroizing<Vec<u8>>,
) -> Result<Enrolled, RequestError> {
    let key = KeyPair::from_pkcs8(key_pkcs8)?;
    let handshake = |tcp| async { Ok(connect_to_enrol::<TcpStream>(tcp, token.root).await?) };
    let connected: Result<_, RequestError> =
        segment_memory::shake(request::dial(hub).await?, &handshake).await;
    let (mut connection, root) = connected?;
    let proof = token.secret.proof(&connection.exporter, &key.public());
    let csr = key.certificate_request()?;
    let request = Enrolment { token: token.secret.hash().id(), proof, csr };
    let certificate: Vec<u8> = request::ask(hub, &mut connection.stream, &request).await?;
    let root = root.der().to_vec();
    let identity = Identity::new(certificate.clone(), key_pkcs8.clone(), root.clone())?;
    Ok(Enrolled { certificate, root, claims: identity.claims().clone() })
}

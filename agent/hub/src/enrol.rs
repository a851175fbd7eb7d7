//! Enrolment: a newcomer with a token becomes a member.

use std::sync::Arc;

use mpyc_party_authority::Authority;
use mpyc_party_core::membership;
use mpyc_party_transport::{Enrolment, now};

use crate::reply::{read_request, write_reply};

/// Serves one newcomer.
pub(crate) async fn serve(mut connection: Enrolment, authority: Arc<Authority>) {
    let address = connection.address;
    let Some(membership::Enrolment { token, proof, csr }) =
        read_request(address, &mut connection.stream).await
    else {
        return;
    };
    let exporter = connection.exporter;
    let work = move || authority.enrol(&token, &proof, &exporter, &csr, now());
    let outcome = match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(_) => Err("an internal error; see the authority's log".to_owned()),
    };
    if let Err(why) = &outcome {
        log::warn!("{address} was not enrolled: {why}");
    }
    write_reply(address, &mut connection.stream, outcome).await;
}

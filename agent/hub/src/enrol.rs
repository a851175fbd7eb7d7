//! Enrolment: a newcomer with a token becomes a member.
//!
//! Whoever has no good token is a stranger, and counts as one for as long as it is served. Only a
//! newcomer whose token is good waits for a signature.

use std::sync::Arc;

use mpyc_party_authority::{Authority, EnrolmentRequest};
use mpyc_party_core::membership;
use mpyc_party_transport::task::blocking;
use mpyc_party_transport::{Enrolment, now};

use crate::reply::{read_request, write_reply};
use crate::signing::{IssueError, Requester, SigningQueue};

/// A newcomer whose token is good.
pub(crate) struct Newcomer {
    connection: Enrolment,
    request: membership::Enrolment,
}

/// A newcomer, if it asks in time and its token is good; any other is told why not.
pub(crate) async fn check(
    mut connection: Enrolment,
    authority: &Arc<Authority>,
) -> Option<Newcomer> {
    let (address, exporter) = (connection.address, connection.exporter);
    let request: membership::Enrolment = read_request(address, &mut connection.stream).await?;
    let (authority, asked) = (Arc::clone(authority), request.clone());
    let work = move || {
        let membership::Enrolment { token, proof, csr } = &asked;
        let asked = EnrolmentRequest { token, proof, exporter: &exporter, csr };
        authority.check_enrolment(asked, now())
    };
    match blocking(work).await {
        Ok(()) => Some(Newcomer { connection, request }),
        Err(why) => {
            reply(&mut connection, Err(why.into())).await;
            None
        }
    }
}

/// Serves one newcomer.
pub(crate) async fn serve(newcomer: Newcomer, authority: Arc<Authority>, signing: &SigningQueue) {
    let Newcomer { mut connection, request } = newcomer;
    let membership::Enrolment { token, proof, csr } = request;
    let exporter = connection.exporter;
    let work = move || {
        let asked =
            EnrolmentRequest { token: &token, proof: &proof, exporter: &exporter, csr: &csr };
        authority.enrol(asked, now())
    };
    let outcome = signing.issue(Requester::Token(token), work).await;
    reply(&mut connection, outcome).await;
}

async fn reply(connection: &mut Enrolment, outcome: Result<Vec<u8>, IssueError>) {
    let address = connection.address;
    if let Err(why) = &outcome {
        log::warn!("{address} was not enrolled: {why}");
    }
    write_reply(address, &mut connection.stream, outcome).await;
}

//! Reaching a peer for something else than a run: directly, or over a relay where that does not
//! come about at once. Nobody punches: the peer does not look for one who only asks.

use std::time::Duration;

use mpyc_party_core::control::{MAX_OPENING_BYTES, Purpose};
use mpyc_party_transport::{Protocol, Secure, frame};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::dial::{ATTEMPT, relayed, tcp};
use super::{BoxError, Circle};
use crate::discovery::Whereabouts;

/// How long the direct ways are on their own.
const HEAD_START: Duration = Duration::from_millis(500);

/// A connection to a peer that has shown its certificate.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) secure: Secure,
    /// The hub that relays, «host:port».
    pub(super) via: Option<String>,
}

/// Connects to `peer` wherever it may be `at`, and says what for.
pub(super) async fn reach(
    circle: &Circle,
    peer: usize,
    at: &Whereabouts,
    purpose: Purpose,
) -> Result<Reached, BoxError> {
    let mut attempts = JoinSet::new();
    for place in at.tcp() {
        let circle = circle.clone();
        attempts.spawn(async move {
            let expect = circle.expect(Some(peer), &circle.pins);
            let secure = tcp(&circle, &place, Protocol::Check, &expect);
            Ok(Reached { secure: timeout(ATTEMPT, secure).await??, via: None })
        });
    }
    let pause = if attempts.is_empty() { Duration::ZERO } else { HEAD_START };
    for hub in at.hubs.iter().cloned() {
        let circle = circle.clone();
        attempts.spawn(async move {
            sleep(pause).await;
            let expect = circle.expect(Some(peer), &circle.pins);
            let secure = relayed(&circle, &hub, peer, Protocol::Check, &expect);
            Ok(Reached { secure: timeout(2 * ATTEMPT, secure).await??, via: Some(hub) })
        });
    }
    let mut last = BoxError::from("none of its addresses can be found");
    while let Some(attempt) = attempts.join_next().await {
        match attempt {
            Ok(Ok(mut reached)) => {
                frame::write(&mut reached.secure.stream, &purpose, MAX_OPENING_BYTES).await?;
                return Ok(reached);
            }
            Ok(Err(error)) => last = error,
            Err(_) => {}
        }
    }
    Err(last)
}

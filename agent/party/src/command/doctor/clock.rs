//! The clock, as far as certificates tell the time.
//!
//! No time is asked of anybody: nobody here would answer with a proof. But a certificate is made
//! at a moment of the authority's clock, and what has been made cannot lie in the future. So a clock
//! that is behind shows; one that is ahead shows only when certificates seem to have expired.

use mpyc_party_core::claims::{Claims, about};
use mpyc_party_hub::SET_BACK;

/// How far two clocks may differ before anybody is bothered, in seconds.
const TOLERANCE: u64 = 120;

/// What certificates tell of a clock that shows `now`, in Unix seconds.
///
/// # Errors
/// How far it is behind at least.
pub(super) fn judge<'a>(
    now: u64,
    certificates: impl Iterator<Item = &'a Claims>,
) -> Result<String, String> {
    let made = certificates.map(|claims| claims.not_before.saturating_add(SET_BACK)).max();
    let made = made.unwrap_or_default();
    if now.saturating_add(TOLERANCE) < made {
        return Err(format!(
            "this machine's clock is at least {} behind the authority's: a certificate was made later than now",
            about(made - now)
        ));
    }
    Ok(format!(
        "not behind: the newest certificate known here was made {} ago",
        about(now.saturating_sub(made))
    ))
}

#[cfg(test)]
mod tests {
    use mpyc_party_core::claims::{PublicKey, Serial};
    use mpyc_party_core::role::Role;

    use super::*;

    fn made(at: u64) -> Claims {
        Claims {
            network: "example".parse().unwrap(),
            role: Role::Hub(1),
            address: [10, 0, 0, 1].into(),
            groups: Vec::new(),
            key: PublicKey([0; 32]),
            not_before: at - SET_BACK,
            not_after: at + 86_400,
            serial: Serial(vec![1]),
        }
    }

    #[test]
    fn what_was_made_cannot_lie_in_the_future() {
        let (own, hub) = (made(1_000_000), made(1_050_000));
        let behind = judge(1_000_000, [&own, &hub].into_iter()).unwrap_err();
        assert!(behind.contains("at least 13 h behind"), "{behind}");
        assert!(judge(1_050_000 - TOLERANCE, [&own, &hub].into_iter()).is_ok());
        assert!(judge(1_050_000 - TOLERANCE - 1, [&own, &hub].into_iter()).is_err());
        let fine = judge(1_003_600, [&own].into_iter()).unwrap();
        assert!(fine.contains("made 60 min ago"), "{fine}");
    }
}

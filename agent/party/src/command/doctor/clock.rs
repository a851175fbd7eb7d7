//! The clock, as far as certificates and hubs tell the time.
//!
//! A certificate is made at a moment of the authority's clock, and what has been made cannot lie in
//! the future: that proves a clock to be behind. Hubs say what theirs shows, which proves nothing,
//! but where it is another time, one of the two is wrong.

use mpyc_party_authority::BACKDATING;
use mpyc_party_core::claims::{Claims, about};

use super::findings::Findings;

const CHECK: &str = "clock";
const REMEDY: &str = "set it: timedatectl set-ntp true";

/// How far two clocks may differ before anybody is bothered, in seconds.
const TOLERANCE: u64 = 120;

/// Looks at a clock that shows `now`, in Unix seconds: what `certificates` prove, and by how many
/// seconds those of `hubs` are ahead.
pub(super) fn look<'a>(
    now: u64,
    certificates: impl Iterator<Item = &'a Claims>,
    hubs: &[(String, i64)],
    findings: &mut Findings,
) {
    let proven = judge(now, certificates);
    let other = hubs.iter().filter(|(_, ahead)| ahead.unsigned_abs() > TOLERANCE);
    let told: Vec<String> = other.map(|(hub, ahead)| differs(hub, *ahead)).collect();
    match proven {
        Err(text) => findings.bad(CHECK, text, REMEDY),
        Ok(_) if !told.is_empty() => {
            let remedy = "if this machine's is wrong, set it: timedatectl set-ntp true; else tell the holder of the hub";
            findings.doubtful(CHECK, told.join("; "), remedy);
        }
        Ok(text) if hubs.is_empty() => findings.good(CHECK, text),
        Ok(_) => findings.good(CHECK, "it shows the same time as the hubs' clocks"),
    }
}

/// How this machine's clock differs from a hub's.
fn differs(hub: &str, ahead: i64) -> String {
    let (by, way) = (about(ahead.unsigned_abs()), if ahead > 0 { "behind" } else { "ahead of" });
    format!("this machine's clock is {by} {way} the clock of {hub}")
}

/// What certificates tell of a clock that shows `now`, in Unix seconds.
///
/// # Errors
/// How far it is behind at least.
fn judge<'a>(now: u64, certificates: impl Iterator<Item = &'a Claims>) -> Result<String, String> {
    let made = certificates.map(|claims| claims.not_before.saturating_add(BACKDATING)).max();
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
            not_before: at - BACKDATING,
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

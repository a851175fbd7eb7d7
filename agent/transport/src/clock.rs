//! The wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// The system's clock in Unix seconds; 0 before 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

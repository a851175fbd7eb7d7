//! Times on the command line.

use std::time::Duration;

/// The longest time to wait for somebody: whoever waits longer repeats the command.
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads how long to wait, as in `5s` or `1h 30m`.
pub(super) fn wait(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time > MAX_WAIT {
        return Err("a day is the longest: give a shorter time, as in 10s or 5m".to_owned());
    }
    Ok(time)
}

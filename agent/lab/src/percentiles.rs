//! Times as percentiles, beside what they have to be within.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;

/// Seconds that so many of a hundred were within.
#[derive(Serialize)]
pub(crate) struct Percentiles {
    what: &'static str,
    count: usize,
    p50: f64,
    p95: f64,
    highest: f64,
    /// What the 95 have to be within.
    limit: f64,
}

impl Percentiles {
    /// Of these seconds.
    pub(crate) fn of(what: &'static str, mut seconds: Vec<f64>, limit: f64) -> Self {
        seconds.sort_by(f64::total_cmp);
        let within = |percent: usize| {
            let rank = (seconds.len() * percent).div_ceil(100);
            rank.checked_sub(1).map_or(0.0, |rank| seconds[rank])
        };
        let (p50, p95, highest) = (within(50), within(95), within(100));
        Self { what, count: seconds.len(), p50, p95, highest, limit }
    }
}

/// Prints them, as a table or JSON; a failure if some are not within their limits.
pub(crate) fn print(rows: &[Percentiles], as_json: bool) -> Result<ExitCode> {
    let mut out = io::stdout().lock();
    if as_json {
        serde_json::to_writer_pretty(&mut out, rows)?;
        writeln!(out)?;
    } else {
        let head = ["", "count", "p50", "p95", "highest", "limit of p95"];
        let [what, count, p50, p95, highest, limit] = head;
        writeln!(out, "{what:<24} {count:>6} {p50:>8} {p95:>8} {highest:>8} {limit:>13}")?;
        for Percentiles { what, count, p50, p95, highest, limit } in rows {
            writeln!(
                out,
                "{what:<24} {count:>6} {p50:>6.2} s {p95:>6.2} s {highest:>6.2} s {limit:>11.2} s"
            )?;
        }
    }
    out.flush()?;
    let late = rows.iter().any(|row| row.p95 > row.limit);
    Ok(if late { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let row = Percentiles::of("", (1..=20).rev().map(f64::from).collect(), 0.0);
        assert_eq!((row.p50, row.p95, row.highest), (10.0, 19.0, 20.0));
        let none = Percentiles::of("", Vec::new(), 0.0);
        assert_eq!((none.count, none.p95), (0, 0.0));
    }
}

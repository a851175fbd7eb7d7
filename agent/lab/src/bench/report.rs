//! Results: medians, spread and ratios, as a table or JSON.

use std::fmt;

use serde::Serialize;

/// One table: alternatives by columns. The first alternative is what the others are compared with.
#[derive(Serialize)]
pub(crate) struct Section {
    title: &'static str,
    rows: Vec<Row>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    figures: Vec<Figure>,
}

/// A column of one alternative.
#[derive(Serialize)]
struct Figure {
    what: &'static str,
    median: f64,
    lowest: f64,
    highest: f64,
    /// Median, over the blocks, of this alternative's figure by the first alternative's.
    ratio: Option<f64>,
}

/// What was measured of one alternative: for each column, one value a block.
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    pub(crate) columns: Vec<Vec<f64>>,
}

impl Measured {
    /// The median of a column.
    pub(crate) fn median(&self, column: usize) -> f64 {
        median(self.columns[column].iter().copied())
    }

    /// The median, over the blocks, of this alternative's figure by the other's.
    pub(crate) fn ratio(&self, other: &Self, column: usize) -> f64 {
        ratio(&self.columns[column], &other.columns[column])
    }
}

impl Section {
    /// Puts a table together. Block n of one alternative is compared with block n of the first.
    pub(crate) fn new(
        title: &'static str,
        columns: &[&'static str],
        measured: &[Measured],
        notes: Vec<String>,
    ) -> Self {
        let row = |alternative: &Measured| Row {
            name: alternative.name,
            figures: columns
                .iter()
                .enumerate()
                .map(|(i, what)| figure(what, &alternative.columns[i], &measured[0].columns[i]))
                .collect(),
        };
        Self { title, rows: measured.iter().map(row).collect(), notes }
    }

    /// Adds what a reader should know.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }
}

fn figure(what: &'static str, values: &[f64], first: &[f64]) -> Figure {
    Figure {
        what,
        median: median(values.iter().copied()),
        lowest: values.iter().copied().fold(f64::INFINITY, f64::min),
        highest: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        ratio: Some(ratio(values, first)).filter(|ratio| ratio.is_finite()),
    }
}

fn ratio(values: &[f64], first: &[f64]) -> f64 {
    median(values.iter().zip(first).map(|(value, first)| value / first))
}

/// The value in the middle; not a number if there is none.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    f64::midpoint(sorted[last / 2], sorted[last.div_ceil(2)])
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}", self.title)?;
        write!(f, "{:18}", "")?;
        for figure in self.rows.first().map_or(&[][..], |row| &row.figures) {
            write!(f, "{:>32}", figure.what)?;
        }
        writeln!(f)?;
        for row in &self.rows {
            write!(f, "{:18}", row.name)?;
            row.figures.iter().try_for_each(|figure| write!(f, "{:>32}", figure.to_string()))?;
            writeln!(f)?;
        }
        writeln!(f, "(median, lowest to highest block; × as a ratio to {})", self.rows[0].name)?;
        self.notes.iter().try_for_each(|note| writeln!(f, "Note: {note}"))
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.median {
            small if small < 10.0 => 2,
            middling if middling < 100.0 => 1,
            _ => 0,
        };
        let Self { median, lowest, highest, .. } = self;
        write!(f, "{median:.digits$} ({lowest:.digits$}–{highest:.digits$})")?;
        self.ratio.map_or(Ok(()), |ratio| write!(f, " ×{ratio:.2}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_block_by_block() {
        let slow_minute = [1.0, 10.0, 1.2];
        let figure = figure("µs", &[2.0, 20.0, 2.4], &slow_minute);
        assert_eq!(figure.ratio, Some(2.0));
        assert_eq!((figure.lowest, figure.median, figure.highest), (2.0, 2.4, 20.0));
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median([4.0, 1.0, 3.0, 2.0].into_iter()), 2.5);
    }
}

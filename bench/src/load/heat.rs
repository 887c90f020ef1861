//! Which latencies were seen when: counts for a picture, time from left to right, latency upwards.

use std::time::Duration;

use serde::Serialize;

/// Columns are at least so wide.
const MIN_COLUMN_NS: u64 = 100_000_000;
/// There are at most so many; a longer run has wider ones.
const MAX_COLUMNS: u64 = 600;

/// The lowest row begins at 1 µs, and holds what is below as well.
const LOWEST_NS: f64 = 1e3;
/// Rows are so many to an octave.
const ROWS_PER_OCTAVE: f64 = 6.0;
/// The highest row begins at a second, and holds what is above as well.
const ROWS: usize = 120;

/// How many good replies arrived when, with which latency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeatMap {
    /// How long a column is.
    pub column_ns: u64,
    /// The lowest latency of each row. The first row holds shorter ones as well, the last one all
    /// longer ones.
    pub rows_low_ns: Vec<u64>,
    /// The columns of the window from left to right; of each, how many replies each row has.
    pub columns: Vec<Vec<u32>>,
}

impl HeatMap {
    /// An empty one of a window that is meant to be so long.
    pub(super) fn new(window: Duration) -> HeatMap {
        let window_ns = window.as_nanos() as u64;
        let column_ns = window_ns.div_ceil(MAX_COLUMNS).max(MIN_COLUMN_NS);
        let columns = window_ns.div_ceil(column_ns).clamp(1, MAX_COLUMNS);
        let low_ns = |row| LOWEST_NS * (f64::from(row) / ROWS_PER_OCTAVE).exp2();
        HeatMap {
            column_ns,
            rows_low_ns: (0..ROWS as u32).map(|row| low_ns(row) as u64).collect(),
            columns: vec![vec![0; ROWS]; columns as usize],
        }
    }

    /// Counts a reply that arrived so long after the beginning; what comes after the end counts in
    /// the last column.
    #[inline]
    pub(super) fn arrived(&mut self, latency_ns: u64, at_ns: u64) {
        let column = (at_ns / self.column_ns).min(self.columns.len() as u64 - 1);
        let octaves = (latency_ns.max(1) as f64 / LOWEST_NS).log2();
        let row = (octaves * ROWS_PER_OCTAVE).clamp(0.0, ROWS as f64 - 1.0);
        let count = &mut self.columns[column as usize][row as usize];
        *count = count.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_latency_is_in_the_row_that_it_is_in() {
        let mut heat = HeatMap::new(Duration::from_secs(1));
        assert_eq!((heat.column_ns, heat.columns.len()), (100_000_000, 10));
        for latency_ns in [0, 1_000, 7_777, 123_456, 999_999_999] {
            heat.arrived(latency_ns, 0);
            let row = heat.columns[0].iter().position(|&count| count > 0);
            let row = row.expect("it is counted");
            assert!(
                row == 0 || heat.rows_low_ns[row] <= latency_ns,
                "{latency_ns}"
            );
            if let Some(&next_ns) = heat.rows_low_ns.get(row + 1) {
                assert!(latency_ns <= next_ns, "{latency_ns}");
            }
            heat.columns[0].fill(0);
        }
    }

    #[test]
    fn nothing_falls_off_the_edges() {
        let mut heat = HeatMap::new(Duration::from_millis(250));
        heat.arrived(u64::MAX, u64::MAX);
        assert_eq!(heat.columns.len(), 3);
        assert_eq!(heat.columns[2][ROWS - 1], 1);
    }

    #[test]
    fn a_long_run_has_wide_columns() {
        let heat = HeatMap::new(Duration::from_secs(3600));
        assert_eq!((heat.column_ns, heat.columns.len()), (6_000_000_000, 600));
        assert!(HeatMap::new(Duration::MAX).columns.len() <= 600);
    }
}

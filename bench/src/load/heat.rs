//! When good replies arrived and how long they took, as a picture: columns of time, rows of latency.

use serde::Serialize;

/// How wide a column is, unless the run is too long for it.
const COLUMN_NS: u64 = 100_000_000;

/// Columns at most, which is what a screen shows; those of a longer run are wider.
const MAX_COLUMNS: u64 = 600;

/// Rows in each doubling of the latency.
const ROWS_PER_OCTAVE: usize = 6;

/// The first row is all below this.
const LOW_NS: f64 = 1e3;

/// Doublings from there to the last row, which is all from 1.05 s on.
const OCTAVES: usize = 20;

/// Rows in all: those of the octaves, the first and the last.
const ROWS: usize = OCTAVES * ROWS_PER_OCTAVE + 2;

/// Bits of a latency below its highest one that choose where to look for its row. A sixteenth of
/// an octave is narrower than any row, so that there is at most one edge of a row in it.
const FINE_BITS: u32 = 4;

/// How many good replies arrived when, by their latency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeatMap {
    /// How wide each column is; the first one begins with the window.
    pub column_ns: u64,
    /// The lowest latency of each row, in ns, ascending: six in each octave from 1 µs to 1 s. The
    /// first row begins at 0, and the last one has no upper edge.
    pub rows_low_ns: Vec<u64>,
    /// For each column up to the end of the window the count of each row.
    pub columns: Vec<Vec<u32>>,
}

/// A heat map at work. All its memory is there from the beginning, and to count is a look into a
/// table and one comparison.
#[derive(Debug)]
pub(super) struct Heat {
    column_ns: u64,
    rows_low_ns: Vec<u64>,
    /// For each highest bit and the bits after it the row in which the latencies with them begin.
    row_of: Vec<u8>,
    /// Row by row, column after column.
    counts: Vec<u32>,
    /// Where the open column begins in `counts`.
    open: usize,
    /// When the open column ends.
    open_until_ns: u64,
}

impl Heat {
    /// Of a window that is at most so long.
    pub(super) fn new(duration_ns: u64) -> Heat {
        let widths = duration_ns.div_ceil(COLUMN_NS * MAX_COLUMNS).max(1);
        let column_ns = COLUMN_NS * widths;
        let columns = duration_ns.div_ceil(column_ns).max(1) as usize;
        let rows_low_ns: Vec<_> = (0..ROWS).map(low_ns).collect();
        let row_of = (0..64 << FINE_BITS)
            .map(|place| row(&rows_low_ns, lowest_at(place)) as u8)
            .collect();
        Heat {
            column_ns,
            rows_low_ns,
            row_of,
            counts: vec![0; columns * ROWS],
            open: 0,
            open_until_ns: column_ns,
        }
    }

    /// Counts a good reply that arrived so long after the beginning, in the order of arrival. What
    /// comes after the last column counts in it.
    #[inline]
    pub(super) fn arrived(&mut self, latency_ns: u64, at_ns: u64) {
        if at_ns >= self.open_until_ns {
            self.advance(at_ns);
        }
        let mut row = usize::from(self.row_of[place_of(latency_ns)]);
        if let Some(&next_ns) = self.rows_low_ns.get(row + 1)
            && latency_ns >= next_ns
        {
            row += 1;
        }
        let count = &mut self.counts[self.open + row];
        *count = count.saturating_add(1);
    }

    #[cold]
    fn advance(&mut self, at_ns: u64) {
        let last = self.counts.len() / ROWS - 1;
        let column = ((at_ns / self.column_ns) as usize).min(last);
        self.open = column * ROWS;
        self.open_until_ns = match column == last {
            true => u64::MAX,
            false => (column as u64 + 1) * self.column_ns,
        };
    }

    /// The map of a window that was so long.
    pub(super) fn into_map(self, window_ns: u64) -> HeatMap {
        let seen = window_ns.div_ceil(self.column_ns).max(1) as usize;
        // Something may be in a column that the window had only begun.
        let seen = seen.max(self.open / ROWS + 1);
        let columns = self.counts.chunks_exact(ROWS).take(seen);
        HeatMap {
            column_ns: self.column_ns,
            columns: columns.map(<[u32]>::to_vec).collect(),
            rows_low_ns: self.rows_low_ns,
        }
    }
}

/// The lower edge of a row.
fn low_ns(row: usize) -> u64 {
    match row.checked_sub(1) {
        None => 0,
        Some(steps) => (LOW_NS * (steps as f64 / ROWS_PER_OCTAVE as f64).exp2()).round() as u64,
    }
}

/// The row of a latency, by a search.
fn row(rows_low_ns: &[u64], latency_ns: u64) -> usize {
    rows_low_ns.partition_point(|&low_ns| low_ns <= latency_ns) - 1
}

/// Where to look a latency up: its highest bit, and those after it.
#[inline]
fn place_of(latency_ns: u64) -> usize {
    // Below 16 there are no such bits; all of that is one place, in the first row.
    let high = latency_ns.max(1 << FINE_BITS).ilog2();
    let fine = (latency_ns >> (high - FINE_BITS)) & ((1 << FINE_BITS) - 1);
    (high as usize) << FINE_BITS | fine as usize
}

/// The lowest latency that is looked up at a place.
fn lowest_at(place: usize) -> u64 {
    let (high, fine) = (place >> FINE_BITS, (place as u64) & ((1 << FINE_BITS) - 1));
    match high.checked_sub(FINE_BITS as usize) {
        None => 0,
        Some(shift) => ((1 << FINE_BITS) | fine) << shift,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn rows_are_six_to_an_octave_from_1_us_to_1_s() {
        let map = Heat::new(SECOND_NS).into_map(SECOND_NS);
        assert_eq!(map.rows_low_ns.len(), 122);
        assert_eq!(map.rows_low_ns[..4], [0, 1000, 1122, 1260]);
        assert_eq!(map.rows_low_ns[7], 2000);
        assert_eq!(map.rows_low_ns[121], 1_048_576_000);
        assert!(map.rows_low_ns.is_sorted());
    }

    #[test]
    fn each_latency_is_looked_up_where_a_search_finds_it() {
        let edges: Vec<_> = (0..ROWS).map(low_ns).collect();
        let around = edges
            .iter()
            .flat_map(|&edge| [edge.max(1) - 1, edge, edge + 1]);
        let powers = (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1]);
        for latency_ns in around.chain(powers).chain([u64::MAX]) {
            let mut heat = Heat::new(SECOND_NS);
            heat.arrived(latency_ns, 0);
            let map = heat.into_map(SECOND_NS);
            let found = map.columns[0].iter().position(|&count| count == 1);
            assert_eq!(found, Some(row(&edges, latency_ns)), "{latency_ns} ns");
        }
    }

    #[test]
    fn columns_are_100_ms_and_end_with_the_window() {
        let mut heat = Heat::new(SECOND_NS);
        for at_ms in [0, 99, 100, 350] {
            heat.arrived(5000, at_ms * 1_000_000);
        }
        let map = heat.into_map(400_000_000);
        let sums: Vec<_> = map
            .columns
            .iter()
            .map(|rows| rows.iter().sum::<u32>())
            .collect();
        assert_eq!((map.column_ns, sums), (100_000_000, vec![2, 1, 0, 1]));
    }

    #[test]
    fn long_runs_have_wider_columns_and_late_replies_the_last_one() {
        let of = |duration_ns: u64| {
            let mut heat = Heat::new(duration_ns);
            heat.arrived(1, u64::MAX);
            heat.arrived(1, u64::MAX);
            let map = heat.into_map(duration_ns);
            let last = map.columns.last().map(|rows| rows[0]);
            (map.column_ns, map.columns.len(), last)
        };
        assert_eq!(of(60 * SECOND_NS), (100_000_000, 600, Some(2)));
        assert_eq!(of(60 * SECOND_NS + 1), (200_000_000, 301, Some(2)));
        assert_eq!(of(3600 * SECOND_NS), (6 * SECOND_NS, 600, Some(2)));
        assert_eq!(of(0), (100_000_000, 1, Some(2)));
    }
}

//! The requests of a batch, as rows.

use std::ops::Range;

use datafusion::arrow::array::{BooleanArray, UInt32Array};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::record_batch::RecordBatch;

use crate::early::Columns;
use crate::plan::Rows;

/// The rows of some requests, which come in their order.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) rows: RecordBatch,
    /// Where the rows of each request begin, and where those of the last end; none when row `i` is
    /// request `i`.
    starts: Option<Vec<u32>>,
}

impl Batch {
    /// A batch whose requests begin at these rows.
    pub(crate) fn new(rows: RecordBatch, starts: Option<Vec<u32>>) -> Self {
        let is_trivial = |starts: &Vec<u32>| {
            let rows = u32::try_from(rows.num_rows()).unwrap_or(u32::MAX);
            starts.iter().copied().eq(0..=rows)
        };
        let starts = starts.filter(|starts| !is_trivial(starts));
        Batch { rows, starts }
    }

    /// How many requests there are.
    pub(crate) fn requests(&self) -> usize {
        match &self.starts {
            None => self.rows.num_rows(),
            Some(starts) => starts.len().saturating_sub(1),
        }
    }

    /// Some of the requests.
    pub(crate) fn slice(&self, requests: Range<usize>) -> Batch {
        let Some(starts) = &self.starts else {
            return Batch {
                rows: self.rows.slice(requests.start, requests.len()),
                starts: None,
            };
        };
        let own = &starts[requests.start..=requests.end];
        let (first, end) = (own[0], own[own.len() - 1]);
        Batch {
            rows: self.rows.slice(first as usize, (end - first) as usize),
            starts: Some(own.iter().map(|start| start - first).collect()),
        }
    }

    /// The requests for which there is a `true`.
    pub(crate) fn filter(&self, requests: &[bool]) -> Batch {
        let kept = |rows: BooleanArray| {
            filter_record_batch(&self.rows, &rows).expect("a flag for each row")
        };
        let Some(starts) = &self.starts else {
            return Batch {
                rows: kept(BooleanArray::from(requests.to_vec())),
                starts: None,
            };
        };
        let (mut rows, mut kept_starts) = (Vec::new(), vec![0]);
        let mut next = 0;
        for (own, is_kept) in starts.windows(2).zip(requests) {
            let count = own[1] - own[0];
            rows.resize(rows.len() + count as usize, *is_kept);
            if *is_kept {
                next += count;
                kept_starts.push(next);
            }
        }
        Batch {
            rows: kept(BooleanArray::from(rows)),
            starts: Some(kept_starts),
        }
    }

    /// Leaves these columns alone.
    pub(crate) fn reduce(&mut self, columns: &Columns) {
        if let Columns::At(places) = columns {
            self.rows = self
                .rows
                .project(places)
                .expect("what a plan reads is a part of what all read");
        }
    }

    /// What came of the rows, by the requests that they belong to.
    pub(crate) fn attribute(&self, rows: Rows) -> Rows {
        let Some(starts) = &self.starts else {
            return rows;
        };
        let mut owners = Vec::with_capacity(self.rows.num_rows());
        for (request, own) in (0..).zip(starts.windows(2)) {
            owners.resize(own[1] as usize, request);
        }
        let origins = rows.origins();
        let origins = origins.values().iter().map(|row| owners[*row as usize]);
        Rows {
            origins: Some(UInt32Array::from_iter_values(origins)),
            batch: rows.batch,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, AsArray, Int32Array};
    use datafusion::arrow::datatypes::Int32Type;

    use super::*;

    /// Rows 0 to 5 of four requests: two, none, one, two.
    fn batch() -> Batch {
        let rows: ArrayRef = Arc::new(Int32Array::from_iter_values(0..5));
        let rows = RecordBatch::try_from_iter([("n", rows)]).unwrap();
        Batch::new(rows, Some(vec![0, 2, 2, 3, 5]))
    }

    fn values(batch: &Batch) -> Vec<i32> {
        batch
            .rows
            .column(0)
            .as_primitive::<Int32Type>()
            .values()
            .to_vec()
    }

    #[test]
    fn requests_have_their_rows_in_every_part() {
        let all = batch();
        assert_eq!(all.requests(), 4);
        let middle = all.slice(1..3);
        assert_eq!((middle.requests(), values(&middle)), (2, vec![2]));
        let last = all.slice(2..4).slice(1..2);
        assert_eq!((last.requests(), values(&last)), (1, vec![3, 4]));
        let kept = all.filter(&[true, true, false, true]);
        assert_eq!((kept.requests(), values(&kept)), (3, vec![0, 1, 3, 4]));
        assert_eq!(values(&kept.slice(2..3)), [3, 4]);
        let one_each = Batch::new(all.rows.clone(), Some((0..=5).collect()));
        assert!(one_each.starts.is_none());
        assert_eq!(
            values(&one_each.filter(&[false, true, false, false, true])),
            [1, 4]
        );
    }

    #[test]
    fn what_came_of_rows_is_their_requests() {
        let all = batch();
        // A filter kept rows 1, 2 and 4.
        let rows = Rows {
            batch: all.rows.clone(),
            origins: Some(UInt32Array::from(vec![1, 2, 4])),
        };
        let rows = all.attribute(rows);
        assert_eq!(rows.origins().values().to_vec(), [0, 2, 3]);
        let every_row = Rows {
            batch: all.rows.clone(),
            origins: None,
        };
        assert_eq!(
            all.attribute(every_row).origins().values().to_vec(),
            [0, 0, 2, 3, 3]
        );
    }
}

//! The index of a table over its keys.

use std::hash::BuildHasher;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::{NullEquality, resources_err};
use datafusion::error::Result;
use hashbrown::{DefaultHashBuilder, HashTable};

/// How many rows one batch may become.
const MOST_PAIRS: usize = 1 << 20;

/// No further row has this key.
const LAST: u32 = u32::MAX;

/// Finds the rows of a table by their keys, which are compared as bytes that stand for them.
pub(super) struct Index {
    converter: RowConverter,
    null_equality: NullEquality,
    keys: Rows,
    hasher: DefaultHashBuilder,
    /// The first row of each key.
    first: HashTable<u32>,
    /// The next row of the same key, for each row.
    next: Vec<u32>,
    has_null: bool,
}

impl Index {
    pub(super) fn new(keys: &[ArrayRef], null_equality: NullEquality) -> Result<Self> {
        let fields = keys
            .iter()
            .map(|key| SortField::new(key.data_type().clone()));
        let converter = RowConverter::new(fields.collect())?;
        let rows = converter.convert_columns(keys)?;
        let count = rows.num_rows();
        if count >= LAST as usize {
            return resources_err!("a joined table has {count} rows; {LAST} are too many");
        }
        let mut index = Index {
            converter,
            null_equality,
            hasher: DefaultHashBuilder::default(),
            first: HashTable::with_capacity(count),
            next: vec![LAST; count],
            has_null: keys.iter().any(|key| key.logical_null_count() > 0),
            keys: rows,
        };
        // From the last row on, so that each chain is in the table's order.
        for row in (0..count).rev() {
            if index.can_match(keys, row) {
                index.insert(row);
            }
        }
        Ok(index)
    }

    fn insert(&mut self, row: usize) {
        let (keys, hasher) = (&self.keys, &self.hasher);
        let key = keys.row(row).data();
        let number = u32::try_from(row).unwrap_or(LAST);
        let entry = self.first.entry(
            hasher.hash_one(key),
            |other| keys.row(*other as usize).data() == key,
            |other| hasher.hash_one(keys.row(*other as usize).data()),
        );
        match entry {
            hashbrown::hash_table::Entry::Occupied(mut first) => {
                self.next[row] = std::mem::replace(first.get_mut(), number);
            }
            hashbrown::hash_table::Entry::Vacant(place) => {
                place.insert(number);
            }
        }
    }

    /// Each request with each row of the table that has its key, in the order of the requests.
    pub(super) fn pairs(&self, keys: &[ArrayRef], requests: usize) -> Result<Vec<(u32, u32)>> {
        let rows = self.converter.convert_columns(keys)?;
        let mut pairs = Vec::with_capacity(requests);
        for request in 0..requests {
            if !self.can_match(keys, request) {
                continue;
            }
            let key = rows.row(request).data();
            let mut row = self.first_of(key);
            while row != LAST {
                if pairs.len() == MOST_PAIRS {
                    return resources_err!(
                        "a join makes more than {MOST_PAIRS} rows of {requests} requests"
                    );
                }
                pairs.push((u32::try_from(request).unwrap_or(LAST), row));
                row = self.next[row as usize];
            }
        }
        Ok(pairs)
    }

    fn first_of(&self, key: &[u8]) -> u32 {
        let found = self.first.find(self.hasher.hash_one(key), |row| {
            self.keys.row(*row as usize).data() == key
        });
        found.copied().unwrap_or(LAST)
    }

    /// Null equals nothing, unless the join says otherwise.
    fn can_match(&self, keys: &[ArrayRef], row: usize) -> bool {
        self.null_equality == NullEquality::NullEqualsNull
            || keys.iter().all(|key| key.is_valid(row))
    }

    /// Whether a request without a match is known to have none, as `NOT IN` asks: a null, on either
    /// side, might stand for anything.
    pub(super) fn knows_absence(&self, keys: &[ArrayRef], request: u32) -> bool {
        let is_known = |key: &ArrayRef| key.is_valid(request as usize);
        self.next.is_empty() || (!self.has_null && keys.iter().all(is_known))
    }
}

//! The columns of the bodies.

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{Fields, Schema};
use simd_json::{Buffers, Tape};

use super::column::{Column, Fit};
use super::fault::Refused;
use super::nested::StructColumn;
use super::sources::RowsOf;
use super::surrogate;
use super::tape::{Value, bounded, elements, entries, shown};
use crate::parsing_check::ParsingCheck;

/// How many rows one body may be.
const MOST_ROWS: usize = 1 << 16;

/// The bodies of a turn, as columns.
///
/// Invariant: each column that is used has `rows` rows, and the others have none.
pub(super) struct BodyColumns {
    check: ParsingCheck,
    rows_of: RowsOf,
    root: StructColumn,
    /// Whether the plan reads the column. The others are only held against their type: their value
    /// is dropped again.
    used: Vec<bool>,
    rows: usize,
    /// A copy of the body: simd-json unescapes texts in place, and the body may be needed again.
    text: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
}

impl BodyColumns {
    pub(super) fn new(
        fields: &Fields,
        check: ParsingCheck,
        rows_of: RowsOf,
        used: Vec<bool>,
    ) -> Self {
        BodyColumns {
            check,
            rows_of,
            root: StructColumn::new(fields),
            used,
            rows: 0,
            text: Vec::new(),
            buffers: Buffers::default(),
            tape: Tape::null(),
        }
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> u32 {
        u32::try_from(self.rows).expect("a batch is bounded below 2 GiB")
    }

    /// Adds a body: its rows, or the reason and none.
    pub(super) fn push(&mut self, body: &[u8]) -> Result<(), Refused> {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        text.extend_from_slice(body);
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let parsed = match simd_json::fill_tape(&mut text, &mut self.buffers, &mut tape) {
            Ok(()) if !surrogate::stands_alone(body) => self.push_rows(&tape.0),
            _ if self.check == ParsingCheck::None => self.push_nothing().map(|()| 1),
            Ok(()) => Err(Refused::NoJson(
                "it has half of a surrogate pair, which is no character".to_owned(),
            )),
            Err(_) if body.trim_ascii().is_empty() => {
                Err(Refused::NoJson("it is empty".to_owned()))
            }
            Err(error) => Err(Refused::NoJson(bounded(&what_is_wrong(body, &error)))),
        };
        self.tape = tape.reset();
        self.text = text;
        match parsed {
            Ok(rows) => self.rows += rows,
            Err(_) => self.root.truncate(self.rows),
        }
        self.drop_unused();
        parsed.map(|_| ())
    }

    /// Adds the rows of a body; how many that are.
    fn push_rows(&mut self, value: Value<'_, '_>) -> Result<usize, Refused> {
        let objects = match self.rows_of {
            RowsOf::One => None,
            RowsOf::Many => elements(value),
        };
        let Some(objects) = objects else {
            return self.push_value(value).map(|()| 1);
        };
        let mut rows = 0;
        for object in objects {
            if rows == MOST_ROWS {
                return Err(Refused::TooManyRows { limit: MOST_ROWS });
            }
            self.push_value(object).map_err(|why| why.inside(rows))?;
            rows += 1;
        }
        Ok(rows)
    }

    fn push_value(&mut self, value: Value<'_, '_>) -> Result<(), Refused> {
        if entries(value).is_none() {
            return match self.check {
                ParsingCheck::None => self.push_nothing(),
                _ => Err(Refused::NoObject(shown(value))),
            };
        }
        let how = match self.check {
            ParsingCheck::Full => Fit::Refused,
            ParsingCheck::None | ParsingCheck::Partial => Fit::Null,
        };
        self.root.push(value, how)?;
        if self.check == ParsingCheck::Partial && !self.root.last_row_has_a_value() {
            return Err(Refused::Nothing);
        }
        Ok(())
    }

    fn push_nothing(&mut self) -> Result<(), Refused> {
        self.root.push_null();
        Ok(())
    }

    fn drop_unused(&mut self) {
        for (column, used) in self.root.children.iter_mut().zip(&self.used) {
            if !used {
                column.truncate(0);
            }
        }
    }

    /// Keeps the first `rows` rows.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.rows = self.rows.min(rows);
        self.root.truncate(self.rows);
        self.drop_unused();
    }

    /// The column of this index; [`restart`](Self::restart) comes behind the last one.
    pub(super) fn finish(&mut self, index: usize) -> ArrayRef {
        self.root.children[index].finish()
    }

    pub(super) fn restart(&mut self) {
        self.truncate(0);
    }

    /// What the bodies are held against.
    pub(super) fn schema(&self) -> Schema {
        Schema::new(self.root.fields.clone())
    }
}

/// Why a body is no JSON, in words for whoever sent it: the parser of tapes has but the names of its own
/// errors.
#[cold]
fn what_is_wrong(body: &[u8], error: &simd_json::Error) -> String {
    match serde_json::from_slice::<serde::de::IgnoredAny>(body) {
        Err(error) => error.to_string(),
        Ok(serde::de::IgnoredAny) => error.to_string(),
    }
}

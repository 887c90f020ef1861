//! Rows onto the standard output, for people.

use std::fmt;
use std::io::{self, Write};

use datafusion::arrow::array::{ArrayRef, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::arrow::util::pretty::pretty_format_batches;
use std::sync::Arc;

use super::{BatchSink, Opening, SinkError};

/// How many rows of an epoch are shown, and how wide a value may be: as in Spark.
const ROWS: usize = 20;
const WIDTH: usize = 20;

/// Shows the first rows of each epoch as a table.
pub struct ConsoleSink {
    out: Box<dyn Write + Send>,
    rows: usize,
    width: usize,
    query: String,
}

impl Default for ConsoleSink {
    fn default() -> Self {
        ConsoleSink::to(io::stdout())
    }
}

impl ConsoleSink {
    /// A console that is somewhere else.
    pub fn to(out: impl Write + Send + 'static) -> Self {
        ConsoleSink {
            out: Box::new(out),
            rows: ROWS,
            width: WIDTH,
            query: String::new(),
        }
    }

    /// Shows so many rows of an epoch: 20 if nothing is said.
    #[must_use]
    pub fn rows(self, rows: usize) -> Self {
        ConsoleSink { rows, ..self }
    }

    /// Cuts values at so many characters: 20 if nothing is said.
    #[must_use]
    pub fn truncate(self, width: usize) -> Self {
        ConsoleSink { width, ..self }
    }

    /// The first rows, each value as text.
    fn shown(&self, rows: &RecordBatch) -> Result<RecordBatch, SinkError> {
        let options = FormatOptions::default().with_null("NULL");
        let (mut fields, mut columns) = (Vec::new(), Vec::<ArrayRef>::new());
        for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
            let format = ArrayFormatter::try_new(column.as_ref(), &options)?;
            let texts = (0..rows.num_rows()).map(|row| {
                let text = format.value(row).to_string();
                match text.char_indices().nth(self.width) {
                    Some((end, _)) => format!("{}…", &text[..end]),
                    None => text,
                }
            });
            columns.push(Arc::new(StringArray::from_iter_values(texts)));
            fields.push(Field::new(field.name(), DataType::Utf8, false));
        }
        Ok(RecordBatch::try_new(
            Arc::new(Schema::new(fields)),
            columns,
        )?)
    }
}

impl BatchSink for ConsoleSink {
    fn open(&mut self, opening: &Opening, _schema: &SchemaRef) -> Result<(), SinkError> {
        self.query.clone_from(&opening.query);
        Ok(())
    }

    fn write(&mut self, epoch: u64, rows: &[RecordBatch]) -> Result<(), SinkError> {
        let all: usize = rows.iter().map(RecordBatch::num_rows).sum();
        let (mut left, mut shown) = (self.rows, Vec::new());
        for rows in rows {
            let first = rows.slice(0, rows.num_rows().min(left));
            left -= first.num_rows();
            shown.push(self.shown(&first)?);
        }
        writeln!(self.out, "epoch {epoch} of {}: {all} rows", self.query)?;
        writeln!(self.out, "{}", pretty_format_batches(&shown)?)?;
        if all > self.rows {
            writeln!(self.out, "only the first {} rows are shown", self.rows)?;
        }
        Ok(self.out.flush()?)
    }
}

impl fmt::Debug for ConsoleSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsoleSink")
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Sender};

    use super::super::Resume;
    use super::*;

    struct Screen(Sender<Vec<u8>>);

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_first_rows_are_shown_and_long_values_are_cut() {
        let (screen, seen) = mpsc::channel();
        let mut sink = ConsoleSink::to(Screen(screen)).rows(2).truncate(4);
        let names = StringArray::from(vec![Some("Zoë"), None, Some("not shown")]);
        let texts = StringArray::from(vec!["größer", "x", "y"]);
        let columns: Vec<(&str, ArrayRef)> =
            vec![("name", Arc::new(names)), ("text", Arc::new(texts))];
        let rows = RecordBatch::try_from_iter(columns).unwrap();
        let opening = Opening {
            query: "greetings".to_owned(),
            query_id: None,
            run_id: "run".to_owned(),
            resume: Resume::Append,
        };
        sink.open(&opening, &rows.schema()).unwrap();
        sink.write(7, &[rows]).unwrap();
        let seen: Vec<u8> = seen.try_iter().flatten().collect();
        let expected = "\
epoch 7 of greetings: 3 rows
+------+-------+
| name | text  |
+------+-------+
| Zoë  | größ… |
| NULL | x     |
+------+-------+
only the first 2 rows are shown
";
        assert_eq!(String::from_utf8(seen).unwrap(), expected);
    }
}

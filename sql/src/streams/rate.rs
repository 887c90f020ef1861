//! Rows at a steady rate.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use datafusion::arrow::array::{ArrayRef, Int64Array, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::record_batch::RecordBatch;

use super::source::{Source, Taken};
use crate::durable::{create_dir_all, write_durably};
use crate::sink::SinkError;

/// How many rows an epoch has at most; what is behind catches up in the next ones.
const MOST_ROWS: u64 = 1 << 20;
const US_PER_SECOND: u64 = 1_000_000;

/// Counts from 0, so many rows a second since the stream first began: Spark's `rate`. What a row says is
/// decided by its number and that time, so it is the same in each run.
#[derive(Debug)]
pub struct RateSource {
    rows_per_second: u64,
    start_us: u64,
    offset: u64,
}

impl RateSource {
    /// So many rows a second, one at least.
    pub fn new(rows_per_second: u64) -> Self {
        RateSource {
            rows_per_second: rows_per_second.max(1),
            start_us: 0,
            offset: 0,
        }
    }

    fn batch(&self, end: u64) -> Result<RecordBatch, SinkError> {
        let times = (self.offset..end).map(|value| {
            let since_us = u128::from(value) * u128::from(US_PER_SECOND);
            let since_us = since_us / u128::from(self.rows_per_second);
            i64::try_from(u128::from(self.start_us) + since_us).unwrap_or(i64::MAX)
        });
        let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
        let values = (self.offset..end).map(|value| i64::try_from(value).unwrap_or(i64::MAX));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(times),
            Arc::new(Int64Array::from_iter_values(values)),
        ];
        Ok(RecordBatch::try_new(self.schema(), columns)?)
    }
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros().try_into().unwrap_or(u64::MAX))
}

impl Source for RateSource {
    fn schema(&self) -> SchemaRef {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        Arc::new(Schema::new(vec![
            Field::new("timestamp", time, false),
            Field::new("value", DataType::Int64, false),
        ]))
    }

    fn begin(
        &mut self,
        records: Option<&Path>,
        committed: Option<(u64, u64)>,
    ) -> Result<(), SinkError> {
        self.offset = committed.map_or(0, |(_, offset)| offset);
        self.start_us = now_us();
        let Some(records) = records else {
            return Ok(());
        };
        let file = records.join("start");
        match std::fs::read_to_string(&file) {
            Ok(text) => {
                let told = text.trim().parse();
                self.start_us = told.map_err(|_| {
                    format!(
                        "`{}` is damaged: it is to be a number, and is {text:?}",
                        file.display()
                    )
                })?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                create_dir_all(records)?;
                let start_us = self.start_us;
                write_durably(records, "start", |file| Ok(write!(file, "{start_us}")?))?;
            }
            Err(error) => return Err(format!("cannot read `{}`: {error}", file.display()).into()),
        }
        Ok(())
    }

    fn take(&mut self) -> Result<Option<Taken>, SinkError> {
        let since_us = u128::from(now_us().saturating_sub(self.start_us));
        let due = since_us * u128::from(self.rows_per_second) / u128::from(US_PER_SECOND);
        let due = u64::try_from(due).unwrap_or(u64::MAX);
        let end = due.min(self.offset.saturating_add(MOST_ROWS));
        if end <= self.offset {
            return Ok(None);
        }
        let rows = vec![self.batch(end)?];
        self.offset = end;
        Ok(Some(Taken { rows, offset: end }))
    }
}

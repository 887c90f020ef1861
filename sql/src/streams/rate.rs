//! Rows at a steady rate.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use datafusion::arrow::array::{ArrayRef, Int64Array, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};
use snapback::checkpoint::Ledger;
use snapback::options::parse_duration;

use super::records::Records;
use super::source::{Source, Taken};
use crate::sink::SinkError;

/// How many rows an epoch has at most; what is behind catches up in the next ones.
const MOST_ROWS: u64 = 1 << 20;
/// Bounds within which no sum overflows.
const MOST_ROWS_PER_SECOND: u64 = 1_000_000_000;
const LONGEST_RAMP: Duration = Duration::from_hours(24);
const US_PER_SECOND: u128 = 1_000_000;

/// Counts from 0, so many rows a second since the stream first began: Spark's `rate`. What a row says is
/// decided by its number and that time, so it is the same in each run.
#[derive(Debug)]
pub struct RateSource {
    rate: Rate,
    offset: u64,
    records: Option<Records>,
}

/// What decides the rows. It stands in the checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rate {
    rows_per_second: u64,
    ramp_up_us: u64,
    start_us: u64,
}

/// Before which number an epoch ends.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Span {
    end: u64,
}

impl RateSource {
    /// So many rows a second, one at least and 10⁹ at most.
    pub fn new(rows_per_second: u64) -> Self {
        RateSource {
            rate: Rate {
                rows_per_second: rows_per_second.clamp(1, MOST_ROWS_PER_SECOND),
                ramp_up_us: 0,
                start_us: 0,
            },
            offset: 0,
            records: None,
        }
    }

    /// Takes so long, a day at most, to become that fast, evenly from nothing.
    #[must_use]
    pub fn ramp_up_time(mut self, time: Duration) -> Self {
        self.rate.ramp_up_us = time.min(LONGEST_RAMP).as_micros() as u64;
        self
    }

    fn batch(&self, end: u64) -> Result<RecordBatch, SinkError> {
        let times = (self.offset..end).map(|value| self.rate.time_us(value));
        let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
        let values = (self.offset..end).map(|value| i64::try_from(value).unwrap_or(i64::MAX));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(times),
            Arc::new(Int64Array::from_iter_values(values)),
        ];
        Ok(RecordBatch::try_new(self.schema(), columns)?)
    }
}

impl Rate {
    /// How many rows there are so long after the start: the area under the rate, which rises in a
    /// straight line and then stays.
    fn due(self, since_us: u64) -> u64 {
        let (since, ramp) = (u128::from(since_us), u128::from(self.ramp_up_us));
        let rate = u128::from(self.rows_per_second);
        let due = match since < ramp {
            true => rate * since * since / (2 * ramp * US_PER_SECOND),
            false => rate * (2 * since - ramp) / (2 * US_PER_SECOND),
        };
        u64::try_from(due).unwrap_or(u64::MAX)
    }

    /// When the row of this number belongs, in microseconds since 1970: the inverse.
    fn time_us(self, value: u64) -> i64 {
        let (value, ramp) = (u128::from(value), u128::from(self.ramp_up_us));
        let rate = u128::from(self.rows_per_second);
        let since = match 2 * value * US_PER_SECOND < rate * ramp {
            true => (2 * ramp * US_PER_SECOND * value / rate).isqrt(),
            false => value * US_PER_SECOND / rate + ramp / 2,
        };
        i64::try_from(u128::from(self.start_us) + since).unwrap_or(i64::MAX)
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

    fn options(&self) -> &'static [&'static str] {
        &["rowsPerSecond", "rampUpTime"]
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "rowsPerSecond" => {
                let rate = value.trim().parse().ok();
                let rate = rate.filter(|rate| (1..=MOST_ROWS_PER_SECOND).contains(rate));
                self.rate.rows_per_second = rate.ok_or("a number from 1 to 1000000000")?;
            }
            _ => {
                let time = parse_duration(value).filter(|time| *time <= LONGEST_RAMP);
                let time = time.ok_or("a duration of a day at most, such as `5s`")?;
                self.rate.ramp_up_us = time.as_micros() as u64;
            }
        }
        Ok(())
    }

    fn begin(
        &mut self,
        records: Option<&Path>,
        committed: Option<(u64, u64)>,
    ) -> Result<(), SinkError> {
        self.offset = committed.map_or(0, |(_, offset)| offset);
        self.rate.start_us = now_us();
        if let Some(directory) = records {
            let (records, known) =
                Records::open(directory, self.rate, committed.map(|(epoch, _)| epoch))?;
            let start_us = known.start_us;
            if known
                != (Rate {
                    start_us,
                    ..self.rate
                })
            {
                return Err(format!(
                    "the checkpoint counts {} rows a second with a rampUpTime of {} us, and this stream \
                     {} with one of {} us: what its rows say would change; give it back what it had, or \
                     a new checkpointLocation",
                    known.rows_per_second,
                    known.ramp_up_us,
                    self.rate.rows_per_second,
                    self.rate.ramp_up_us,
                )
                .into());
            }
            self.rate = known;
            self.records = Some(records);
        }
        Ok(())
    }

    fn take(&mut self, epoch: u64) -> Result<Option<Taken>, SinkError> {
        let noted = match &self.records {
            Some(records) => records.of::<Span>(epoch)?,
            None => None,
        };
        let is_new = noted.is_none();
        let end = match noted {
            Some(span) => span.end,
            None => {
                let due = self.rate.due(now_us().saturating_sub(self.rate.start_us));
                due.min(self.offset.saturating_add(MOST_ROWS))
            }
        };
        if end <= self.offset {
            return Ok(None);
        }
        let rows = vec![self.batch(end)?];
        if is_new && let Some(records) = &mut self.records {
            records.write(epoch, &Span { end })?;
        }
        self.offset = end;
        Ok(Some(Taken { rows, offset: end }))
    }

    fn committed(&mut self, epoch: u64) -> Result<(), SinkError> {
        match &mut self.records {
            Some(records) => records.forget_before(epoch.saturating_sub(Ledger::RETAINED_EPOCHS)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row is due at its time or a moment later, never before, and time does not go back.
    #[test]
    fn rows_come_when_they_say() {
        for (rows_per_second, ramp_up_us) in [
            (1, 0),
            (7, 0),
            (7, 3_000_000),
            (1000, 10_000_000),
            (1_000_000_000, 86_400_000_000),
        ] {
            let rate = Rate {
                rows_per_second,
                ramp_up_us,
                start_us: 0,
            };
            let mut before = 0;
            for value in (0..2000).chain([1 << 30, 1 << 40]) {
                let time = rate.time_us(value);
                assert!(time >= before, "{rate:?}: {value} is at {time}");
                before = time;
                assert!(
                    rate.due(time as u64) <= value + 1,
                    "{rate:?}: {value} at {time}"
                );
                // The next one is not due before this one.
                let after = rate.time_us(value + 1) as u64 + 1;
                assert!(rate.due(after) > value, "{rate:?}: {value} at {time}");
            }
        }
        // A ramp of two seconds brings half of what its rate would.
        let rate = Rate {
            rows_per_second: 100,
            ramp_up_us: 2_000_000,
            start_us: 0,
        };
        let due = [1, 2, 3].map(|second| rate.due(second * 1_000_000));
        assert_eq!(due, [25, 100, 200]);
    }
}

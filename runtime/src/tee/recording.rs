//! The parts of a tee, as a query that starts puts them together.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use super::pipe::Pipe;
use super::recorder::Recorder;
use super::served::Fields;
use super::sink::{Opening, Resume, TeeSink};
use super::state::Tee;
use super::thread::{self, TeeThread, TeedPartition};
use crate::checkpoint::{Opened, Recovered};
use crate::epoch::{Message, PartitionHandle, Teeing};
use crate::error::{Error, Result};
use crate::options::Options;

/// A tee whose partitions are about to start.
pub(crate) struct Recording {
    sink: Box<dyn TeeSink>,
    fields: Fields,
    /// Unless it was opened.
    opening: Option<Opening>,
    pipes: Vec<Arc<Pipe>>,
    options: Options,
    pub(crate) tee: Arc<Tee>,
}

impl Recording {
    /// Opens the sink, unless the process that was taken over still writes there.
    ///
    /// # Errors
    ///
    /// What the sink says.
    pub(crate) fn begin(
        mut sink: Box<dyn TeeSink>,
        query: &str,
        run_id: &str,
        checkpoint: Option<&Opened>,
        recovered: &Recovered,
        options: &Options,
    ) -> Result<Self> {
        let opening = Opening {
            query: query.to_owned(),
            query_id: checkpoint.map(|_| recovered.query_id.to_string()),
            run_id: run_id.to_owned(),
            resume: match checkpoint {
                Some(_) => Resume::After(recovered.last_epoch),
                None => Resume::Append,
            },
        };
        let opening = match checkpoint {
            Some(Opened::Awaited(_)) => Some(opening),
            _ => {
                thread::open(&mut *sink, &opening).map_err(|error| Error::Tee {
                    reason: error.to_string(),
                })?;
                None
            }
        };
        let pipes: Vec<_> = (0..options.num_partitions)
            .map(|_| Arc::new(Pipe::new()))
            .collect();
        Ok(Recording {
            fields: sink.fields(),
            tee: Arc::new(Tee::new(
                pipes.clone(),
                options.tee_buffer_bytes,
                options.tee_overflow,
            )),
            sink,
            opening,
            pipes,
            options: options.clone(),
        })
    }

    /// What is between a partition and the sink.
    pub(crate) fn pipe(&self, partition: usize) -> Arc<Pipe> {
        Arc::clone(&self.pipes[partition])
    }

    /// Makes the recorder of a partition, each time that it starts.
    pub(crate) fn recorders(&self, partition: usize) -> impl Fn() -> Recorder + Send + use<> {
        let pipe = self.pipe(partition);
        let (fields, overflow) = (self.fields, self.options.tee_overflow);
        let limit_bytes = self.options.tee_buffer_bytes;
        move || {
            let pipe = Arc::clone(&pipe);
            Recorder::new(fields, overflow, limit_bytes, partition as u32, pipe)
        }
    }

    /// Begins to write what the partitions record.
    ///
    /// # Errors
    ///
    /// A thread cannot be started.
    pub(crate) fn teeing(
        self,
        partitions: &[PartitionHandle],
        query: &str,
        to_epoch_thread: Sender<Message>,
    ) -> Result<Teeing> {
        let teed = partitions.iter().zip(&self.pipes);
        let teed = teed.map(|(partition, pipe)| TeedPartition {
            mailbox: Arc::clone(&partition.mailbox),
            published: Arc::clone(&partition.published),
            pipe: Arc::clone(pipe),
        });
        let tee = Arc::clone(&self.tee);
        let thread = TeeThread::new(
            self.sink,
            self.opening,
            teed.collect(),
            Arc::clone(&tee),
            query.to_owned(),
        );
        Teeing::begin(thread, tee, to_epoch_thread)
    }
}

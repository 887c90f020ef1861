//! Where a tee's rows go.

use super::served::{Fields, Served};

/// What a sink failed at. Operators see it: it names the thing and the way out.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// Whose rows come, and from where on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The name of the query, for people.
    pub query: String,
    /// The id of the query, which is the same over all runs from one checkpoint; none without a
    /// checkpoint.
    pub query_id: Option<String>,
    /// The id of the run, which no other has.
    pub run_id: String,
    /// From where the epochs go on.
    pub resume: Resume,
}

/// From where the epochs of a sink go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// There is no checkpoint: all that is there stays, and epochs are numbered behind it.
    Append,
    /// The checkpoint is at this epoch, or has none yet: what is there of newer epochs is taken back.
    After(Option<u64>),
}

/// Takes the rows of a [tee](super), an epoch at a time.
///
/// All calls but `fields` and the first `open` come from one thread that serves nobody: a sink may
/// take its time, and be late. A panic counts as an error.
pub trait TeeSink: Send + 'static {
    /// What it wants of each request. It is asked once, before all else.
    fn fields(&self) -> Fields {
        Fields::ALL
    }

    /// Begins, before any rows: takes back what is newer than the checkpoint. It may be called again
    /// after it failed.
    ///
    /// # Errors
    ///
    /// What keeps the query from starting. In a hand-off it is called only when the process before
    /// has let go of the checkpoint; then it is tried again, and rows wait.
    fn open(&mut self, opening: &Opening) -> Result<(), SinkError>;

    /// Makes rows of an epoch durable, all or none of them. Epochs come in their order. It is called
    /// again for an epoch, with further rows, when the checkpoint did not take the epoch; and with
    /// the same rows and more when it had failed.
    ///
    /// # Errors
    ///
    /// What is in the way now; it is tried again later.
    fn write(&mut self, epoch: u64, served: &[Served]) -> Result<(), SinkError>;

    /// The checkpoint has this epoch, and will never go back before it.
    ///
    /// # Errors
    ///
    /// What is told to the log, and has no further consequence.
    fn committed(&mut self, _epoch: u64) -> Result<(), SinkError> {
        Ok(())
    }
}

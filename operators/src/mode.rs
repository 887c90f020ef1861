//! The three ways in which requests are worked on.

/// How the requests of a pipeline are worked on: Spark Serving's three servers.
///
/// A stage that works on a request by itself does so in the partition's turn, whatever the mode. Stages
/// that work on many at once, as columns do, ask for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// In the turn of the partition that they came to, and from nothing but themselves.
    #[default]
    Continuous,
    /// In micro-batches of the partition that they came to, on a thread of its own.
    Distributed,
    /// In micro-batches of all requests of the query, on as many threads as it has partitions.
    Server,
}

impl Mode {
    /// The name of the reader's method.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Continuous => "continuous_server()",
            Mode::Distributed => "distributed_server()",
            Mode::Server => "server()",
        }
    }
}

/// What knows its mode: the origin of a pipeline.
pub trait HasMode {
    /// The mode.
    fn mode(&self) -> Mode;

    /// How many partitions the query has.
    fn partitions(&self) -> usize;
}

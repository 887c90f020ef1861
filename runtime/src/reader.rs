//! Where a stream comes from.

use snapback_operators::{Chain, HasMode, Mode, Origin, Pipeline, Requests, Start};

use crate::error::Result;
use crate::options::Options;
use crate::session::Session;
use crate::writer::StreamWriter;

/// Chooses the source of a stream: [`Session::read_stream`].
#[derive(Clone, Debug)]
pub struct StreamReader {
    session: Session,
}

impl StreamReader {
    pub(crate) fn new(session: Session) -> Self {
        StreamReader { session }
    }

    /// The session that the stream is begun in.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// A web service whose partitions each listen, compute and reply on a thread of their own:
    /// Spark Serving's `readStream.continuousServer()`.
    #[must_use]
    pub fn continuous_server(self) -> ServerReader {
        self.in_mode(Mode::Continuous)
    }

    /// A web service whose partitions each listen, and work on what came to them in micro-batches:
    /// Spark Serving's `readStream.distributedServer()`.
    ///
    /// It is for columns; see [`Mode`]. A micro-batch begins when the last one of its partition has
    /// ended, or as the [trigger](crate::Trigger) says, and runs on a thread beside the partition's.
    #[must_use]
    pub fn distributed_server(self) -> ServerReader {
        self.in_mode(Mode::Distributed)
    }

    /// A web service with one listener, whose requests are worked on in micro-batches over all
    /// partitions: Spark Serving's `readStream.server()`. A row-wise plan runs on one thread, any
    /// other on as many as there are partitions.
    ///
    /// It is for columns; see [`Mode`]. Any plan runs: its aggregates, windows and sorts are over
    /// the micro-batch.
    #[must_use]
    pub fn server(self) -> ServerReader {
        self.in_mode(Mode::Server)
    }

    fn in_mode(self, mode: Mode) -> ServerReader {
        ServerReader {
            session: self.session,
            options: Vec::new(),
            mode,
        }
    }
}

/// Configures a web service as the source of a stream.
#[derive(Clone, Debug)]
pub struct ServerReader {
    session: Session,
    options: Vec<(String, String)>,
    mode: Mode,
}

impl ServerReader {
    /// Where to listen, and under which path: the options `host`, `port` and `path`.
    ///
    /// `host` is a name, an IP address, `*` for all addresses, or `unix:/path` for a Unix domain
    /// socket (whose port is ignored). With port 0 the system picks one; see
    /// [`service_info`](crate::StreamingQuery::service_info).
    #[must_use]
    pub fn address(self, host: &str, port: u16, path: &str) -> Self {
        self.option("host", host)
            .option("port", port)
            .option("path", path)
    }

    /// Sets an option. All options are listed at [`options`](crate::options).
    #[must_use]
    pub fn option(mut self, key: &str, value: impl ToString) -> Self {
        self.options.push((key.to_owned(), value.to_string()));
        self
    }

    /// The stream of requests, ready for operators. Nothing is bound until the query starts.
    ///
    /// # Errors
    ///
    /// [`Error::Option`](crate::Error::Option) for an unknown key or a value that does not fit.
    pub fn load(self) -> Result<Pipeline<Server, Requests, Start>> {
        let mut options = Options::default();
        for (key, value) in &self.options {
            options.set(key, value)?;
        }
        Ok(Pipeline::from_origin(Server {
            session: self.session,
            options,
            mode: self.mode,
        }))
    }
}

/// A configured web service, not yet started: the origin of a pipeline.
#[derive(Clone, Debug)]
pub struct Server {
    pub(crate) session: Session,
    pub(crate) options: Options,
    pub(crate) mode: Mode,
}

impl HasMode for Server {
    fn mode(&self) -> Mode {
        self.mode
    }

    fn partitions(&self) -> usize {
        self.options.num_partitions
    }
}

impl Origin for Server {
    type Writer = StreamWriter;

    fn write_stream(self, chain: Box<dyn Chain>) -> StreamWriter {
        StreamWriter::new(self, chain)
    }
}

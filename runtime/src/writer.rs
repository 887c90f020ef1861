//! Where a stream's replies go, and the start of a query.

use std::fmt;

use snapback_operators::{Chain, Mode};

use crate::error::{Error, Result};
use crate::options::Options;
use crate::query::StreamingQuery;
use crate::reader::Server;
use crate::session::Session;
use crate::start::{Plan, start};
use crate::tee::TeeSink;
use crate::trigger::Trigger;

/// Configures the sink of a pipeline and starts it.
#[derive(Debug)]
#[must_use = "a pipeline does nothing until it is started"]
pub struct StreamWriter {
    session: Session,
    chain: Box<dyn Chain>,
    options: Options,
    late_options: Vec<(String, String)>,
    reply_to: Option<String>,
    query_name: Option<String>,
    trigger: Trigger,
    mode: Mode,
    tee: Option<TeeTo>,
}

/// The sink of a tee, which shows nothing of itself.
pub(crate) struct TeeTo(pub(crate) Box<dyn TeeSink>);

impl fmt::Debug for TeeTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TeeTo")
    }
}

impl StreamWriter {
    pub(crate) fn new(server: Server, chain: Box<dyn Chain>) -> Self {
        StreamWriter {
            session: server.session,
            chain,
            options: server.options,
            late_options: Vec::new(),
            reply_to: None,
            query_name: None,
            trigger: Trigger::default(),
            mode: server.mode,
            tee: None,
        }
    }

    /// Names the service that the replies go to. It can only be the one that the stream reads from,
    /// so this may be left out; a wrong name is an error at the start.
    pub fn reply_to(mut self, service: &str) -> Self {
        self.reply_to = Some(service.to_owned());
        self
    }

    /// Names the query; without this it has the name of its service.
    pub fn query_name(mut self, name: &str) -> Self {
        self.query_name = Some(name.to_owned());
        self
    }

    /// Sets an option; `start` tells of an unknown key or a value that does not fit. All options
    /// are listed at [`options`](crate::options).
    pub fn option(mut self, key: &str, value: impl ToString) -> Self {
        self.late_options.push((key.to_owned(), value.to_string()));
        self
    }

    /// Sets when micro-batches begin and epochs end: `Continuous::secs(1)`, which is also the
    /// default, or `ProcessingTime::secs(1)`.
    pub fn trigger(mut self, trigger: impl Into<Trigger>) -> Self {
        self.trigger = trigger.into();
        self
    }

    /// Writes what is served to a sink as well, requests with their replies, epoch by epoch; see
    /// [`tee`](crate::tee). A query has one tee; the last one given counts.
    pub fn tee(mut self, sink: impl TeeSink) -> Self {
        self.tee = Some(TeeTo(Box::new(sink)));
        self
    }

    /// Starts the query: opens its checkpoint, binds its listeners, starts its partitions. When it
    /// returns, requests are answered.
    ///
    /// # Errors
    ///
    /// Each variant of [`Error`] but [`Error::Partition`]; what had begun is undone.
    pub fn start(mut self) -> Result<StreamingQuery> {
        for (key, value) in &self.late_options {
            self.options.set(key, value)?;
        }
        let service = self.options.service_name().to_owned();
        if let Some(reply_to) = self.reply_to.filter(|reply_to| *reply_to != service) {
            return Err(Error::ReplyTo { reply_to, service });
        }
        if self.trigger.epoch_interval().is_zero() {
            return Err(Error::Trigger);
        }
        // The head is one listener, whatever works on what comes in there.
        if self.mode == Mode::Server {
            self.options.num_partitions = 1;
        }
        start(Plan {
            session: self.session,
            chain: self.chain,
            name: self.query_name.unwrap_or_else(|| service.clone()),
            service,
            options: self.options,
            trigger: self.trigger,
            tee: self.tee.map(|TeeTo(sink)| sink),
        })
    }
}

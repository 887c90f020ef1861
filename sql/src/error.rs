//! Why a column pipeline cannot be built.

use datafusion::error::DataFusionError;

use crate::ddl::DdlError;
use crate::parsing_check::UnknownParsingCheck;

/// The result of building a column pipeline.
pub type Result<T> = std::result::Result<T, SqlError>;

/// Why a column pipeline cannot be built. All of it is found before a query starts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlError {
    /// The schema is not written as a DDL string is.
    #[error(transparent)]
    Ddl(#[from] DdlError),
    /// The schema names a check that there is not.
    #[error(transparent)]
    ParsingCheck(#[from] UnknownParsingCheck),
    /// A column has a type that JSON cannot be parsed into.
    #[error(
        "column `{column}` cannot be parsed from a request: {data_type} is not one of the types \
         that JSON is parsed into ({})",
        crate::schema::TYPES
    )]
    Type {
        /// The path to the column.
        column: String,
        /// Its Arrow type.
        data_type: String,
    },
    /// The schema has a column twice, or one of a name that is taken.
    #[error(
        "the stream has the column `{column}` twice; `id` is the request's own id, and `request` the \
         request itself"
    )]
    Twice {
        /// The name.
        column: String,
    },
    /// A query parameter or a header field is one text, and cannot be read as this type.
    #[error(
        "`{column}` cannot be {data_type}: a query parameter or a header field is one value; take a \
         STRING, a number, a BOOLEAN or a time"
    )]
    NotOneText {
        /// The name.
        column: String,
        /// Its Arrow type.
        data_type: String,
    },
    /// `parse_request` comes behind what reads its columns.
    #[error("parse_request comes first: the columns here are {columns} already")]
    Parsed {
        /// What columns there are.
        columns: String,
    },
    /// The context has a table of the name that the stream has.
    #[error(
        "the context has a table `requests`, which is the name of the stream: register the table \
         under another name"
    )]
    NameTaken,
    /// The plan does not read the stream, so there is nothing to answer with.
    #[error("the plan does not read `requests`: select from it, or from a join with it")]
    NotFromRequests,
    /// The plan has an operator that a row by itself cannot pass.
    #[error(transparent)]
    NotRowWise(#[from] NotRowWise),
    /// The plan makes one row of several requests, and does not say whose reply that is.
    #[error(
        "{operator} makes rows of several requests, and nothing says whose reply each of them is: \
         keep the column `id` up to the reply, by a window such as `count(*) OVER ()`, by GROUP BY \
         id, first_value(id), or a join back to `requests`"
    )]
    WhoseReply {
        /// The operator, in SQL's words.
        operator: String,
    },
    /// The plan moves rows between partitions, which this mode does not do.
    #[error(
        "distributed mode cannot repartition requests: each is answered where it came to; server \
         mode will"
    )]
    Repartitioned,
    /// A condition is no truth value.
    #[error("`{expression}` is no condition: it is {data_type}, and a condition is BOOLEAN")]
    NotBoolean {
        /// The expression, in SQL.
        expression: String,
        /// Its type, as DDL.
        data_type: String,
    },
    /// There is no column but the request's own.
    #[error("nothing is there to reply with: select a column beside `id` and `request`")]
    NothingToReply,
    /// Tables are to be read again when they change, and none of them does.
    #[error(
        "reload_tables finds no file: tables that are registered as a file on local disk, by \
         register_csv and the like, and those that a stream fills are read anew; any other table in \
         memory does not change"
    )]
    NoFiles,
    /// DataFusion refused the plan, or could not read a table.
    #[error("{0}")]
    Plan(String, #[source] Box<DataFusionError>),
    /// The thread that plans could not be started.
    #[error("the thread that plans cannot be started: {0}")]
    Planner(#[from] std::io::Error),
}

impl From<DataFusionError> for SqlError {
    fn from(error: DataFusionError) -> Self {
        SqlError::Plan(error.strip_backtrace(), Box::new(error))
    }
}

/// An operator of the plan needs more than the row at hand, and the continuous mode answers each
/// request from its own row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("continuous mode cannot run {operator}: {reason}; {way_out}")]
pub struct NotRowWise {
    /// The operator, in SQL's words.
    pub operator: String,
    /// Why it is not row-wise.
    pub reason: &'static str,
    /// The mode that runs it, or another way to write it.
    pub way_out: &'static str,
}

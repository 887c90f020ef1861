//! Columns and SQL for Snapback: one definition for a batch file and for live requests.
//!
//! The prelude adds [`columns`](Columns::columns) to a loaded stream. What follows is planned by
//! DataFusion once, when the pipeline is built, and evaluated over Arrow columns on the partition's
//! own thread: all requests of one turn as one record batch, with no planning, no task and no
//! thread hop. The hello world of Spark Serving, without a socket:
//!
//! ```
//! use snapback::Pipeline;
//! use snapback_sql::prelude::*;
//!
//! # fn main() -> snapback_sql::Result<()> {
//! let mut service = Pipeline::detached()
//!     .columns()
//!     .parse_request("foo STRING, bar INT")?
//!     .with_column("fooLength", character_length(col("foo")))?
//!     .make_reply(col("fooLength"))?
//!     .test();
//! service.post(r#"{"foo":"hello","bar":1}"#).expect(200, r#"{"fooLength":5}"#);
//! assert_eq!(service.post(r#"{"foo":"hello"}"#).status, 400);
//! # Ok(())
//! # }
//! ```
//!
//! The same in SQL, with a table that lies in memory:
//!
//! ```
//! use snapback::Pipeline;
//! use snapback_sql::{context, prelude::*};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tables = context();
//! let cities = DataFrame::from_columns(vec![
//!     ("zip", snapback_sql::strings(["98052", "10001"])),
//!     ("city", snapback_sql::strings(["Redmond", "New York"])),
//! ])?;
//! tables.register_table("cities", cities.into_view())?;
//!
//! let mut service = Pipeline::detached()
//!     .columns_in(&tables)
//!     .parse_request("zip STRING")?
//!     .sql("SELECT city FROM requests JOIN cities ON requests.zip = cities.zip")?
//!     .make_reply(col("city"))?
//!     .test();
//! service.post(r#"{"zip":"98052"}"#).expect(200, "Redmond");
//! assert_eq!(service.post(r#"{"zip":"0"}"#).status, 204);
//! # Ok(())
//! # }
//! ```

pub mod ddl;

mod batch;
mod clock;
mod describe;
mod durable;
mod early;
mod error;
mod evaluation;
mod explain;
mod failure;
pub mod functions;
mod input;
#[cfg(feature = "internals")]
pub mod internals;
mod json_schema;
mod micro;
mod operator;
mod parsing_check;
mod plan;
mod planner;
mod planning;
mod reload;
mod reply;
mod request_log;
mod schema;
pub mod sink;
mod stream;
pub mod streams;

pub use error::{NotRowWise, Result, SqlError};
pub use explain::{Explanation, SampleRequest, StageCosts};
pub use operator::ColumnOperator;
pub use parsing_check::{ParsingCheck, UnknownParsingCheck};
pub use reply::{ReplyMode, UnknownReplyMode};
pub use request_log::{LOG_COLUMNS, LogColumnError, RequestLog};
pub use schema::IntoSchema;
pub use stream::{ColumnStream, Columns, REQUESTS, context, strings};

/// The DataFusion that plans and evaluates, in the version that fits.
pub use datafusion;

/// What a program with columns names: DataFusion's own prelude, and what this crate adds to it.
pub mod prelude {
    pub use crate::functions::{
        binary_to_response, empty_response, request_to_string, string_to_response,
    };
    pub use crate::streams::TableSources;
    pub use crate::{ColumnStream, Columns, ParsingCheck, ReplyMode, col};
    pub use datafusion::prelude::*;
}

use datafusion::prelude::{Expr, ident};

/// The column of this name, as it is written.
///
/// DataFusion's own `col` lower-cases a name that is not quoted and splits it at dots, so that
/// `col("fooLength")` looks for `foolength`; this one does neither.
pub fn col(name: impl Into<String>) -> Expr {
    ident(name)
}

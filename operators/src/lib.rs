//! The pure part of Snapback: requests, replies, rows, and the operators that connect them.
//!
//! Nothing here opens a socket, starts a thread or reads a clock. A pipeline is a value: it is
//! built from operators, one file each, and driven by whoever has a request, the runtime's
//! partitions or a unit test:
//!
//! ```
//! # extern crate snapback_operators as snapback;
//! use serde::{Deserialize, Serialize};
//! use snapback_operators::{Pipeline, Row};
//!
//! #[derive(Deserialize, Row)]
//! struct Hello { foo: String }
//! #[derive(Serialize)]
//! struct FooLength { #[serde(rename = "fooLength")] foo_length: usize }
//!
//! let mut service = Pipeline::detached()
//!     .parse_request::<Hello>()
//!     .map(|row| FooLength { foo_length: row.foo.len() })
//!     .make_reply()
//!     .test();
//! service.post(r#"{"foo":"hello"}"#).expect(200, r#"{"fooLength":5}"#);
//! ```

mod batch;
mod chain;
mod context;
mod defer;
mod describe;
mod describe_reply;
mod filter;
mod headers;
mod inspect;
mod lookup;
mod make_reply;
mod map;
mod map_async;
mod mode;
mod operator;
mod parse_request;
mod pipeline;
mod process;
mod refusal;
mod reply;
mod request;
mod row;
mod row_fn;
mod send_reply;
pub mod test;
mod text;
mod trace;
mod try_map;
mod update;

pub use batch::{Batch, BatchOptions, discard_payload};
pub use chain::{Chain, Compiled, Panicked};
pub use context::Context;
pub use defer::{Host, KeptHead, Place, Sink, Ticket, Turn, Work};
pub use describe::{Body, Content, Description, Parameter, Place as ParameterPlace, schema_of};
pub use describe_reply::DescribeReply;
pub use filter::Filter;
pub use headers::Headers;
pub use inspect::Inspect;
pub use lookup::{Lookup, Table};
pub use make_reply::{MakeReply, MakeReplyWith, SerializeRow};
pub use map::Map;
pub use map_async::{MAX_IN_FLIGHT, MapAsync};
pub use mode::{HasMode, Mode};
pub use operator::{Operator, Start, Then};
pub use parse_request::{ParseRequest, ParseRow};
pub use pipeline::{Detached, Origin, Pipeline};
pub use process::Process;
pub use refusal::{IntoRefusal, Refusal};
pub use reply::{ContentType, Reply, ReplyFault, ReplyHead, reason_phrase};
pub use request::{CorrelationId, Peer, REQUEST_ID_HEADER, Request, RequestId, Run};
pub use row::{Finished, Owned, ParseSafe, Replied, Requests, Row, Unparsed};
pub use row_fn::{Plain, RowFn, WithRequest};
pub use send_reply::{IntoReply, SendReply};
pub use snapback_derive::Row;

// The derive writes `::snapback::Row`, since that is the crate which users name.
extern crate self as snapback;
pub use trace::{SpanId, TraceContext, TraceId};
pub use try_map::TryMap;
pub use update::Update;

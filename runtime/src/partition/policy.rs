//! The settings of a query that a request meets.

use std::sync::Arc;

use super::prepare::Admission;
use crate::auth::Auth;
use crate::connection::TimeLimits;
use crate::http1::Limits;
use crate::openapi::OpenApi;
use crate::options::Options;
use crate::route::Route;

/// The settings of a query that a request meets.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) limits: Limits,
    pub(crate) route: Route,
    /// The status of a request whose row left the pipeline without a reply.
    pub(crate) unanswered_status: u16,
    /// How often a request is tried whose operators panic.
    pub(crate) max_attempts: u32,
    /// Replies that may wait in one connection.
    pub(crate) max_pipelined: usize,
    /// Bytes of replies that may wait in one connection before it is not decoded further.
    pub(crate) max_reply_buffer_bytes: usize,
    /// Requests that one connection may send.
    pub(crate) max_requests: u64,
    /// How long a connection may take for what.
    pub(crate) times: TimeLimits,
    pub(crate) admission: Admission,
    /// What is told at a path of its own; none where that is switched off.
    pub(crate) open_api: Option<Arc<OpenApi>>,
}

impl Policy {
    /// What the options say, whom the keys let in, and what is told of the service.
    pub(crate) fn of(options: &Options, auth: Option<Arc<Auth>>, open_api: &Arc<OpenApi>) -> Self {
        Policy {
            limits: Limits {
                max_head_bytes: options.max_head_bytes,
                max_body_bytes: options.max_request_bytes,
                ..Limits::default()
            },
            route: Route::new(&options.path),
            unanswered_status: options.unanswered_reply,
            max_attempts: options.max_attempts,
            max_pipelined: options.max_pipelined,
            max_reply_buffer_bytes: options.max_reply_buffer_bytes,
            admission: Admission::new(options, auth),
            max_requests: match options.max_requests_per_connection {
                0 => u64::MAX,
                requests => requests,
            },
            times: TimeLimits::of(options),
            open_api: options.open_api.then(|| Arc::clone(open_api)),
        }
    }
}

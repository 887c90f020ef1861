//! Requests that end otherwise than by their pipeline's reply.

use snapback_operators::Context;

use crate::io::clock::unix_seconds;
use crate::log_limit::LogLimit;
use crate::panics;

/// Answers a request whose row left the pipeline without a reply, or with one that must not be
/// sent.
#[inline]
pub(super) fn complete(cx: &mut Context<'_, '_>, unanswered_status: u16, log: &mut LogLimit) {
    let reply = cx.reply();
    if reply.is_open() {
        reply.status(unanswered_status).empty();
    }
    if reply.fault().is_some() {
        refuse_reply(cx, log);
    }
}

/// The log says where an operator failed, and nothing of what the panic said, which may hold a part
/// of the request.
#[cold]
pub(super) fn log_failure(attempts: u32, cx: &Context<'_, '_>, log: &mut LogLimit) {
    let place = panics::take_place();
    if let Some(suppressed) = log.pass(unix_seconds()) {
        let place = place.map_or_else(|| "an unknown place".to_owned(), |place| place.to_string());
        let request_id = cx.request().id();
        let correlation_id = cx.request().correlation_id();
        tracing::error!(%request_id, %correlation_id, attempts, place, suppressed, "an operator failed: answered 500");
    }
}

/// The pipeline's reply must not be sent.
#[cold]
fn refuse_reply(cx: &mut Context<'_, '_>, log: &mut LogLimit) {
    let (id, correlation_id) = (cx.request().id(), cx.request().correlation_id());
    if let Some(fault) = cx.reply().fault()
        && let Some(suppressed) = log.pass(unix_seconds())
    {
        tracing::error!(request_id = %id, %correlation_id, %fault, suppressed, "the pipeline's reply cannot be sent: answered 500");
    }
    cx.reply().reset();
    cx.problem(500, "there is no reply that could be sent to request");
}

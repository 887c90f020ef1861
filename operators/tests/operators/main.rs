//! The operators as a user meets them: a pipeline, requests, replies.

// The derive names the crate as users do.
extern crate snapback_operators as snapback;

mod identity;
mod make_reply;
mod panics;
mod parse_request;
mod properties;
mod replies;
mod requests;
mod rows;
mod schemas;
mod steps;

//! What a hostile client, disk or operator may hand to Snapback.
//!
//! Each module is one fuzz target: its function `run` takes any bytes, and panics if a promise is
//! broken. `cargo fuzz` calls it with bytes that it makes up, guided by coverage; the tests call
//! it with the committed files of `corpus/`, so that what was found once stays found.
//!
//! | module | what is under test | what must hold |
//! |---|---|---|
//! | [`head`] | the head of a request | the same answer in any split, and the framing of [`model`] |
//! | [`chunked`] | a chunked body | the same |
//! | [`connection`] | several requests, split anywhere, under tight limits | the same, and the limits |
//! | [`content`] | an encoded body | decoded within its limit to the byte, or refused |
//! | [`oracle`] | any bytes, given to hyper as well | the same verdict, or a row that says why not |
//! | [`proxy`] | the PROXY header of a balancer | the same answer however much follows, and a second reading |
//! | [`checkpoint`] | a directory that no query wrote | refused and unchanged, or whole and usable |
//! | [`options`] | texts as options | refused and unchanged, or within their range |

pub mod checkpoint;
pub mod chunked;
pub mod connection;
pub mod content;
pub mod head;
pub mod model;
pub mod options;
pub mod oracle;
pub mod proxy;

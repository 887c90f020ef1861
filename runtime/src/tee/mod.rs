//! The tee: served requests, with their replies, into a sink beside the service.
//!
//! A request is answered at once; a copy of what the sink wants of it goes into a buffer of its
//! partition. At the end of the turn that sees a new epoch the buffer is handed over, and the tee's
//! own thread writes the rows of all partitions to the sink; then the checkpoint takes the epoch.
//! So a reply never waits for the sink. When a partition's buffer is full (`teeBufferBytes`),
//! requests are refused before they are worked on, or their rows are dropped and counted
//! (`teeOverflow`).
//!
//! ```
//! use std::sync::mpsc;
//! use snapback::Session;
//! use snapback::tee::{Fields, Opening, Served, SinkError, TeeSink};
//!
//! /// Sends what was asked and answered to whoever listens.
//! struct Talk(mpsc::Sender<(String, u16)>);
//!
//! impl TeeSink for Talk {
//!     fn fields(&self) -> Fields {
//!         Fields::REQUEST
//!     }
//!
//!     fn open(&mut self, _opening: &Opening) -> Result<(), SinkError> {
//!         Ok(())
//!     }
//!
//!     fn write(&mut self, _epoch: u64, served: &[Served]) -> Result<(), SinkError> {
//!         for rows in served {
//!             for row in 0..rows.len() {
//!                 let said = String::from_utf8_lossy(rows.requests().get(row)).into_owned();
//!                 self.0.send((said, rows.statuses()[row]))?;
//!             }
//!         }
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (talk, heard) = mpsc::channel();
//! let query = Session::new()
//!     .read_stream()
//!     .continuous_server()
//!     .address("localhost", 0, "echo")
//!     .load()?
//!     .map(|request| request.body().len())
//!     .make_reply()
//!     .write_stream()
//!     .tee(Talk(talk))
//!     .start()?;
//! # query.stop()?;
//! # drop(heard);
//! # Ok(())
//! # }
//! ```

pub(crate) mod pipe;
mod recorder;
mod recording;
mod served;
mod sink;
mod state;
mod thread;

pub use served::{Fields, Served, Texts};
pub use sink::{Opening, Resume, SinkError, TeeSink};

pub(crate) use recorder::{Recorder, Stash};
pub(crate) use recording::Recording;
pub(crate) use state::{Tee, TeeSeen};
pub(crate) use thread::{Command, TeeThread, Teed};

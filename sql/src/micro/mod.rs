//! Micro-batches: any plan, over the requests that came together, on a thread beside the partition.
//!
//! ```text
//! partition: requests ──▶ record batch ──job──▶ worker: plan ──▶ rows ──done, wake──▶ partition: replies
//! ```
//!
//! A plan is made once. Where it is row-wise, it is the same program that the continuous mode runs;
//! else it is DataFusion's physical plan, which is executed anew for each batch. So that it is known
//! whose reply each of its rows is, the number of its request is carried through it ([`carry`]);
//! where rows of several requests become one, the plan itself must say `id`.

mod carry;
mod crew;
mod plan;
mod source;
mod tables;

pub(crate) use carry::repartitions;
pub(crate) use crew::{Crew, Done, Job, Work};
#[cfg(feature = "internals")]
pub(crate) use plan::MicroPlan;
pub(crate) use plan::{Planned, Query};

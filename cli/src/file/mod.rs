//! Service files: read, checked, and told where they are wrong.

mod check;
mod environment;
mod problem;
mod read;
mod schema;
mod shape;
mod yaml;

pub(crate) use problem::{Problem, Report};
pub(crate) use read::{Located, ServiceFile, read};
pub(crate) use schema::{json_schema, reference};
pub(crate) use shape::{FORMATS, nearest, quoted};

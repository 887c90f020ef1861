//! Snapback: a streaming pipeline as a web service.

#[allow(dead_code)]
pub mod checkpoint;
mod io;
pub mod options;
pub mod service_info;

pub use io::listen::BindError;
pub use io::pin::PinError;

//! Snapback.

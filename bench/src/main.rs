//! Servers to measure and the load that measures them.
fn main() {}

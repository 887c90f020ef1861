//! Services of columns describe themselves, and programs that others wrote agree with what they say.

mod documents;
mod programs;
#[path = "../support/mod.rs"]
mod support;

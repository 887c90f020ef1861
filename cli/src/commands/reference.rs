//! `snapback schema` and `snapback reference`: what may stand in a file.

use std::process::ExitCode;

use super::Outcome;
use crate::file;

pub(super) fn schema() -> Outcome {
    println!("{}", serde_json::to_string_pretty(&file::json_schema())?);
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::unnecessary_wraps, reason = "as every command")]
pub(super) fn reference() -> Outcome {
    print!("{}", file::reference());
    Ok(ExitCode::SUCCESS)
}

//! What a command has to say: text for people, JSON for programs.

use std::error::Error;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

/// Writes to standard output. Whoever reads there may leave when he has seen enough (`| head`).
///
/// # Errors
/// The output cannot be written for another reason.
pub fn say(text: impl fmt::Display) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match write!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Writes `value` into a file, where one was asked for.
///
/// # Errors
/// The file cannot be written; the message names it.
pub fn write_json(path: Option<&Path>, value: &impl Serialize) -> Result<(), Box<dyn Error>> {
    let Some(path) = path else { return Ok(()) };
    let json = serde_json::to_vec_pretty(value)?;
    fs::write(path, json).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(())
}

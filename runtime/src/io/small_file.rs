//! Files that are read whole.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The text of a file that has `max_bytes` at most.
pub(crate) fn read(path: &Path, max_bytes: u64) -> io::Result<String> {
    let mut text = String::new();
    let bytes = File::open(path)?
        .take(max_bytes.saturating_add(1))
        .read_to_string(&mut text)?;
    if bytes as u64 > max_bytes {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {max_bytes} bytes"),
        ));
    }
    Ok(text)
}

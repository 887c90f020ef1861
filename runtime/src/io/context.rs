//! Says what was tried when a system call failed.

use std::io;

use rustix::io::Errno;

pub(crate) trait IoContext<T> {
    /// `cannot <action>: <reason>`
    fn context(self, action: &str) -> io::Result<T>;
}

impl<T> IoContext<T> for Result<T, Errno> {
    fn context(self, action: &str) -> io::Result<T> {
        self.map_err(|errno| {
            let reason = io::Error::from(errno);
            io::Error::new(reason.kind(), format!("cannot {action}: {reason}"))
        })
    }
}

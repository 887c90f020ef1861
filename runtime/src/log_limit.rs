//! A bound on how fast a fault may fill the log.

/// Lines of one kind that a partition may write in a second.
const LINES_PER_SECOND: u32 = 10;

/// Lets so many lines pass in a second, and counts the others.
#[derive(Debug, Default)]
pub(crate) struct LogLimit {
    second: u64,
    lines: u32,
    suppressed: u64,
}

impl LogLimit {
    /// Whether a line may be written in this second; if so, how many were left out before it.
    pub(crate) fn pass(&mut self, unix_second: u64) -> Option<u64> {
        if unix_second != self.second {
            self.second = unix_second;
            self.lines = 0;
        }
        if self.lines == LINES_PER_SECOND {
            self.suppressed += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_counted_and_not_written() {
        let mut limit = LogLimit::default();
        let passed = (0..1000).filter(|_| limit.pass(7).is_some()).count();
        assert_eq!(passed, LINES_PER_SECOND as usize);
        assert_eq!(limit.pass(8), Some(1000 - u64::from(LINES_PER_SECOND)));
        assert_eq!(limit.pass(8), Some(0));
    }
}

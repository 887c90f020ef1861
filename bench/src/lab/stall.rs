//! How often and how long a core stands still by itself: what no server on it can do anything about.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::process::{PinError, pin};

/// Gaps shorter than this are the clock's and the loop's own.
const GAP_NS: u64 = 10_000;

/// What a clock reader on a core saw.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Probe {
    /// The core.
    pub(super) core: usize,
    /// How long it looked.
    pub(super) looked_ms: f64,
    /// Gaps between two readings of 10 µs or more, as (ns, how often), at three significant digits.
    pub(super) gaps_ns: Vec<(u64, u64)>,
    /// The longest of them, in µs; 0 when there was none.
    pub(super) longest_us: f64,
    /// The part of the time that went into them, from 0 to 1.
    pub(super) stolen: f64,
}

/// Reads the clock on `core` for so long, as fast as it goes, and notes the gaps.
///
/// # Errors
/// The core is not there.
pub(super) fn probe(core: usize, time: Duration) -> Result<Probe, PinError> {
    pin(core)?;
    let mut gaps = Gaps::new();
    let begin = Instant::now();
    let mut last_ns = 0;
    let mut now_ns = 0;
    while now_ns < time.as_nanos() as u64 {
        now_ns = begin.elapsed().as_nanos() as u64;
        gaps.note(now_ns - last_ns);
        last_ns = now_ns;
    }
    Ok(gaps.into_probe(core, now_ns))
}

struct Gaps {
    histogram: Histogram<u64>,
    total_ns: u64,
}

impl Gaps {
    fn new() -> Gaps {
        let histogram = Histogram::new_with_bounds(1, 100_000_000_000, 3);
        Gaps {
            histogram: histogram.expect("the bounds are constants, and valid"),
            total_ns: 0,
        }
    }

    #[inline]
    fn note(&mut self, gap_ns: u64) {
        if gap_ns >= GAP_NS {
            self.histogram.saturating_record(gap_ns);
            self.total_ns += gap_ns;
        }
    }

    fn into_probe(self, core: usize, looked_ns: u64) -> Probe {
        let recorded = self.histogram.iter_recorded();
        let counts = recorded.map(|step| (step.value_iterated_to(), step.count_at_value()));
        Probe {
            core,
            looked_ms: looked_ns as f64 / 1e6,
            gaps_ns: counts.collect(),
            longest_us: self.histogram.max() as f64 / 1e3,
            stolen: self.total_ns as f64 / looked_ns.max(1) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_told_from_the_clock() {
        let mut gaps = Gaps::new();
        for gap_ns in [30, 9_999, 20_000, 2_000_000] {
            gaps.note(gap_ns);
        }
        let probe = gaps.into_probe(0, 4_040_000);
        assert_eq!(probe.gaps_ns.iter().map(|(_, count)| count).sum::<u64>(), 2);
        assert!((1_999.0..2_002.0).contains(&probe.longest_us), "{probe:?}");
        assert!((probe.stolen - 0.5).abs() < 1e-6, "{probe:?}");
    }

    #[test]
    fn a_core_is_probed_for_as_long_as_asked() {
        let cores = core_affinity::get_core_ids().expect("the cores of this process");
        let probe = probe(cores[0].id, Duration::from_millis(5)).expect("the core is there");
        assert!(probe.looked_ms >= 5.0, "{probe:?}");
    }
}

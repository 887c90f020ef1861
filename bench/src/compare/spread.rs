//! The middle of some values, and a range around it.

use std::fmt;

/// The middle of some values, and a range around it: where half of them lie, or where the middle of all
/// that could have been measured lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Half of the values are below.
    pub median: f64,
    /// Where the range begins.
    pub low: f64,
    /// Where it ends.
    pub high: f64,
}

impl Spread {
    /// The range is that between the quartiles, which are interpolated: for few values. NaN when there
    /// are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let sorted = sorted(values);
        let at = |part: f64| {
            let Some(last) = sorted.len().checked_sub(1) else {
                return f64::NAN;
            };
            let place = part * last as f64;
            let (below, above) = (
                sorted[place.floor() as usize],
                sorted[place.ceil() as usize],
            );
            below + (above - below) * place.fract()
        };
        Spread {
            median: at(0.5),
            low: at(0.25),
            high: at(0.75),
        }
    }

    /// The range is that in which the median of the whole population lies, 19 times of 20: for a dozen
    /// values and more, of which it narrows with their number. NaN when there are none.
    ///
    /// From order statistics: the number of values below the true median is binomial (n, ½), whatever
    /// the distribution. The normal approximation of it is good from a dozen values on.
    pub fn of_median(values: impl IntoIterator<Item = f64>) -> Spread {
        let sorted = sorted(values);
        let n = sorted.len();
        let Some(last) = n.checked_sub(1) else {
            return Spread {
                median: f64::NAN,
                low: f64::NAN,
                high: f64::NAN,
            };
        };
        let reach = 1.96 * (n as f64).sqrt() / 2.0;
        let low = (n as f64 / 2.0 - reach).floor().max(1.0) as usize - 1;
        Spread {
            median: f64::midpoint(sorted[last / 2], sorted[n / 2]),
            low: sorted[low],
            high: sorted[last - low],
        }
    }
}

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spread { median, low, high } = self;
        write!(f, "{median:.3} ({low:.3}–{high:.3})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(low: f64, median: f64, high: f64) -> Spread {
        Spread { median, low, high }
    }

    #[test]
    fn quartiles_are_interpolated() {
        assert_eq!(Spread::of([4.0, 1.0, 3.0, 2.0]), spread(1.75, 2.5, 3.25));
        assert_eq!(Spread::of([7.0]).to_string(), "7.000 (7.000–7.000)");
        assert!(Spread::of([]).median.is_nan());
    }

    #[test]
    fn the_interval_of_a_median_is_that_of_the_tables() {
        // n = 100: the 40th and the 61st value, as tables of the sign test give it.
        let interval = Spread::of_median((1..=100).map(f64::from));
        assert_eq!(interval, spread(40.0, 50.5, 61.0));
        assert_eq!(Spread::of_median([2.0, 1.0, 3.0]), spread(1.0, 2.0, 3.0));
        assert!(Spread::of_median([]).median.is_nan());
    }
}

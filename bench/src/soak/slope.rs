//! A straight line through measured points.

use serde::Serialize;

/// The line for which the sum of the squared distances to the points is the least.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Line {
    /// By how much y grows with each x.
    pub slope: f64,
    /// The standard error of the slope; 0 for two points.
    pub slope_error: f64,
    /// By how much the line grows from the first point to the last.
    pub rise: f64,
}

impl Line {
    /// Through points in the order of their x; none for fewer than two different x.
    pub fn through(points: &[(f64, f64)]) -> Option<Line> {
        let n = points.len() as f64;
        let (first, last) = (points.first()?, points.last()?);
        let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / n;
        let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / n;
        let spread: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
        if spread == 0.0 {
            return None;
        }
        let product = |(x, y): &(f64, f64)| (x - mean_x) * (y - mean_y);
        let slope = points.iter().map(product).sum::<f64>() / spread;
        let residual = |(x, y): &(f64, f64)| (y - mean_y - slope * (x - mean_x)).powi(2);
        let residuals: f64 = points.iter().map(residual).sum();
        let freedom = n - 2.0;
        Some(Line {
            slope,
            slope_error: match freedom > 0.0 {
                true => (residuals / freedom / spread).sqrt(),
                false => 0.0,
            },
            rise: slope * (last.0 - first.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_on_a_line_give_that_line() {
        let points: Vec<_> = (0..10)
            .map(|x| (f64::from(x), 5.0 + 3.0 * f64::from(x)))
            .collect();
        let line = Line::through(&points).expect("ten points");
        assert!((line.slope - 3.0).abs() < 1e-12, "{line:?}");
        assert!(line.slope_error < 1e-12, "{line:?}");
        assert!((line.rise - 27.0).abs() < 1e-12, "{line:?}");
    }

    #[test]
    fn noise_is_in_the_error_of_the_slope() {
        // By hand: means 2 and 2, Sxx = 10, Sxy = 6, residuals 0.64 + 1.96 + 0 + 1.96 + 0.64 = 2.4
        // less; with y = 1, 2, 1, 4, 2 the slope is 0.4 and the residuals are 4.4.
        let ys = [1.0, 2.0, 1.0, 4.0, 2.0];
        let points: Vec<_> = ys.iter().enumerate().map(|(x, y)| (x as f64, *y)).collect();
        let line = Line::through(&points).expect("five points");
        assert!((line.slope - 0.4).abs() < 1e-12, "{line:?}");
        assert!(
            (line.slope_error - (4.4_f64 / 3.0 / 10.0).sqrt()).abs() < 1e-12,
            "{line:?}"
        );
    }

    #[test]
    fn one_place_has_no_slope() {
        assert_eq!(Line::through(&[]), None);
        assert_eq!(Line::through(&[(1.0, 1.0), (1.0, 2.0)]), None);
    }
}

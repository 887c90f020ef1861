//! Axes that have labels just where they are told.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::*;

/// An axis that has labels just where it is told.
pub(super) struct Labelled {
    range: Range<f64>,
    at: Vec<f64>,
    scale: Scale,
}

impl Labelled {
    /// An axis on which equal ratios are equally long, with labels at 1, 2 and 5 of each decade.
    pub(super) fn logarithmic(range: Range<f64>) -> Labelled {
        let decades = range.start.log10().floor() as i32..=range.end.log10().ceil() as i32;
        let all = decades.flat_map(|decade| [1.0, 2.0, 5.0].map(|m| m * 10.0_f64.powi(decade)));
        let mut at: Vec<_> = all.filter(|value| range.contains(value)).collect();
        // Over many decades, whole ones are enough.
        if at.len() > 10 {
            at.retain(|value| value.log10().fract().abs() < 1e-9);
        }
        Labelled {
            range,
            at,
            scale: Scale::Logarithmic,
        }
    }

    /// An axis on which equal differences are equally long.
    pub(super) fn linear(range: Range<f64>, at: Vec<f64>) -> Labelled {
        Labelled {
            range,
            at,
            scale: Scale::FromZero,
        }
    }
}

impl Ranged for Labelled {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let Range { start, end } = self.range;
        let part = match self.scale {
            Scale::FromZero => (value - start) / (end - start),
            Scale::Logarithmic => (value / start).ln() / (end / start).ln(),
        };
        first + (part * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.at.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

/// How values are laid out.
#[derive(Clone, Copy, Debug)]
pub(in crate::lab) enum Scale {
    /// Equal ratios are equally high.
    Logarithmic,
    /// Equal differences are, and zero is shown.
    FromZero,
}

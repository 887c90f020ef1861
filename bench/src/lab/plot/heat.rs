//! Which latencies were seen when.

use plotters::prelude::*;

use super::axis::Labelled;
use super::{FONT, HEIGHT, PlotError, around, chart, draw, plain};
use crate::load::HeatMap;

/// Where an epoch was cut.
const CUT: RGBColor = RGBColor(0x00, 0x7f, 0x5f);
/// Where the machine stood still.
const STALL: RGBColor = RGBColor(0xc0, 0x39, 0x00);

/// What a heat map marks, in seconds since its beginning.
#[derive(Clone, Debug, Default)]
pub(in crate::lab) struct Marks {
    /// When epochs were cut.
    pub(in crate::lab) cuts_s: Vec<f64>,
    /// When the load generator's core stood still, and for how long.
    pub(in crate::lab) stalls_s: Vec<(f64, f64)>,
}

/// How many replies arrived when, with which latency: the darker, the more.
///
/// # Errors
/// There is nothing to draw.
pub(in crate::lab) fn heat_map(heat: &HeatMap, marks: &Marks) -> Result<String, PlotError> {
    let column_s = heat.column_ns as f64 / 1e9;
    let end_s = column_s * heat.columns.len() as f64;
    let cells = || {
        let columns = heat.columns.iter().enumerate();
        columns.flat_map(move |(column, counts)| {
            let seen = counts.iter().enumerate().filter(|&(_, &count)| count > 0);
            seen.map(move |(row, &count)| (column as f64 * column_s, row_us(heat, row), count))
        })
    };
    let most = cells().map(|(_, _, count)| count).max().unwrap_or(1);
    let (low, high) = around(cells().flat_map(|(_, (from, to), _)| [from, to]));
    // Room at the top for the stalls, whatever the latencies are.
    let high = high * (high / low).powf(0.08);
    draw("a heat map", HEIGHT, |root| {
        let mut chart =
            chart(root).build_cartesian_2d(0.0..end_s, Labelled::logarithmic(low..high))?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_desc("seconds")
            .y_desc("latency, µs")
            .y_label_formatter(&|&us| plain(us))
            .label_style(FONT)
            .light_line_style(TRANSPARENT)
            .draw()?;
        let cut = CUT.mix(0.6).stroke_width(1);
        chart
            .draw_series(
                marks
                    .cuts_s
                    .iter()
                    .filter(|&&at| (0.0..=end_s).contains(&at))
                    .map(|&at| PathElement::new([(at, low), (at, high)], cut)),
            )?
            .label("an epoch was cut")
            .legend(move |(x, y)| PathElement::new([(x + 9, y - 6), (x + 9, y + 6)], cut));
        let shade = |count: u32| {
            // Single requests must be seen beside thousands.
            let part = f64::from(count).ln_1p() / f64::from(most).ln_1p();
            let mix = |light: f64, dark: f64| (light + (dark - light) * part) as u8;
            RGBColor(mix(176.0, 0.0), mix(208.0, 32.0), mix(240.0, 96.0))
        };
        chart.draw_series(cells().map(|(at, (from, to), count)| {
            Rectangle::new([(at, from), (at + column_s, to)], shade(count).filled())
        }))?;
        let strip = high / (high / low).powf(0.04);
        chart
            .draw_series(marks.stalls_s.iter().map(|&(at, long)| {
                // A stall of a millisecond is thinner than a pixel.
                let until = at + long.max(end_s / 400.0);
                Rectangle::new([(at, strip), (until.min(end_s), high)], STALL.filled())
            }))?
            .label("the load's core stood still")
            .legend(|(x, y)| Rectangle::new([(x + 6, y - 5), (x + 12, y + 5)], STALL.filled()));
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .label_font(FONT)
            .draw()?;
        Ok(())
    })
}

/// From which latency to which a row of a heat map is, in µs; the last one has no end, and is drawn as
/// high as the others.
fn row_us(heat: &HeatMap, row: usize) -> (f64, f64) {
    let low = |row: usize| heat.rows_low_ns.get(row).map(|&ns| ns.max(1) as f64 / 1e3);
    let from = low(row).unwrap_or(1.0);
    (from, low(row + 1).unwrap_or(from * 1.12))
}

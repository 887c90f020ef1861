//! The pictures of a report, as SVG.
//!
//! They have no background and are drawn for a white page; a dark page inverts them and turns the hues
//! back, so every colour here must stand out from white.

mod axis;
mod heat;

use std::fmt::{self, Display};

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use axis::Labelled;
pub(super) use axis::Scale;
pub(super) use heat::{Marks, heat_map};

/// Why a picture could not be drawn: always a mistake in its data, such as a range that is empty.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw {figure}: {why}")]
pub(super) struct PlotError {
    figure: &'static str,
    why: String,
}

/// The width of all pictures, in px of their own; a page scales them.
const WIDTH: u32 = 860;
/// The height of most of them.
const HEIGHT: u32 = 400;

/// By lightness and hue apart, for those who see few colours. The second is that of what is measured again.
const COLOURS: [RGBColor; 9] = [
    RGBColor(0x00, 0x5f, 0xb8),
    RGBColor(0x70, 0x70, 0x70),
    RGBColor(0xc0, 0x39, 0x00),
    RGBColor(0x00, 0x7f, 0x5f),
    RGBColor(0x8a, 0x2b, 0xa0),
    RGBColor(0x8a, 0x6d, 0x00),
    RGBColor(0x6b, 0x3e, 0x1e),
    RGBColor(0xb0, 0x10, 0x60),
    RGBColor(0x00, 0x6f, 0x7f),
];

const FONT: (&str, i32) = ("sans-serif", 14);

/// The latencies of one server: its name, and how often each (in ns) was seen.
pub(super) type Series<'a> = (&'a str, &'a [(u64, u64)]);

/// Latency against percentile: how bad it gets for one request of two, of ten, of a hundred, and so on.
///
/// # Errors
/// There is nothing to draw.
pub(super) fn percentile_spectrum(series: &[Series<'_>]) -> Result<String, PlotError> {
    let spectra: Vec<_> = series
        .iter()
        .map(|(name, counts)| (*name, spectrum(counts)))
        .collect();
    let points = || spectra.iter().flat_map(|(_, points)| points);
    let (low, high) = around(points().map(|&(_, us)| us));
    let last = points().map(|&(nines, _)| nines).fold(1.0, f64::max);
    draw("a percentile spectrum", HEIGHT, |root| {
        let nines: Vec<f64> = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999_999]
            .into_iter()
            .map(nines_of)
            .filter(|&nines| nines <= last)
            .collect();
        let x = Labelled::linear(0.0..last, nines);
        let mut chart = chart(root).build_cartesian_2d(x, Labelled::logarithmic(low..high))?;
        chart
            .configure_mesh()
            .x_desc("percentile (each nine as wide as the one before)")
            .y_desc("latency, µs")
            .x_label_formatter(&|&nines| percentile(nines))
            .y_label_formatter(&|&us| plain(us))
            .label_style(FONT)
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (index, (name, points)) in spectra.iter().enumerate() {
            let style = COLOURS[index % COLOURS.len()].stroke_width(2);
            chart
                .draw_series(LineSeries::new(points.iter().copied(), style))?
                .label(*name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .label_font(FONT)
            .draw()?;
        Ok(())
    })
}

/// A bar: its name, its value, and the quartiles between which it varied.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    /// What it is of.
    pub(super) name: String,
    /// Its length.
    pub(super) value: f64,
    /// A quarter of the measurements was below the first, a quarter above the second.
    pub(super) quartiles: (f64, f64),
}

/// Bars from left to right, each with its quartiles as a whisker.
///
/// # Errors
/// There is nothing to draw.
pub(super) fn bars(unit: &str, bars: &[Bar]) -> Result<String, PlotError> {
    let highest = bars.iter().map(|bar| bar.quartiles.1.max(bar.value));
    let highest = highest.fold(0.0, f64::max);
    let height = 70 + 34 * bars.len() as u32;
    draw("bars", height, |root| {
        let count = bars.len() as f64;
        let rows = Labelled::linear(
            0.0..count,
            (0..bars.len()).map(|row| row as f64 + 0.5).collect(),
        );
        // The first one on top.
        let place = |row: usize| count - 1.0 - row as f64;
        let name = |&at: &f64| {
            let row = count - at;
            let bar = bars.get(row as usize);
            bar.map(|bar| bar.name.clone()).unwrap_or_default()
        };
        let mut chart = ChartBuilder::on(root)
            .margin(10)
            .x_label_area_size(46)
            .y_label_area_size(190)
            .build_cartesian_2d(0.0..highest * 1.05, rows)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .x_desc(unit)
            .x_label_formatter(&|&value| plain(value))
            .y_label_formatter(&name)
            .label_style(FONT)
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (row, bar) in bars.iter().enumerate() {
            let (bottom, colour) = (place(row), COLOURS[row % COLOURS.len()]);
            let body = Rectangle::new(
                [(0.0, bottom + 0.2), (bar.value, bottom + 0.8)],
                colour.mix(0.75).filled(),
            );
            chart.draw_series([body])?;
            let (from, to) = bar.quartiles;
            let whisker = |a, b| PathElement::new([a, b], BLACK.stroke_width(1));
            chart.draw_series([
                whisker((from, bottom + 0.5), (to, bottom + 0.5)),
                whisker((from, bottom + 0.38), (from, bottom + 0.62)),
                whisker((to, bottom + 0.38), (to, bottom + 0.62)),
            ])?;
        }
        Ok(())
    })
}

/// Named lines over the same places, for example runs, or a number of connections.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// What it is of.
    pub(super) name: String,
    /// The places by index, and the values there.
    pub(super) points: Vec<(usize, f64)>,
}

/// Lines over places that have labels instead of distances.
///
/// # Errors
/// There is nothing to draw.
pub(super) fn lines(
    x: &str,
    y: &str,
    labels: &[String],
    lines: &[Line],
    scale: Scale,
) -> Result<String, PlotError> {
    let values = || lines.iter().flat_map(|line| &line.points).map(|&(_, y)| y);
    let (low, high) = match scale {
        Scale::Logarithmic => around(values()),
        Scale::FromZero => (0.0, values().fold(0.0, f64::max) * 1.15),
    };
    // Of ratios nearly all are around 1, so there is room for the legend at the bottom.
    use SeriesLabelPosition::{LowerLeft, UpperLeft};
    let axes = (x, y, labels);
    draw("lines", HEIGHT, |root| match scale {
        Scale::Logarithmic => {
            let values = Labelled::logarithmic(low..high);
            draw_lines(root, axes, lines, values, UpperLeft)
        }
        Scale::FromZero => draw_lines(root, axes, lines, low..high, LowerLeft),
    })
}

fn draw_lines<Y>(
    root: &Root<'_>,
    (x, y, labels): (&str, &str, &[String]),
    lines: &[Line],
    values: Y,
    legend: SeriesLabelPosition,
) -> Drawn
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let last = labels.len().saturating_sub(1) as f64;
    let places = Labelled::linear(
        -0.3..last + 0.3,
        (0..labels.len()).map(|place| place as f64).collect(),
    );
    let mut chart = chart(root).build_cartesian_2d(places, values)?;
    let label = |&at: &f64| labels.get(at.round() as usize).cloned().unwrap_or_default();
    chart
        .configure_mesh()
        .x_desc(x)
        .y_desc(y)
        .x_label_formatter(&label)
        .y_label_formatter(&|&value| plain(value))
        .label_style(FONT)
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (index, line) in lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let points = line.points.iter().map(|&(place, y)| (place as f64, y));
        chart
            .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?
            .label(&line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(points.map(|point| Circle::new(point, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(legend)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .label_font(FONT)
        .draw()?;
    Ok(())
}

type Root<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw(
    figure: &'static str,
    height: u32,
    content: impl FnOnce(&Root<'_>) -> Drawn,
) -> Result<String, PlotError> {
    let failed = |why: &dyn Display| PlotError {
        figure,
        why: why.to_string(),
    };
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
    content(&root).map_err(|error| failed(&error))?;
    root.present().map_err(|error| failed(&error))?;
    drop(root);
    Ok(svg)
}

fn chart<'a, 'b>(root: &'a Root<'b>) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut chart = ChartBuilder::on(root);
    // On the right there is room for half a label, which a tick at the end of its axis has there.
    chart.margin(10).margin_right(40);
    chart.x_label_area_size(46).y_label_area_size(70);
    chart
}

/// A range with all the values and some room, never empty.
fn around(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    for value in values.filter(|value| *value > 0.0 && value.is_finite()) {
        low = low.min(value);
        high = high.max(value);
    }
    match low <= high {
        true => (low * 0.8, high * 1.25),
        false => (1.0, 10.0),
    }
}

/// The points (nines, µs) of a spectrum; each latency stands at the quantile that it begins at.
fn spectrum(counts: &[(u64, u64)]) -> Vec<(f64, f64)> {
    let total: u64 = counts.iter().map(|(_, count)| count).sum();
    let mut below = 0;
    let mut points = Vec::with_capacity(counts.len() + 1);
    for &(ns, count) in counts {
        points.push((nines_of(below as f64 / total as f64), ns as f64 / 1e3));
        below += count;
    }
    if let Some(&(longest_ns, _)) = counts.last() {
        // The longest one is that of one request of all.
        let nines = (total as f64)
            .log10()
            .max(points.last().map_or(0.0, |p| p.0));
        points.push((nines, longest_ns as f64 / 1e3));
    }
    points
}

/// How many nines a quantile has: 0.99 has two.
fn nines_of(quantile: f64) -> f64 {
    -(1.0 - quantile).log10()
}

/// The percentile of so many nines, with as many digits as it needs.
fn percentile(nines: f64) -> String {
    let digits = (nines - 2.0).round().clamp(0.0, 6.0) as usize;
    format!("{:.digits$} %", 100.0 * (1.0 - 10.0_f64.powf(-nines)))
}

/// A number as people write it.
fn plain(value: f64) -> String {
    struct Plain(f64);
    impl Display for Plain {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self.0 {
                value if value >= 1e6 => write!(f, "{} M", value / 1e6),
                value if value >= 1e4 => write!(f, "{} k", value / 1e3),
                value => write!(f, "{}", (value * 1e3).round() / 1e3),
            }
        }
    }
    Plain(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spectrum_says_from_where_on_each_latency_is_seen() {
        // 90 of 100 took 1 µs, 9 took 10, one took 100.
        let points = spectrum(&[(1_000, 90), (10_000, 9), (100_000, 1)]);
        let rounded: Vec<_> = points
            .iter()
            .map(|&(nines, us)| ((nines * 1e6).round() / 1e6, us))
            .collect();
        assert_eq!(
            rounded,
            [(0.0, 1.0), (1.0, 10.0), (2.0, 100.0), (2.0, 100.0)]
        );
        assert!(spectrum(&[]).is_empty());
    }

    #[test]
    fn percentiles_have_the_digits_that_they_need() {
        let written = |quantile: f64| percentile(nines_of(quantile));
        assert_eq!(written(0.0), "0 %");
        assert_eq!(written(0.5), "50 %");
        assert_eq!(written(0.99), "99 %");
        assert_eq!(written(0.999), "99.9 %");
        assert_eq!(written(0.999_99), "99.999 %");
    }

    #[test]
    fn numbers_are_plain() {
        assert_eq!(plain(0.3), "0.3");
        assert_eq!(plain(1000.0), "1000");
        assert_eq!(plain(250_000.0), "250 k");
        assert_eq!(plain(2_500_000.0), "2.5 M");
    }

    #[test]
    fn pictures_hold_their_names_and_survive_having_no_data() {
        let counts = [(25_000, 10), (90_000, 1)];
        let svg = percentile_spectrum(&[("ours", &counts), ("floor", &counts)]).expect("drawn");
        for text in ["ours", "floor", "latency, µs", "90 %"] {
            assert!(svg.contains(text), "{text} in {svg}");
        }
        let bar = Bar {
            name: "ours".into(),
            value: 2.0,
            quartiles: (1.5, 2.5),
        };
        assert!(bars("req/s", &[bar]).expect("drawn").contains("ours"));
        let line = Line {
            name: "p99".into(),
            points: vec![(0, 1.0), (1, 2.0)],
        };
        let labels = ["1".to_owned(), "10".to_owned()];
        for scale in [Scale::Logarithmic, Scale::FromZero] {
            let svg = lines(
                "connections",
                "µs",
                &labels,
                std::slice::from_ref(&line),
                scale,
            );
            assert!(svg.expect("drawn").contains("p99"));
        }
        percentile_spectrum(&[]).expect("an empty picture");
        percentile_spectrum(&[("nothing", &[])]).expect("an empty picture");
    }
}

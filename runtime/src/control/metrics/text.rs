//! The text formats of Prometheus (0.0.4) and of OpenMetrics (1.0.0).

use std::fmt::Write;

use super::Histogram;
use super::families::{Family, Kind};

/// The names of labels and their values.
pub(super) type Labels<'l> = [(&'l str, &'l str)];

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::control) enum Format {
    /// What every scraper reads.
    Prometheus,
    /// For those who ask for it.
    OpenMetrics,
}

impl Format {
    /// The media type of a reply in this format.
    pub(in crate::control) fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Families with their samples, as text.
pub(super) struct Exposition {
    text: String,
    format: Format,
    /// The name of the present family, and the labels of its samples.
    name: &'static str,
    labels: &'static [&'static str],
}

/// A value of a sample.
pub(super) trait Value {
    fn write(&self, text: &mut String);
}

impl Value for u64 {
    fn write(&self, text: &mut String) {
        let _ = write!(text, "{self}");
    }
}

impl Value for f64 {
    fn write(&self, text: &mut String) {
        let _ = write!(text, "{self}");
    }
}

impl Exposition {
    pub(super) fn new(format: Format) -> Self {
        Exposition {
            text: String::new(),
            format,
            name: "",
            labels: &[],
        }
    }

    /// Begins a family, whose samples follow.
    pub(super) fn family(&mut self, family: &Family) -> &mut Self {
        (self.name, self.labels) = (family.name, family.labels);
        let name = match self.format {
            Format::Prometheus => family.name,
            // There the samples of a counter have the suffix, and the family has not.
            Format::OpenMetrics => family.name.strip_suffix("_total").unwrap_or(family.name),
        };
        let kind = family.kind.name();
        let _ = writeln!(self.text, "# HELP {name} {}", family.help);
        let _ = writeln!(self.text, "# TYPE {name} {kind}");
        let ends_in_unit = name
            .strip_suffix(family.unit)
            .is_some_and(|rest| rest.ends_with('_'));
        if self.format == Format::OpenMetrics && ends_in_unit {
            let _ = writeln!(self.text, "# UNIT {name} {}", family.unit);
        }
        debug_assert_eq!(
            family.kind == Kind::Counter,
            family.name.ends_with("_total")
        );
        self
    }

    /// A sample of a counter or gauge.
    pub(super) fn value(&mut self, labels: &Labels<'_>, value: impl Value) {
        self.sample("", labels, None, value);
    }

    /// The samples of a histogram.
    pub(super) fn histogram(&mut self, labels: &Labels<'_>, histogram: &Histogram) {
        for (bound, count) in &histogram.at_most {
            self.sample("_bucket", labels, Some(&number(*bound)), *count);
        }
        self.sample("_bucket", labels, Some("+Inf"), histogram.count);
        self.sample("_sum", labels, None, histogram.sum);
        self.sample("_count", labels, None, histogram.count);
    }

    fn sample(&mut self, suffix: &str, labels: &Labels<'_>, le: Option<&str>, value: impl Value) {
        debug_assert!(
            labels.iter().map(|(name, _)| name).eq(self.labels),
            "{} has the labels {:?}",
            self.name,
            self.labels
        );
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let le = le.map(|le| ("le", le));
        let mut separator = '{';
        for (name, value) in labels.iter().copied().chain(le) {
            self.text.push(separator);
            let _ = write!(self.text, "{name}=\"{}\"", Escaped(value));
            separator = ',';
        }
        if separator == ',' {
            self.text.push('}');
        }
        self.text.push(' ');
        value.write(&mut self.text);
        self.text.push('\n');
    }

    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

/// A bound in the one spelling that OpenMetrics allows for each: `2.5e-05`, `0.001`, `1.0`.
fn number(bound: f64) -> String {
    let text = format!("{bound:?}");
    match text.split_once("e-") {
        Some((digits, exponent)) if exponent.len() == 1 => format!("{digits}e-0{exponent}"),
        _ => text,
    }
}

/// The value of a label, which may hold anything.
struct Escaped<'t>(&'t str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            c => f.write_char(c),
        })
    }
}

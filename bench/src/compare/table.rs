//! Medians and ratios of a comparison, as Markdown.

use std::fmt::Write;

use super::{Comparison, Measurement, Pair, Scenario, Spread};

/// A figure of a measurement, if it is known, and how it is written.
type Figure = (&'static str, fn(&Measurement) -> Option<f64>, usize);

const FIGURES: [Figure; 8] = [
    ("p50 µs", |m| Some(m.p50_us), 1),
    ("p99 µs", |m| Some(m.p99_us), 1),
    ("req/s", |m| Some(m.throughput_per_s), 0),
    ("CPU µs/req", |m| m.cpu_us_per_request, 2),
    ("server busy", |m| m.server_busy, 2),
    ("load busy", |m| Some(m.load_busy), 2),
    ("switches/req", |m| m.switches_per_request, 2),
    ("RSS MiB", |m| m.rss_mib, 1),
];

/// What stands where a figure is unknown.
const UNKNOWN: &str = "–";

/// The figures of which ratios are shown: their places in [`FIGURES`].
const RATIOS: [usize; 4] = [0, 1, 2, 3];

/// One table for each scenario, with its title.
pub fn markdown(comparison: &Comparison) -> String {
    let titled = |scenario| {
        format!(
            "\n### {}\n\n{}",
            comparison.title(scenario),
            comparison.table(scenario)
        )
    };
    comparison.scenarios().into_iter().map(titled).collect()
}

impl Comparison {
    /// What was measured, in the order in which it came.
    pub fn scenarios(&self) -> Vec<Scenario> {
        let mut scenarios = Vec::new();
        for pair in &self.pairs {
            if !scenarios.contains(&pair.scenario) {
                scenarios.push(pair.scenario);
            }
        }
        scenarios
    }

    /// A scenario for people, with how often it was measured.
    pub fn title(&self, scenario: Scenario) -> String {
        let rounds = self
            .of(scenario)
            .map(|pair| pair.round + 1)
            .max()
            .unwrap_or(0);
        let what = match self.is_in_turns {
            true => "window",
            false => "round",
        };
        let plural = match rounds {
            1 => "",
            _ => "s",
        };
        format!("{}, {rounds} {what}{plural}", scenario.title())
    }

    /// The middle of values that this run gave, and its range: between the quartiles of the rounds, or
    /// where the median lies when there were many short windows.
    pub fn spread(&self, values: impl IntoIterator<Item = f64>) -> Spread {
        match self.is_in_turns {
            true => Spread::of_median(values),
            false => Spread::of(values),
        }
    }

    /// The medians of each server in a scenario, and the median of its ratios to the base, pair by
    /// pair, with its range.
    pub fn table(&self, scenario: Scenario) -> String {
        let mut text = String::new();
        let pairs: Vec<_> = self.of(scenario).collect();
        table(&mut text, self, &pairs);
        text
    }

    fn of(&self, scenario: Scenario) -> impl Iterator<Item = &Pair> {
        self.pairs
            .iter()
            .filter(move |pair| pair.scenario == scenario)
    }
}

fn table(text: &mut String, comparison: &Comparison, pairs: &[&Pair]) {
    let base = comparison.base.as_str();
    let mut header = String::from("| server |");
    for (name, _, _) in FIGURES {
        let _ = write!(header, " {name} |");
    }
    for place in RATIOS {
        let (name, _, _) = FIGURES[place];
        let name = name.split(' ').next().unwrap_or(name);
        let _ = write!(header, " {name} × {base} |");
    }
    let columns = header.matches('|').count() - 1;
    let _ = writeln!(text, "{header}\n|{}", "---|".repeat(columns));

    let all_base = pairs.iter().map(|pair| &pair.base);
    let _ = writeln!(
        text,
        "| {base} |{}{}",
        medians(all_base),
        " 1 |".repeat(RATIOS.len())
    );
    for server in comparison.servers() {
        let of_server = || pairs.iter().filter(|pair| pair.server == server);
        let name = if server == base {
            format!("{base} again (A/A)")
        } else {
            server.into()
        };
        let _ = write!(
            text,
            "| {name} |{}",
            medians(of_server().map(|pair| &pair.other))
        );
        for place in RATIOS {
            let (_, figure, _) = FIGURES[place];
            let ratios: Vec<_> = of_server()
                .filter_map(|pair| Some(figure(&pair.other)? / figure(&pair.base)?))
                .collect();
            let _ = match ratios.is_empty() {
                true => write!(text, " {UNKNOWN} |"),
                false => write!(text, " {} |", comparison.spread(ratios)),
            };
        }
        text.push('\n');
    }
}

fn medians<'a>(measurements: impl Iterator<Item = &'a Measurement> + Clone) -> String {
    let mut cells = String::new();
    for (_, figure, digits) in FIGURES {
        let known: Vec<_> = measurements.clone().filter_map(figure).collect();
        let _ = match known.is_empty() {
            true => write!(cells, " {UNKNOWN} |"),
            false => write!(cells, " {:.digits$} |", Spread::of(known).median),
        };
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurement(p50_us: f64) -> Measurement {
        Measurement {
            p50_us,
            p99_us: 10.0,
            p99_9_us: 20.0,
            throughput_per_s: 1e6 / p50_us,
            cpu_us_per_request: Some(4.0),
            server_busy: Some(0.5),
            switches_per_request: Some(1.0),
            rss_mib: None,
            load_busy: 0.25,
            errors: 0,
        }
    }

    /// The row of a server named `ours`, beside a base named `floor`.
    fn row(pairs: Vec<Pair>) -> String {
        let comparison = Comparison {
            machine: Default::default(),
            command: Vec::new(),
            base: "floor".into(),
            is_in_turns: false,
            pairs,
            histograms: Vec::new(),
        };
        let table = markdown(&comparison);
        let row = table.lines().find(|line| line.starts_with("| ours |"));
        row.expect("a row of ours").to_owned()
    }

    #[test]
    fn what_is_unknown_is_no_number() {
        let other = Measurement {
            cpu_us_per_request: None,
            server_busy: None,
            ..measurement(2.0)
        };
        let row = row(vec![Pair {
            scenario: Scenario::Single,
            server: "ours".into(),
            round: 0,
            base: measurement(1.0),
            other,
        }]);
        assert!(
            row.starts_with("| ours | 2.0 | 10.0 | 500000 | – | – | 0.25 |"),
            "{row}"
        );
        assert!(row.ends_with("| – |"), "{row}");
    }

    #[test]
    fn ratios_are_those_within_pairs_not_those_of_medians() {
        // The machine slows down tenfold from round to round; the ratio stays two.
        let pair = |round: u32, speed: f64| Pair {
            scenario: Scenario::Single,
            server: "ours".into(),
            round,
            base: measurement(speed),
            other: measurement(2.0 * speed),
        };
        let row = row(vec![pair(0, 1.0), pair(1, 10.0), pair(2, 100.0)]);
        assert!(
            row.starts_with("| ours | 20.0 | 10.0 | 50000 | 4.00 |"),
            "{row}"
        );
        assert!(row.contains("| 2.000 (2.000–2.000) |"), "{row}");
        assert!(row.contains("| 0.500 (0.500–0.500) |"), "{row}");
    }
}

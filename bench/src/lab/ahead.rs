//! Who is ahead: ours against the best of the rivals, in each figure by itself.

use super::compared::in_words;
use super::report::table;
use super::verdict::Verdict;
use crate::compare::{Comparison, Measurement, Scenario, Spread};

/// Something to be ahead in.
struct Discipline {
    scenario: Scenario,
    name: &'static str,
    figure: fn(&Measurement) -> Option<f64>,
    digits: usize,
    more_is_better: bool,
}

const fn less(
    scenario: Scenario,
    name: &'static str,
    figure: fn(&Measurement) -> Option<f64>,
    digits: usize,
) -> Discipline {
    Discipline {
        scenario,
        name,
        figure,
        digits,
        more_is_better: false,
    }
}

const fn throughput(scenario: Scenario) -> Discipline {
    Discipline {
        scenario,
        name: "requests/s",
        figure: |measured| Some(measured.throughput_per_s),
        digits: 0,
        more_is_better: true,
    }
}

const fn p50(scenario: Scenario) -> Discipline {
    less(scenario, "p50 µs", |measured| Some(measured.p50_us), 1)
}

const fn p99(scenario: Scenario) -> Discipline {
    less(scenario, "p99 µs", |measured| Some(measured.p99_us), 1)
}

const fn cpu(scenario: Scenario) -> Discipline {
    less(
        scenario,
        "CPU µs/request",
        |measured| measured.cpu_us_per_request,
        2,
    )
}

const DISCIPLINES: [Discipline; 20] = [
    p50(Scenario::Single),
    p99(Scenario::Single),
    cpu(Scenario::Single),
    throughput(Scenario::C16),
    p99(Scenario::C16),
    throughput(Scenario::C64),
    p99(Scenario::C64),
    cpu(Scenario::C64),
    throughput(Scenario::C256),
    p99(Scenario::C256),
    cpu(Scenario::C256),
    throughput(Scenario::Pipeline16),
    p99(Scenario::Pipeline16),
    cpu(Scenario::Pipeline16),
    p50(Scenario::Open),
    p99(Scenario::Open),
    cpu(Scenario::Open),
    p50(Scenario::Busy),
    p99(Scenario::Busy),
    cpu(Scenario::Busy),
];

/// In fewer rounds than these the machine's moods make a range of their own.
const FEWEST: usize = 5;

/// The rows of all disciplines that were measured, in Markdown: `ours` beside the rival that is best in
/// it. Without rivals there is nothing to tell.
///
/// Everybody was measured in pairs with the base, so what is compared is the ratio of the two ratios
/// within a round. Beside it stands the base against itself, which says how far that moves by itself.
pub(super) fn who_is_ahead(
    comparisons: &[Comparison],
    ours: &str,
    rivals: &[String],
) -> Option<String> {
    let rows: Vec<_> = DISCIPLINES
        .iter()
        .flat_map(|discipline| {
            let comparisons = comparisons.iter();
            comparisons.filter_map(|comparison| row(comparison, discipline, ours, rivals))
        })
        .collect();
    let header = [
        "",
        "",
        "snapback is",
        "snapback",
        "the best rival",
        "snapback × it",
        "the floor × itself",
    ];
    (!rows.is_empty()).then(|| table(&header, rows.into_iter()))
}

fn row(
    comparison: &Comparison,
    discipline: &Discipline,
    ours: &str,
    rivals: &[String],
) -> Option<Vec<String>> {
    let better = |ratio: f64| match discipline.more_is_better {
        true => -ratio,
        false => ratio,
    };
    let own = results(comparison, discipline, ours)?;
    let theirs = rivals
        .iter()
        .filter_map(|rival| Some((rival, results(comparison, discipline, rival)?)));
    let (rival, best) =
        theirs.min_by(|(_, a), (_, b)| better(a.ratio()).total_cmp(&better(b.ratio())))?;
    let ratios = own
        .rounds
        .iter()
        .zip(&best.rounds)
        .map(|(a, b)| a.ratio / b.ratio);
    let ratio = comparison.spread(ratios);
    let again = results(comparison, discipline, &comparison.base);
    let again = again.map(|again| comparison.spread(again.rounds.iter().map(|round| round.ratio)));
    let verdict = Verdict::of(ratio, again);
    let digits = discipline.digits;
    Some(vec![
        in_words(discipline.scenario).to_owned(),
        discipline.name.to_owned(),
        match own.rounds.len() < FEWEST {
            true => "too few rounds to say".to_owned(),
            false => verdict.in_words(discipline.more_is_better, ["ahead", "behind"]),
        },
        format!("{:.digits$}", own.value()),
        format!("{rival}: {:.digits$}", best.value()),
        ratio.to_string(),
        again.map_or_else(|| "–".to_owned(), |again| again.to_string()),
    ])
}

/// What a server gave in the rounds of a discipline, in their order.
struct Results {
    rounds: Vec<Round>,
}

struct Round {
    value: f64,
    /// To the base.
    ratio: f64,
}

impl Results {
    fn value(&self) -> f64 {
        Spread::of(self.rounds.iter().map(|round| round.value)).median
    }

    fn ratio(&self) -> f64 {
        Spread::of(self.rounds.iter().map(|round| round.ratio)).median
    }
}

fn results(comparison: &Comparison, discipline: &Discipline, server: &str) -> Option<Results> {
    let pairs = comparison
        .pairs
        .iter()
        .filter(|pair| pair.scenario == discipline.scenario && pair.server == server);
    let rounds: Option<Vec<_>> = pairs
        .map(|pair| {
            let value = (discipline.figure)(&pair.other)?;
            let ratio = value / (discipline.figure)(&pair.base)?;
            Some(Round { value, ratio })
        })
        .collect();
    rounds
        .filter(|rounds| !rounds.is_empty())
        .map(|rounds| Results { rounds })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Pair;

    fn measurement(p50_us: f64, throughput_per_s: f64) -> Measurement {
        Measurement {
            p50_us,
            p99_us: 10.0,
            p99_9_us: 20.0,
            throughput_per_s,
            cpu_us_per_request: None,
            server_busy: None,
            switches_per_request: None,
            rss_mib: None,
            load_busy: 0.5,
            errors: 0,
        }
    }

    fn comparison(scenario: Scenario, servers: &[(&str, f64, f64)]) -> Comparison {
        let mut pairs = Vec::new();
        for round in 0..5 {
            // The machine is slower from round to round, for everybody.
            let speed = f64::from(round + 1);
            for &(server, p50_us, throughput_per_s) in servers {
                pairs.push(Pair {
                    scenario,
                    server: server.to_owned(),
                    round,
                    base: measurement(20.0 * speed, 1_000.0 / speed),
                    other: measurement(p50_us * speed, throughput_per_s / speed),
                });
            }
        }
        Comparison {
            machine: Default::default(),
            command: Vec::new(),
            base: "floor".to_owned(),
            is_in_turns: false,
            pairs,
            histograms: Vec::new(),
        }
    }

    #[test]
    fn the_best_rival_is_named_in_each_discipline() {
        let servers = [
            ("floor", 20.0, 1_000.0),
            ("snapback", 21.0, 900.0),
            ("a", 25.0, 950.0),
            ("b", 30.0, 500.0),
        ];
        let rivals = ["a".to_owned(), "b".to_owned()];
        let of = |scenario| {
            let comparisons = [comparison(scenario, &servers)];
            who_is_ahead(&comparisons, "snapback", &rivals).expect("rivals")
        };
        let alone = of(Scenario::Single);
        assert!(
            alone.contains("| p50 µs | **ahead** by 16 % | 63.0 | a: 75.0 | 0.840 (0.840–0.840) | 1.000 (1.000–1.000) |"),
            "{alone}"
        );
        // Equal, and inside the noise.
        assert!(
            alone.contains("| p99 µs | not told apart | 10.0 | a: 10.0 | 1.000 (1.000–1.000) | 1.000 (1.000–1.000) |"),
            "{alone}"
        );
        let many = of(Scenario::C64);
        assert!(
            many.contains("| requests/s | **behind** by 5 % | 300 | a: 317 | 0.947 (0.947–0.947) | 1.000 (1.000–1.000) |"),
            "{many}"
        );
        // What nobody knows has no row.
        assert!(!many.contains("CPU"), "{many}");
    }

    #[test]
    fn without_rivals_there_is_nothing_to_tell() {
        let comparisons = [comparison(
            Scenario::Single,
            &[("floor", 20.0, 1.0), ("snapback", 21.0, 1.0)],
        )];
        assert_eq!(who_is_ahead(&comparisons, "snapback", &[]), None);
    }
}

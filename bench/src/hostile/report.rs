//! What rounds of honest requests with and without hostility add up to.

use std::fmt::Write;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::hostility::Assault;
use super::swarm::AttackReport;
use super::window::Window;
use crate::footprint::Footprint;
use crate::load::Percentiles;

/// The same honest load without and with an assault, back to back.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    /// Who was hostile.
    pub assault: Assault,
    /// Counted from 0. In odd rounds the assault came first.
    pub round: u32,
    /// Without.
    pub quiet: Window,
    /// With.
    pub hostile: Window,
    /// What the assault did; none where nobody was hostile.
    pub attack: Option<AttackReport>,
    /// What the server held before.
    pub before: Footprint,
    /// The peak of its memory, from the first hostile client until it had settled.
    pub peak_rss_bytes: u64,
    /// What it held when it had let go of the hostile connections.
    pub after: Footprint,
    /// How long the server took to let go of their connections.
    pub settle_s: f64,
    /// What its memory may reach.
    pub memory_bound_bytes: u64,
}

/// What must hold.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Limits {
    /// By how much the honest p99 may grow, as the median of the rounds.
    pub(super) p99_ratio: f64,
    /// The part of its core that the hostile client may use.
    pub(super) share: f64,
}

/// What one assault came to.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Who was hostile.
    pub assault: Assault,
    /// Honest percentiles without hostility, all rounds together.
    pub quiet: Percentiles,
    /// Those with it.
    pub hostile: Percentiles,
    /// Those of newcomers, without and with; the p99 of few is their maximum.
    pub newcomers: Option<[Percentiles; 2]>,
    /// The p99 with by that without, of each round.
    pub p99_ratios: Vec<f64>,
    /// Their median.
    pub p99_ratio: f64,
    /// Honest requests that failed without hostility, those of newcomers included.
    pub failed_quiet: u64,
    /// Those with it.
    pub failed_hostile: u64,
    /// The longest turn by the server's own record, without and with.
    pub longest_turn_us: [Option<f64>; 2],
    /// The server's memory before, at its peak, and after.
    pub rss_bytes: [u64; 3],
    /// What it may reach.
    pub memory_bound_bytes: u64,
    /// Its descriptors before, at the end of a hostile window, and after.
    pub descriptors: [u64; 3],
    /// The largest part of the load's core that the hostile client used in a window.
    pub attack_busy: f64,
    /// What was not as it must be; nothing when the server stood.
    pub faults: Vec<String>,
    /// Why what was measured may be the load's own doing.
    pub doubts: Vec<String>,
}

impl Verdict {
    /// Of the rounds of one assault, at least one.
    pub(super) fn of(assault: Assault, rounds: &[&Round], limits: &Limits) -> Verdict {
        let windows = |of: fn(&Round) -> &Window| rounds.iter().map(move |round| of(round));
        let quiet = || windows(|round| &round.quiet);
        let hostile = || windows(|round| &round.hostile);
        let most = |of: fn(&Round) -> u64| rounds.iter().map(|round| of(round)).max().unwrap_or(0);
        let ratio = |round: &&Round| {
            round.hostile.honest.latency.p99_us / round.quiet.honest.latency.p99_us
        };
        let p99_ratios: Vec<_> = rounds.iter().map(ratio).collect();
        let busy = hostile().filter_map(|window| window.attack_busy);
        let mut verdict = Verdict {
            assault,
            quiet: merged(quiet().map(|window| &window.honest.histogram_ns)),
            hostile: merged(hostile().map(|window| &window.honest.histogram_ns)),
            newcomers: newcomers(&quiet().collect::<Vec<_>>())
                .zip(newcomers(&hostile().collect::<Vec<_>>()))
                .map(|(quiet, hostile)| [quiet, hostile]),
            p99_ratio: median(&p99_ratios),
            p99_ratios,
            failed_quiet: quiet().map(Window::failed).sum(),
            failed_hostile: hostile().map(Window::failed).sum(),
            longest_turn_us: [longest(quiet()), longest(hostile())],
            rss_bytes: [
                most(|round| round.before.rss_bytes),
                most(|round| round.peak_rss_bytes),
                most(|round| round.after.rss_bytes),
            ],
            memory_bound_bytes: most(|round| round.memory_bound_bytes),
            descriptors: [
                most(|round| round.before.descriptors),
                most(|round| round.hostile.server.at_end.descriptors),
                most(|round| round.after.descriptors),
            ],
            attack_busy: busy.fold(0.0, f64::max),
            faults: Vec::new(),
            doubts: Vec::new(),
        };
        verdict.faults = verdict.find_faults(rounds, limits);
        verdict.doubts = verdict.find_doubts(rounds, limits);
        verdict
    }

    fn find_faults(&self, rounds: &[&Round], limits: &Limits) -> Vec<String> {
        let mut faults = Vec::new();
        // A window without a reply gives NaN.
        if self.p99_ratio.is_nan() || self.p99_ratio > limits.p99_ratio {
            let (found, limit) = (self.p99_ratio, limits.p99_ratio);
            faults.push(format!(
                "the honest p99 is {found:.2} times itself, more than {limit}"
            ));
        }
        let failed = self.failed_quiet + self.failed_hostile;
        if failed > 0 {
            faults.push(format!("{failed} honest requests failed"));
        }
        for round in rounds {
            let (peak, bound) = (round.peak_rss_bytes, round.memory_bound_bytes);
            if peak > bound {
                faults.push(format!(
                    "the memory reached {} MiB in round {}, more than {} MiB",
                    peak >> 20,
                    round.round + 1,
                    bound >> 20
                ));
            }
        }
        faults
    }

    fn find_doubts(&self, rounds: &[&Round], limits: &Limits) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.attack_busy > limits.share {
            doubts.push(format!(
                "the hostile client used {:.0} % of its core, more than {:.0} %",
                1e2 * self.attack_busy,
                1e2 * limits.share
            ));
        }
        for round in rounds {
            for (name, window) in [("quiet", &round.quiet), ("hostile", &round.hostile)] {
                if let Some(why) = window.honest.bottleneck() {
                    doubts.push(format!("round {}, {name}: {why}", round.round + 1));
                }
            }
            let late = round.attack.as_ref().map(|attack| attack.late_p99_us);
            if let Some(late_us) = late.filter(|&late_us| late_us > LATE_LIMIT_US) {
                let late_ms = late_us / 1e3;
                let round = round.round + 1;
                doubts.push(format!(
                    "round {round}: the hostile client was {late_ms:.0} ms late at p99, so it did less than stated"
                ));
            }
        }
        doubts
    }
}

/// From here on a hostile client does not keep its own pace: the shortest interval of any kind.
const LATE_LIMIT_US: f64 = 100_000.0;

fn merged<'a>(histograms: impl Iterator<Item = &'a Vec<(u64, u64)>>) -> Percentiles {
    let mut all = Histogram::<u64>::new_with_bounds(1, 100_000_000_000, 3)
        .expect("the bounds are constants, and valid");
    for &(value, count) in histograms.flatten() {
        all.saturating_record_n(value, count);
    }
    Percentiles::of(&all)
}

fn newcomers(windows: &[&Window]) -> Option<Percentiles> {
    let of = |window: &&&Window| window.newcomers.is_some();
    let some = windows.iter().filter(of).count() > 0;
    let each = windows
        .iter()
        .filter_map(|window| window.newcomers.as_ref());
    some.then(|| merged(each.map(|newcomers| &newcomers.histogram_ns)))
}

fn longest<'a>(windows: impl Iterator<Item = &'a Window>) -> Option<f64> {
    let turns = windows.filter_map(|window| window.server.longest_turn_us);
    turns.max_by(f64::total_cmp)
}

pub(super) fn median(values: &[f64]) -> f64 {
    crate::compare::Spread::of(values.iter().copied()).median
}

/// One line for each assault, and below the table what was wrong or doubtful.
pub(super) fn markdown(verdicts: &[Verdict]) -> String {
    let mut text = String::from(
        "| assault | honest without: p50 · p99 · p99.9 · max µs | with | p99 with ÷ without: median (each round) | newcomers' p50 · max µs without | with | failed without · with | longest turn µs without · with | RSS MiB before → peak → after (bound) | descriptors | attacker busy | verdict |\n",
    );
    text.push_str("|---|---|---|---|---|---|---|---|---|---|---|---|\n");
    for verdict in verdicts {
        row(&mut text, verdict);
    }
    for verdict in verdicts {
        for fault in &verdict.faults {
            let _ = writeln!(text, "\nfault, {}: {fault}", verdict.assault);
        }
        for doubt in &verdict.doubts {
            let _ = writeln!(text, "\ndoubt, {}: {doubt}", verdict.assault);
        }
    }
    text
}

fn row(text: &mut String, verdict: &Verdict) {
    let points = |p: &Percentiles| {
        let Percentiles {
            p50_us,
            p99_us,
            p99_9_us,
            max_us,
            ..
        } = p;
        format!("{p50_us:.0} · {p99_us:.0} · {p99_9_us:.0} · {max_us:.0}")
    };
    let newcomers = |index: usize| match &verdict.newcomers {
        Some(both) => format!("{:.0} · {:.0}", both[index].p50_us, both[index].max_us),
        None => "–".to_owned(),
    };
    let turn = |index: usize| match verdict.longest_turn_us[index] {
        Some(longest_us) => format!("{longest_us:.0}"),
        None => "–".to_owned(),
    };
    let ratios: Vec<_> = verdict
        .p99_ratios
        .iter()
        .map(|ratio| format!("{ratio:.2}"))
        .collect();
    let [before, peak, after] = verdict.rss_bytes.map(|bytes| bytes >> 20);
    let [few, many, left] = verdict.descriptors;
    let stands = match (verdict.faults.is_empty(), verdict.doubts.is_empty()) {
        (true, true) => "stands",
        (true, false) => "stands, in doubt",
        (false, _) => "falls",
    };
    let _ = writeln!(
        text,
        "| {} | {} | {} | {:.2} ({}) | {} | {} | {} · {} | {} · {} | {before} → {peak} → {after} ({}) | {few} → {many} → {left} | {:.2} | {stands} |",
        verdict.assault,
        points(&verdict.quiet),
        points(&verdict.hostile),
        verdict.p99_ratio,
        ratios.join(", "),
        newcomers(0),
        newcomers(1),
        verdict.failed_quiet,
        verdict.failed_hostile,
        turn(0),
        turn(1),
        verdict.memory_bound_bytes >> 20,
        verdict.attack_busy,
    );
}

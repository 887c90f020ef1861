//! What an overload came to.

use std::fmt;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::load::{LoadReport, PhaseReport, STEP_NS, Step};

/// What is asked for.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Plan {
    /// Good replies per second in a closed loop.
    pub(super) maximum_per_s: f64,
    /// The overload, in multiples of it.
    pub(super) times: f64,
    /// How long half of it is asked for, before and after.
    pub(super) around: Duration,
    /// How long the overload takes.
    pub(super) duration: Duration,
}

/// What must hold.
#[derive(Args, Clone, Copy, Debug, Serialize)]
pub(super) struct Limits {
    /// The part of the maximum that must still be answered well under overload.
    #[arg(long, default_value_t = 0.9)]
    goodput_limit: f64,
    /// How long requests that are shed may wait for their 503, at p99, in milliseconds.
    #[arg(long, default_value_t = 10.0)]
    shed_limit_ms: f64,
    /// How long after the overload all must be as before, in seconds.
    #[arg(long, default_value_t = 1.0)]
    recovery_limit_s: f64,
}

/// What an overload came to. Its run has a timeline in steps of a tenth of a second.
#[derive(Clone, Debug, Serialize)]
pub(super) struct OverloadReport {
    machine: [String; 2],
    command: Vec<String>,
    plan: Plan,
    limits: Limits,
    maximum: LoadReport,
    run: LoadReport,
    /// Good replies that arrived during the overload, by the maximum.
    goodput: f64,
    /// The worst p99 of a tenth of a second before the overload, the first fifth of that time aside.
    p99_before_us: f64,
    /// From the end of the overload to the first tenth of a second in which all replies are good
    /// and their p99 is none worse than before it; none if there was no such step.
    recovery_s: Option<f64>,
    /// Steps after that which are not so.
    relapses: usize,
    /// What was not as it must be; nothing when the server stood.
    faults: Vec<String>,
    /// Why what was measured may be the load generator's own doing.
    doubts: Vec<String>,
}

/// The places of the steps of each phase in the timeline.
fn place(duration: Duration) -> usize {
    (duration.as_nanos() as u64).div_ceil(STEP_NS) as usize
}

impl OverloadReport {
    pub(super) fn new(
        machine: [String; 2],
        command: Vec<String>,
        plan: Plan,
        maximum: LoadReport,
        run: LoadReport,
        limits: Limits,
    ) -> OverloadReport {
        let (begin, end) = (place(plan.around), place(plan.around + plan.duration));
        let steps = |from: usize, to: usize| {
            let length = run.timeline.len();
            &run.timeline[from.min(length)..to.min(length)]
        };
        let good: u64 = steps(begin, end).iter().map(|step| step.good).sum();
        let p99_before_us = worst_p99_us(steps(begin / 5, begin));
        // The last step of the run may be cut short, and says nothing.
        let after = steps(end, end + begin.saturating_sub(1).max(1));
        let is_calm = |step: &Step| is_calm(step, p99_before_us);
        let recovered = after.iter().position(is_calm);
        let later = recovered.map_or(&[][..], |first| &after[first..]);
        let mut report = OverloadReport {
            machine,
            command,
            plan,
            limits,
            goodput: good as f64 / plan.duration.as_secs_f64() / plan.maximum_per_s,
            p99_before_us,
            recovery_s: recovered.map(|steps| steps as f64 * STEP_NS as f64 / 1e9),
            relapses: later.iter().filter(|step| !is_calm(step)).count(),
            faults: Vec::new(),
            doubts: Vec::new(),
            maximum,
            run,
        };
        report.faults = report.find_faults();
        report.doubts = report.find_doubts();
        report
    }

    pub(super) fn stands(&self) -> bool {
        self.faults.is_empty()
    }

    fn find_faults(&self) -> Vec<String> {
        let Limits {
            goodput_limit,
            shed_limit_ms,
            recovery_limit_s,
        } = self.limits;
        let mut faults = Vec::new();
        if self.goodput < goodput_limit {
            faults.push(format!(
                "goodput was {:.1} % of the maximum, less than {:.0} %",
                1e2 * self.goodput,
                1e2 * goodput_limit
            ));
        }
        for (name, phase) in self.phases() {
            let shed_ms = phase.shed_latency.p99_us / 1e3;
            if shed_ms > shed_limit_ms {
                faults.push(format!(
                    "{name}: a shed request waited {shed_ms:.1} ms for its 503 at p99, more than {shed_limit_ms} ms"
                ));
            }
            if phase.retry_after < phase.shed {
                let silent = phase.shed - phase.retry_after;
                faults.push(format!("{name}: {silent} replies 503 had no Retry-After"));
            }
            if phase.failed > 0 {
                faults.push(format!(
                    "{name}: {} requests failed otherwise",
                    phase.failed
                ));
            }
        }
        match self.recovery_s {
            None => faults.push("it was never as before again".to_owned()),
            Some(s) if s > recovery_limit_s => faults.push(format!(
                "it was as before {s:.1} s after the overload, more than {recovery_limit_s} s"
            )),
            Some(_) => {}
        }
        faults
    }

    fn find_doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        for (name, run) in [("maximum", &self.maximum), ("open loop", &self.run)] {
            doubts.extend(run.bottleneck().map(|why| format!("{name}: {why}")));
        }
        for (name, phase) in self.phases() {
            if phase.unsent > 0 {
                doubts.push(format!(
                    "{name}: {} requests found no connection free and were never sent",
                    phase.unsent
                ));
            }
        }
        doubts
    }

    fn phases(&self) -> impl Iterator<Item = (&'static str, &PhaseReport)> {
        ["before", "overload", "after"]
            .into_iter()
            .zip(&self.run.phases)
    }
}

fn worst_p99_us(steps: &[Step]) -> f64 {
    steps
        .iter()
        .map(|step| step.good_p99_us)
        .fold(0.0, f64::max)
}

/// Whether all replies of a step are good, there are some, and they came as they did before.
fn is_calm(step: &Step, p99_before_us: f64) -> bool {
    step.good > 0 && step.shed == 0 && step.failed == 0 && step.good_p99_us <= p99_before_us
}

impl fmt::Display for OverloadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let maximum = self.plan.maximum_per_s;
        writeln!(f, "maximum: {maximum:.0} good replies/s, closed loop\n")?;
        writeln!(
            f,
            "| phase | asked/s | good/s | shed/s | good: p50 · p99 · max ms | shed: p50 · p99 · max ms | Retry-After | failed | never sent |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|---|")?;
        for (name, phase) in self.phases() {
            let (good, shed) = (&phase.latency, &phase.shed_latency);
            writeln!(
                f,
                "| {name} | {:.0} | {:.0} | {:.0} | {:.2} · {:.2} · {:.1} | {:.2} · {:.2} · {:.1} | {} of {} | {} | {} |",
                phase.rate_per_s,
                phase.good as f64 / phase.seconds,
                phase.shed as f64 / phase.seconds,
                good.p50_us / 1e3,
                good.p99_us / 1e3,
                good.max_us / 1e3,
                shed.p50_us / 1e3,
                shed.p99_us / 1e3,
                shed.max_us / 1e3,
                phase.retry_after,
                phase.shed,
                phase.failed,
                phase.unsent,
            )?;
        }
        writeln!(
            f,
            "\ngoodput under overload: {:.1} % of the maximum; the load generator was busy {:.0} %",
            1e2 * self.goodput,
            1e2 * self.run.busy
        )?;
        match self.recovery_s {
            Some(s) => writeln!(
                f,
                "recovered {s:.1} s after it (all good, p99 at most {:.2} ms); {} later tenths of a second were worse",
                self.p99_before_us / 1e3,
                self.relapses
            )?,
            None => writeln!(f, "not recovered")?,
        }
        for fault in &self.faults {
            writeln!(f, "fault: {fault}")?;
        }
        for doubt in &self.doubts {
            writeln!(f, "doubt: {doubt}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_calm_when_all_is_good_and_as_fast_as_before() {
        let step = |good, shed, failed, good_p99_us| Step {
            good,
            shed,
            failed,
            good_p99_us,
            ..Step::default()
        };
        assert!(is_calm(&step(1, 0, 0, 100.0), 100.0));
        for bad in [
            step(0, 0, 0, 0.0),
            step(9, 1, 0, 1.0),
            step(9, 0, 1, 1.0),
            step(9, 0, 0, 100.1),
        ] {
            assert!(!is_calm(&bad, 100.0), "{bad:?}");
        }
        assert_eq!(worst_p99_us(&[step(1, 0, 0, 3.0), step(1, 0, 0, 2.0)]), 3.0);
    }
}

//! What a ratio says, and whether it says anything.

use crate::compare::Spread;

/// What became of a comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// The range of the ratio and that of the base against itself have something in common, or that of the
    /// ratio has 1 in it.
    NotToldApart,
    /// The ratio is below 1 by this part of 1.
    Less(f64),
    /// The ratio is above 1 by this part of 1.
    More(f64),
}

impl Verdict {
    /// Of a ratio, beside what the base against itself gave in the same run.
    pub(super) fn of(ratio: Spread, again: Option<Spread>) -> Verdict {
        let is_inside = |low: f64, high: f64| ratio.low <= high && low <= ratio.high;
        let is_noise = again.is_some_and(|again| is_inside(again.low, again.high));
        match ratio.median - 1.0 {
            _ if is_noise || is_inside(1.0, 1.0) => Verdict::NotToldApart,
            change if change < 0.0 => Verdict::Less(-change),
            // Also what is no number: nothing was measured, and the ratio beside it says so.
            change => Verdict::More(change),
        }
    }

    /// For people: `words` for who is better and who is worse.
    pub(super) fn in_words(self, more_is_better: bool, words: [&str; 2]) -> String {
        let [better, worse] = words;
        let (word, change) = match (self, more_is_better) {
            (Verdict::NotToldApart, _) => return "not told apart".to_owned(),
            (Verdict::Less(change), false) | (Verdict::More(change), true) => (better, change),
            (Verdict::Less(change), true) | (Verdict::More(change), false) => (worse, change),
        };
        // A part of a hundred is a good word for what is near, and a bad one for several times as much.
        let times = match self {
            Verdict::Less(change) => 1.0 / (1.0 - change),
            Verdict::More(_) | Verdict::NotToldApart => 1.0 + change,
        };
        match times >= 2.0 {
            true => format!("**{word}** {times:.1} ×"),
            false => format!("**{word}** by {:.0} %", change * 100.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(low: f64, median: f64, high: f64) -> Spread {
        Spread { median, low, high }
    }

    #[test]
    fn a_difference_inside_the_noise_is_none() {
        let noise = Some(spread(0.95, 1.0, 1.04));
        for (ratio, again, expected) in [
            (spread(1.03, 1.06, 1.1), noise, "not told apart"),
            (spread(1.05, 1.06, 1.1), noise, "**slower** by 6 %"),
            (spread(0.8, 0.9, 0.94), noise, "**faster** by 10 %"),
            (spread(0.9, 0.97, 1.01), None, "not told apart"),
            (spread(1.01, 1.02, 1.03), None, "**slower** by 2 %"),
        ] {
            let verdict = Verdict::of(ratio, again);
            assert_eq!(verdict.in_words(false, ["faster", "slower"]), expected);
        }
        let [many, few] = [spread(9.0, 9.2, 9.3), spread(0.11, 0.125, 0.13)];
        for (ratio, expected) in [(many, "**ahead** 9.2 ×"), (few, "**behind** 8.0 ×")] {
            let words = Verdict::of(ratio, noise).in_words(true, ["ahead", "behind"]);
            assert_eq!(words, expected);
        }
        let more = Verdict::of(spread(1.2, 1.25, 1.3), noise);
        assert_eq!(
            more.in_words(true, ["ahead", "behind"]),
            "**ahead** by 25 %"
        );
    }
}

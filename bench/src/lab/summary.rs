//! What most readers came for, in one table at the top of a report.

use super::report::table;
use super::verdict::Verdict;
use crate::compare::Spread;

/// A row of the table.
#[derive(Debug)]
pub(super) struct Claim {
    /// What it is about, in words that need no explanation.
    pub(super) what: String,
    /// What it is for ours, with its unit.
    pub(super) ours: String,
    /// What it is compared with, and what it is there.
    pub(super) other: Option<(String, String)>,
    /// Ours by the other, and the other by itself.
    pub(super) ratio: Option<(Spread, Option<Spread>)>,
    pub(super) more_is_better: bool,
}

/// The table, in Markdown.
pub(super) fn summary(claims: &[Claim]) -> String {
    let rows = claims.iter().map(|claim| {
        let (other, value) = claim.other.clone().unwrap_or_default();
        let spread = |spread: Option<Spread>| {
            spread.map_or_else(|| "–".to_owned(), |spread| spread.to_string())
        };
        let (ratio, again) = claim.ratio.unzip();
        let verdict = claim
            .ratio
            .map(|(ratio, again)| Verdict::of(ratio, again))
            .map(|verdict| verdict.in_words(claim.more_is_better, ["better", "worse"]));
        vec![
            claim.what.clone(),
            verdict.unwrap_or_default(),
            claim.ours.clone(),
            match other.is_empty() {
                true => String::new(),
                false => format!("{other}: {value}"),
            },
            spread(ratio),
            spread(again.flatten()),
        ]
    });
    let header = ["", "snapback is", "snapback", "beside", "snapback ×", "A/A"];
    table(&header, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_without_a_ratio_has_no_verdict() {
        let claims = [
            Claim {
                what: "alone".to_owned(),
                ours: "5 µs".to_owned(),
                other: Some(("floor".to_owned(), "4 µs".to_owned())),
                ratio: Some((Spread::of([1.25]), Some(Spread::of([1.0])))),
                more_is_better: false,
            },
            Claim {
                what: "a cut".to_owned(),
                ours: "2 µs".to_owned(),
                other: None,
                ratio: None,
                more_is_better: false,
            },
        ];
        let text = summary(&claims);
        assert!(
            text.contains("| alone | **worse** by 25 % | 5 µs | floor: 4 µs | 1.250 (1.250–1.250) | 1.000 (1.000–1.000) |"),
            "{text}"
        );
        assert!(text.contains("| a cut |  | 2 µs |  | – | – |"), "{text}");
    }
}

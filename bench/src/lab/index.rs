//! All runs in one page: what each found, and where the figures go.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::AGAIN;
use super::page::{Pictures, page};
use super::plot::{Line, Scale, lines};

/// What the index needs to know of a run; `summary.json` in its folder.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Summary {
    /// In seconds since 1970.
    pub(super) started_unix_s: u64,
    pub(super) commit: String,
    /// `short` or `full`; what is only for show is not in the index.
    pub(super) extent: String,
    pub(super) cpu: String,
    pub(super) kernel: String,
    pub(super) figures: Vec<Figure>,
}

/// A figure of which the trend is of interest.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) value: f64,
}

/// How many of the newest runs are shown.
const SHOWN: usize = 12;

/// Writes `index.html` over all runs in the folder of reports.
///
/// # Errors
/// A summary is no JSON, or the page cannot be written; a folder without a summary is left out.
pub(super) fn write(reports: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let mut runs = Vec::new();
    for entry in fs::read_dir(reports).map_err(|error| named(reports, &error))? {
        let folder = entry?.path();
        let path = folder.join("summary.json");
        let Ok(json) = fs::read(&path) else { continue };
        let summary: Summary =
            serde_json::from_slice(&json).map_err(|error| named(&path, &error))?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        runs.push((name.into_owned(), summary));
    }
    runs.sort_by_key(|(_, summary)| summary.started_unix_s);
    let (markdown, pictures) = content(&runs)?;
    let path = reports.join("index.html");
    let html = page("Latency reports", &markdown, &pictures);
    fs::write(&path, html).map_err(|error| named(&path, &error))?;
    Ok(path)
}

fn named(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

/// The text of the page; runs come oldest first.
fn content(runs: &[(String, Summary)]) -> Result<(String, Pictures), Box<dyn Error>> {
    let mut text = String::from(
        "# Latency reports\n\nEach column is a run, the newest first. A figure with × is a ratio of what was measured back \
         to back or in turns, and behind it stands *A/A*, the same of the base against itself: the noise. Ratios travel \
         between machines, absolute figures do not. *single*, *c64* and *pipeline16* are closed loops over 1 and 64 \
         connections and over 16 with 16 requests in flight on each; *open* and *busy* are open loops at 20,000 and 100,000 \
         requests/s.\n\n",
    );
    // Every name, in the order in which it first came up in the newest runs.
    let mut names: Vec<&str> = Vec::new();
    for figure in runs.iter().rev().flat_map(|(_, summary)| &summary.figures) {
        if !names.contains(&figure.name.as_str()) && !figure.name.ends_with(AGAIN) {
            names.push(&figure.name);
        }
    }
    let value = |summary: &Summary, name: &str| {
        let found = summary.figures.iter().find(|figure| figure.name == name);
        found.map(|figure| figure.value)
    };
    let newest = &runs[runs.len().saturating_sub(SHOWN)..];
    text.push_str("| figure |");
    for (folder, summary) in newest.iter().rev() {
        let date =
            httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(summary.started_unix_s));
        text.push_str(&format!(
            " [{date}, {}]({folder}/report.html), {}; {}, Linux {} |",
            summary.commit, summary.extent, summary.cpu, summary.kernel
        ));
    }
    text.push_str(&format!("\n|{}\n", "---|".repeat(newest.len() + 1)));
    for name in &names {
        text.push_str(&format!("| {name} |"));
        for (_, summary) in newest.iter().rev() {
            let again = value(summary, &format!("{name}{AGAIN}"));
            match (value(summary, name), again) {
                (Some(value), Some(again)) => {
                    text.push_str(&format!(" {value:.3} (A/A {again:.3}) |"));
                }
                (Some(value), None) => text.push_str(&format!(" {value:.3} |")),
                (None, _) => text.push_str(" – |"),
            }
        }
        text.push('\n');
    }
    let labels: Vec<_> = newest
        .iter()
        .map(|(_, summary)| summary.commit.clone())
        .collect();
    let mut pictures = Pictures::new();
    for (file, begin, caption) in [
        (
            "p50",
            "p50 ",
            "Latency in the middle, by that of the base: less is better.",
        ),
        (
            "throughput",
            "requests/s ",
            "Throughput, by that of the base: more is better.",
        ),
        (
            "p99",
            "p99 ",
            "Latency that one of a hundred exceeds, by that of the base: less is better.",
        ),
    ] {
        let is_of_it = |name: &&&str| name.starts_with(begin) && name.contains('×');
        let trends: Vec<_> = names
            .iter()
            .filter(is_of_it)
            .map(|name| Line {
                name: (*name).to_owned(),
                points: newest
                    .iter()
                    .enumerate()
                    .filter_map(|(place, (_, summary))| Some((place, value(summary, name)?)))
                    .collect(),
            })
            .collect();
        if trends.is_empty() {
            continue;
        }
        let svg = lines("commit", "× base", &labels, &trends, Scale::FromZero)?;
        let file = format!("trend-{file}.svg");
        text.push_str(&format!(
            "\n![{caption} The newest run is on the right.]({file})\n"
        ));
        pictures.insert(file, svg);
    }
    Ok((text, pictures))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(started_unix_s: u64, figures: &[(&str, f64)]) -> Summary {
        let figures = figures.iter().map(|&(name, value)| Figure {
            name: name.to_owned(),
            value,
        });
        Summary {
            started_unix_s,
            commit: format!("c{started_unix_s}"),
            extent: "short".to_owned(),
            cpu: "a CPU".to_owned(),
            kernel: "6".to_owned(),
            figures: figures.collect(),
        }
    }

    #[test]
    fn runs_are_shown_newest_first_and_may_differ_in_their_figures() {
        let reports = tempfile::tempdir().expect("a folder");
        let runs = [
            run(2, &[("p50 × floor", 1.25), ("new", 3.0)]),
            run(1, &[("p50 × floor", 1.5)]),
        ];
        for summary in &runs {
            let folder = reports
                .path()
                .join(format!("run-{}", summary.started_unix_s));
            fs::create_dir(&folder).expect("a folder");
            let json = serde_json::to_vec(summary).expect("JSON");
            fs::write(folder.join("summary.json"), json).expect("written");
        }
        fs::create_dir(reports.path().join("older")).expect("a folder without a summary");
        let page = fs::read_to_string(write(reports.path()).expect("an index")).expect("a page");
        let place = |text: &str| {
            page.find(text)
                .unwrap_or_else(|| panic!("{text} in {page}"))
        };
        assert!(place("run-2/report.html") < place("run-1/report.html"));
        for text in ["1.250", "1.500", "3.000", "<svg", "c1"] {
            place(text);
        }
    }

    #[test]
    fn a_summary_that_is_no_json_is_named() {
        let reports = tempfile::tempdir().expect("a folder");
        fs::create_dir(reports.path().join("a")).expect("a folder");
        fs::write(reports.path().join("a/summary.json"), "{").expect("written");
        let error = write(reports.path()).expect_err("no JSON").to_string();
        assert!(error.contains("a/summary.json: "), "{error}");
    }

    #[test]
    fn no_runs_are_a_page_too() {
        let reports = tempfile::tempdir().expect("a folder");
        write(reports.path()).expect("an index");
    }
}

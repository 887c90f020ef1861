//! A report while it is written: Markdown for people and diffs, and its pictures.

use std::error::Error;
use std::fs;
use std::path::Path;

use super::page::{Pictures, page};

/// What was written so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// What comes before the summary.
    introduction: String,
    /// What is known at the end, and read first.
    summary: String,
    markdown: String,
    pictures: Pictures,
}

impl Report {
    /// What comes first of all.
    pub(super) fn introduce(&mut self, text: &str) {
        self.introduction = format!("{}\n\n", text.trim_end());
    }

    /// What comes behind the introduction, whenever it is known.
    pub(super) fn summarize(&mut self, text: &str) {
        self.summary = format!("{}\n\n", text.trim_end());
    }

    /// Adds a paragraph, or several.
    pub(super) fn text(&mut self, text: impl AsRef<str>) {
        self.markdown.push_str(text.as_ref().trim_end());
        self.markdown.push_str("\n\n");
    }

    /// Adds a table.
    pub(super) fn table(&mut self, header: &[&str], rows: impl Iterator<Item = Vec<String>>) {
        self.text(table(header, rows));
    }

    /// Adds a picture, whose file gets this name.
    pub(super) fn picture(&mut self, name: &str, caption: &str, svg: String) {
        let file = format!("{name}.svg");
        self.text(format!("![{caption}]({file})"));
        self.pictures.insert(file, svg);
    }

    /// Writes `report.md`, its pictures, and `report.html`, which holds all of them.
    pub(super) fn write(&self, folder: &Path, title: &str) -> Result<(), Box<dyn Error>> {
        let text = format!("{}{}{}", self.introduction, self.summary, self.markdown);
        let html = page(title, &text, &self.pictures);
        let mut files = vec![
            ("report.md", text.trim_end().to_owned() + "\n"),
            ("report.html", html),
        ];
        for (name, svg) in &self.pictures {
            files.push((name, svg.clone()));
        }
        for (name, text) in files {
            let path = folder.join(name);
            fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(())
    }
}

/// A table in Markdown.
pub(super) fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let (names, line) = (header.join(" | "), "---|".repeat(header.len()));
    let mut text = format!("| {names} |\n|{line}\n");
    for row in rows {
        text.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    text
}

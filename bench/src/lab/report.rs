//! A report while it is written: Markdown for people and diffs, and its pictures.

use std::error::Error;
use std::fs;
use std::path::Path;

use super::page::{Pictures, page};

/// What was written so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    markdown: String,
    pictures: Pictures,
}

impl Report {
    /// Adds a paragraph, or several.
    pub(super) fn text(&mut self, text: impl AsRef<str>) {
        self.markdown.push_str(text.as_ref().trim_end());
        self.markdown.push_str("\n\n");
    }

    /// Adds a table.
    pub(super) fn table(&mut self, header: &[&str], rows: impl Iterator<Item = Vec<String>>) {
        let mut text = format!("| {} |\n|{}\n", header.join(" | "), "---|".repeat(header.len()));
        for row in rows {
            text.push_str(&format!("| {} |\n", row.join(" | ")));
        }
        self.text(text);
    }

    /// Adds a picture, whose file gets this name.
    pub(super) fn picture(&mut self, name: &str, caption: &str, svg: String) {
        let file = format!("{name}.svg");
        self.text(format!("![{caption}]({file})"));
        self.pictures.insert(file, svg);
    }

    /// Writes `report.md`, its pictures, and `report.html`, which holds all of them.
    pub(super) fn write(&self, folder: &Path, title: &str) -> Result<(), Box<dyn Error>> {
        let html = page(title, &self.markdown, &self.pictures);
        let mut files = vec![
            ("report.md", self.markdown.trim_end().to_owned() + "\n"),
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

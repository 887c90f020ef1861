//! What is wrong with a file, and where.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// Something that is wrong: where it stands, what it is, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Bytes of the text.
    pub(crate) span: Range<usize>,
    /// What is wrong, in one line.
    pub(crate) title: String,
    /// What is to be said of the very place.
    pub(crate) label: String,
    /// The way out, if the label does not say it.
    pub(crate) help: Option<String>,
}

impl Problem {
    /// Something that is wrong at a place.
    pub(crate) fn new(
        span: Range<usize>,
        title: impl Into<String>,
        label: impl Into<String>,
    ) -> Self {
        Problem {
            span,
            title: title.into(),
            label: label.into(),
            help: None,
        }
    }

    /// Adds the way out.
    #[must_use]
    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Problem {
            help: Some(help.into()),
            ..self
        }
    }
}

/// A text with what is wrong with it; shown as compilers do, with the lines in question.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// The name of the file.
    pub(crate) name: String,
    /// Its text.
    pub(crate) text: String,
    /// What is wrong.
    pub(crate) problems: Vec<Problem>,
    /// Whether colours are wanted.
    pub(crate) colours: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let renderer = match self.colours {
            true => Renderer::styled(),
            false => Renderer::plain(),
        };
        let mut problems: Vec<&Problem> = self.problems.iter().collect();
        problems.sort_by_key(|problem| problem.span.start);
        for problem in problems {
            let span = visible(&self.text, &problem.span);
            let annotation = AnnotationKind::Primary
                .span(span)
                .label(problem.label.as_str());
            let snippet = Snippet::source(self.text.as_str())
                .path(self.name.as_str())
                .annotation(annotation);
            let mut groups = vec![
                Level::ERROR
                    .primary_title(problem.title.as_str())
                    .element(snippet),
            ];
            if let Some(help) = &problem.help {
                groups.push(Group::with_title(
                    Level::HELP.secondary_title(help.as_str()),
                ));
            }
            writeln!(f, "{}\n", renderer.render(&groups))?;
        }
        let count = self.problems.len();
        let s = if count == 1 { "" } else { "s" };
        write!(f, "{}: {count} problem{s}", self.name)
    }
}

/// The part of a span that is worth underlining: its first line, without what is empty at its end.
fn visible(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = span.start.min(text.len());
    let rest = &text[start..span.end.clamp(start, text.len())];
    let line = rest.lines().next().unwrap_or_default().trim_end();
    start..start + line.len()
}

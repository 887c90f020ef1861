//! The page for people: which queries there are, and how they do.

use std::fmt::Write;

use super::health::Queries;
use crate::query::StreamingQuery;

/// The style of all pages, light and dark.
pub(super) const STYLE: &str = "<style>
body { font: 15px system-ui, sans-serif; margin: 2em; color: #222; background: #fff }
table { border-collapse: collapse } td, th { padding: .3em 1em .3em 0; text-align: left; vertical-align: top }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums } .bad { color: #b00020 } .good { color: #1b6e20 }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } a { color: #8ab4f8 } .bad { color: #f28b82 } .good { color: #81c995 } }
</style>";

const HEAD: &str = "<!doctype html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"2\">
<title>Snapback</title>";

const BODY: &str = "</head><body><h1>Snapback</h1>\n";

const FOOT: &str = "<p>More: <a href=\"/readyz?verbose\">readyz</a>, <a href=\"/livez?verbose\">livez</a>, \
<a href=\"/startupz?verbose\">startupz</a>, <a href=\"/metrics\">metrics</a>, \
<a href=\"/api/v1/queries\">queries as JSON</a>.</p></body></html>\n";

/// The page, whole in itself; it asks for itself again every two seconds.
pub(super) fn page(queries: &Queries) -> String {
    let mut page = [HEAD, STYLE, BODY].concat();
    if queries.is_empty() {
        page += "<p>No query has started.</p>";
    } else {
        page += "<table><tr><th>Query<th>Service<th>State<th class=n>Requests/s<th class=n>p50 µs\
                 <th class=n>p99 µs<th class=n>Connections</tr>\n";
        for (name, query) in queries {
            match query {
                Some(query) => row(&mut page, query),
                None => {
                    let _ = writeln!(page, "<tr><td>{}<td><td>starting</tr>", Escaped(name));
                }
            }
        }
        page += "</table>";
    }
    page + FOOT
}

fn row(page: &mut String, query: &StreamingQuery) {
    let status = query.status();
    let class = if status.not_ready.is_empty() {
        "good"
    } else {
        "bad"
    };
    let services: Vec<_> = query
        .service_info()
        .iter()
        .map(ToString::to_string)
        .collect();
    let _ = write!(
        page,
        "<tr><td>{}<td>{} (<a href=\"/api/v1/queries/{}/reference\">what it takes and answers</a>)\
         <td class={class}>{}",
        Escaped(query.name()),
        Escaped(&services.join(" ")),
        Escaped(query.run_id()),
        Escaped(&status.message)
    );
    for reason in &status.not_ready {
        let _ = write!(page, "<br>{}", Escaped(&reason.to_string()));
    }
    if let Some(last) = query.last_progress() {
        let connections: usize = last.partitions.iter().map(|part| part.connections).sum();
        let _ = write!(
            page,
            "<td class=n>{:.0}<td class=n>{:.1}<td class=n>{:.1}<td class=n>{connections}",
            last.requests_per_second, last.latency.p50_us, last.latency.p99_us
        );
    }
    page.push_str("</tr>\n");
}

/// Text of a user's, where no markup may stand.
pub(super) struct Escaped<'t>(pub(super) &'t str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_bring_no_markup() {
        let page = page(&[("<script>alert('&\"')</script>".to_owned(), None)]);
        assert!(!page.contains("<script"), "{page}");
        assert!(
            page.contains("&lt;script&gt;alert(&#39;&amp;&quot;&#39;)"),
            "{page}"
        );
        assert!(super::page(&[]).contains("No query has started"));
    }
}

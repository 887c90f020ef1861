//! A report as one file that any browser shows, without a network: Markdown, with its pictures in it.

use std::collections::BTreeMap;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd, html};

/// Pictures by the name of their file, as SVG.
pub(super) type Pictures = BTreeMap<String, String>;

/// The page of a Markdown text. An image whose file is among the pictures becomes that picture, with
/// the image's text as its caption; HTML in the text is shown as text.
pub(super) fn page(title: &str, markdown: &str, pictures: &Pictures) -> String {
    let mut image: Option<(String, String)> = None;
    let events =
        Parser::new_ext(markdown, Options::ENABLE_TABLES).filter_map(|event| match event {
            Event::Start(Tag::Image { dest_url, .. }) => {
                image = Some((dest_url.into_string(), String::new()));
                None
            }
            Event::End(TagEnd::Image) => {
                let (file, caption) = image.take()?;
                Some(Event::InlineHtml(
                    figure(pictures.get(&file)?, &caption).into(),
                ))
            }
            Event::Text(text) | Event::Code(text) if image.is_some() => {
                if let Some((_, caption)) = &mut image {
                    caption.push_str(&text);
                }
                None
            }
            Event::Html(text) | Event::InlineHtml(text) => Some(Event::Text(text)),
            event => Some(event),
        });
    let mut body = String::new();
    html::push_html(&mut body, events);
    // Wide tables are scrolled by themselves, not with the page.
    let body = body
        .replace("<table>", "<div class=\"wide\"><table>")
        .replace("</table>", "</table></div>");
    let title = escaped(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n<main>\n{body}</main>\n</html>\n"
    )
}

/// A picture that is as wide as the text, and says what it shows to who cannot see it.
fn figure(svg: &str, caption: &str) -> String {
    let caption = escaped(caption);
    // Without a size of its own a picture takes that of its place.
    let (head, rest) = svg.split_once('>').unwrap_or((svg, ""));
    let kept = head
        .split(' ')
        .filter(|part| !part.starts_with("width=") && !part.starts_with("height="));
    let head = kept.collect::<Vec<_>>().join(" ");
    format!(
        "<span class=\"figure\">{head} role=\"img\" aria-label=\"{caption}\">{rest}\
         <span class=\"caption\">{caption}</span></span>"
    )
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            character => out.push(character),
        }
    }
    out
}

const STYLE: &str = "
:root { color-scheme: light dark; --paper: #fff; --ink: #1a1a1a; --soft: #595959; --line: #d4d4d4; --link: #0550ae }
@media (prefers-color-scheme: dark) {
  :root { --paper: #121417; --ink: #e8e8e8; --soft: #a8a8a8; --line: #3a3f45; --link: #79b8ff }
  svg { filter: invert(1) hue-rotate(180deg) }
}
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
main { max-width: 100rem; margin: 0 auto; padding: 1.5rem 1rem 4rem }
h1, h2, h3 { line-height: 1.2; margin: 2rem 0 .6rem }
a { color: var(--link) }
.wide { overflow-x: auto; margin: 1rem 0 }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .5rem; text-align: right }
th:first-child, td:first-child { text-align: left; min-width: 8rem }
p, li { max-width: 60rem }
.figure { display: block; margin: 1rem 0 }
.figure svg { display: block; width: 100%; max-width: 64rem; height: auto }
.caption { display: block; color: var(--soft); font-size: .85rem }
code { font-size: .9em }
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_take_the_place_of_images() {
        let svg = "<svg width=\"10\" height=\"5\" viewBox=\"0 0 10 5\"><g/></svg>";
        let pictures = Pictures::from([("a.svg".to_owned(), svg.to_owned())]);
        let page = page(
            "A & B",
            "# A\n\n![Two < *three*](a.svg)\n\n![none](b.svg)\n",
            &pictures,
        );
        assert!(page.contains("<title>A &amp; B</title>"), "{page}");
        assert!(
            page.contains(
                "<span class=\"figure\"><svg viewBox=\"0 0 10 5\" role=\"img\" \
                 aria-label=\"Two &lt; three\"><g/></svg>"
            ),
            "{page}"
        );
        assert!(!page.contains("none"), "{page}");
    }

    #[test]
    fn tables_are_tables_and_html_is_text() {
        let text = "| a | b |\n|---|---|\n| 1 | <script>2</script> |\n";
        let page = page("t", text, &Pictures::new());
        assert!(page.contains("<div class=\"wide\"><table>"), "{page}");
        assert!(!page.contains("<script>"), "{page}");
        // Self-contained: nothing is fetched.
        assert!(!page.contains("http"), "{page}");
    }
}

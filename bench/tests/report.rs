//! The pages of the lab, as a browser shows them, on a light and on a dark screen.

use std::fs::{self, File};
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

/// The window of the browser; the pages are longer, and the window is made as long as they are.
const WIDTH: u32 = 1000;

/// Looks at a page from within, and leaves what it found in its title.
const LOOK: &str = r#"<script>
const problems = [], figures = [];
const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const colour = text => text.match(/[\d.]+/g).slice(0, 3).map(Number);
const paper = luminance(colour(getComputedStyle(document.body).backgroundColor));
for (const element of document.querySelectorAll('p, li, td, th, a, .caption, h1, h2, h3')) {
    const ink = luminance(colour(getComputedStyle(element).color));
    const contrast = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    // WCAG 2.2, 1.4.3: at least 4.5 to 1.
    if (contrast < 4.5) problems.push(`contrast ${contrast}: ${element.textContent.slice(0, 40)}`);
}
if (document.documentElement.scrollWidth > innerWidth) problems.push('wider than the window');
for (const svg of document.querySelectorAll('svg')) {
    const box = svg.getBoundingClientRect();
    const name = svg.getAttribute('aria-label');
    if (!name) problems.push('a picture without a name');
    const texts = [...svg.querySelectorAll('text')].map(text =>
        [text.textContent.trim(), text.getBoundingClientRect()]);
    for (const [words, at] of texts) {
        if (at.left < box.left - 1 || at.right > box.right + 1 || at.top < box.top - 1 || at.bottom > box.bottom + 1)
            problems.push(`${name}: "${words}" is cut off`);
    }
    for (const [i, [a, x]] of texts.entries()) for (const [b, y] of texts.slice(i + 1)) {
        if (x.left + 1 < y.right && y.left + 1 < x.right && x.top + 3 < y.bottom && y.top + 3 < x.bottom)
            problems.push(`${name}: "${a}" lies on "${b}"`);
    }
    const { left, top, width, height } = box;
    figures.push({ name, left, top: top + scrollY, width, height });
}
const height = document.documentElement.scrollHeight, isDark = paper < 0.2;
document.title = JSON.stringify({ problems, figures, height, isDark });
</script>"#;

/// What [`LOOK`] found.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Seen {
    problems: Vec<String>,
    figures: Vec<Figure>,
    height: f64,
    is_dark: bool,
}

#[derive(Debug, Deserialize)]
struct Figure {
    name: String,
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

#[test]
fn pages_are_readable_in_light_and_dark() {
    if let Err(error) = Command::new("chromium").arg("--version").output() {
        // Past the harness's capture, for whoever counts.
        let _ = writeln!(
            std::io::stderr(),
            "skipped: pages_are_readable_in_light_and_dark: chromium: {error}"
        );
        return;
    }
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: pages_are_readable_in_light_and_dark: the lab needs two cores"
        );
        return;
    }
    let reports = tempfile::tempdir().expect("a folder");
    let lab = Command::new(env!("CARGO_BIN_EXE_snapback-bench"))
        .args(["lab", "--smoke", "--reports"])
        .arg(reports.path())
        .stderr(Stdio::null())
        .output()
        .expect("the lab runs");
    let said = String::from_utf8_lossy(&lab.stdout);
    assert!(lab.status.success(), "{lab:?}");
    let page = said.lines().find_map(|line| line.strip_prefix("report: "));
    let page = PathBuf::from(page.unwrap_or_else(|| panic!("no report: {said}")));
    for (page, least) in [(page, 20), (reports.path().join("index.html"), 1)] {
        for is_dark in [false, true] {
            check(&page, is_dark, least);
        }
    }
}

fn check(page: &Path, is_dark: bool, least: usize) {
    let place = format!("{}, dark: {is_dark}", page.display());
    let folder = tempfile::tempdir().expect("a folder");
    let html = fs::read_to_string(page).expect("the page");
    assert!(
        !html.contains("src=") && !html.contains("@import"),
        "{place} fetches something"
    );
    let looking = folder.path().join("page.html");
    fs::write(&looking, html.replace("</html>", &format!("{LOOK}</html>"))).expect("written");
    let dom = browse(&looking, is_dark, 800, &["--dump-dom"], folder.path());
    let dom = String::from_utf8_lossy(&dom);
    let title = dom
        .split_once("<title>")
        .and_then(|(_, rest)| rest.split_once("</title>"));
    let title = title
        .unwrap_or_else(|| panic!("{place}: no title: {dom:.500}"))
        .0;
    let json = title
        .replace("&amp;", "&")
        .replace("&lt;", "<")
        .replace("&gt;", ">");
    let seen: Seen = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{place}: {e}: {json}"));
    assert!(seen.problems.is_empty(), "{place}: {:#?}", seen.problems);
    assert_eq!(seen.is_dark, is_dark, "{place}");
    assert!(seen.figures.len() >= least, "{place}: {:?}", seen.figures);
    let shot = folder.path().join("page.png");
    let option = format!("--screenshot={}", shot.display());
    browse(page, is_dark, seen.height as u32, &[&option], folder.path());
    let painted = Painted::read(&shot);
    for figure in &seen.figures {
        painted.check(figure, is_dark, &place);
    }
}

/// Opens a page, and gives what the browser writes.
fn browse(page: &Path, is_dark: bool, height: u32, more: &[&str], profile: &Path) -> Vec<u8> {
    let scheme = match is_dark {
        true => "--blink-settings=preferredColorScheme=0",
        false => "--blink-settings=preferredColorScheme=1",
    };
    let output = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            scheme,
        ])
        .arg(format!("--window-size={WIDTH},{height}"))
        .arg(format!(
            "--user-data-dir={}",
            profile.join("profile").display()
        ))
        .args(more)
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("the browser runs");
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// What the browser painted.
struct Painted {
    width: usize,
    pixels: Vec<[u8; 3]>,
}

impl Painted {
    fn read(path: &Path) -> Painted {
        let file = BufReader::new(File::open(path).expect("a screenshot"));
        let mut reader = png::Decoder::new(file).read_info().expect("a PNG");
        let mut bytes = vec![0; reader.output_buffer_size().expect("a size")];
        let info = reader.next_frame(&mut bytes).expect("a picture");
        let channels = info.color_type.samples();
        assert!(
            channels >= 3 && info.bit_depth == png::BitDepth::Eight,
            "{info:?}"
        );
        Painted {
            width: info.width as usize,
            pixels: bytes
                .chunks_exact(channels)
                .map(|p| [p[0], p[1], p[2]])
                .collect(),
        }
    }

    /// A picture has ink that stands out from its paper, in several colours, and paper left.
    fn check(&self, figure: &Figure, is_dark: bool, place: &str) {
        let Figure {
            name,
            left,
            top,
            width,
            height,
        } = figure;
        let rows = *top as usize..(top + height) as usize;
        let columns = *left as usize..(left + width) as usize;
        let of_row = |row: usize| &self.pixels[row * self.width..][columns.clone()];
        let pixels: Vec<_> = rows.flat_map(of_row).copied().collect();
        let brightness = |[r, g, b]: [u8; 3]| u32::from(r) + u32::from(g) + u32::from(b);
        let paper = pixels[0];
        assert_eq!(
            brightness(paper) < 200,
            is_dark,
            "{place}: {name} on {paper:?}"
        );
        let stands_out = |pixel: &&[u8; 3]| brightness(**pixel).abs_diff(brightness(paper)) > 200;
        let mut colours: Vec<_> = pixels.iter().filter(stands_out).copied().collect();
        let part = colours.len() as f64 / pixels.len() as f64;
        assert!(
            (0.002..0.7).contains(&part),
            "{place}: {name} has {part} of ink"
        );
        colours.sort_unstable();
        colours.dedup();
        assert!(
            colours.len() >= 3,
            "{place}: {name} has the colours {colours:?}"
        );
    }
}

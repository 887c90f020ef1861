//! A line on standard error while a load runs, drawn by a thread of its own.
//!
//! The thread that measures only puts news into a channel, ten times a second, and never waits
//! there: what does not fit is dropped. Nobody waits at the other end either, since then each of
//! the news would be a system call that wakes somebody up; whoever draws looks every now and then.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::options::LoadOptions;
use super::timeline::{KEPT_NS, STEP_NS, Step};

/// How often a terminal is drawn on.
const REDRAW: Duration = Duration::from_millis(250);

/// How often a line is added to what is no terminal.
const LINE: Duration = Duration::from_secs(1);

/// News that wait to be looked at; what does not fit is dropped. Between two looks at most eleven come.
const NEWS: usize = 32;

/// From here on without a reply, the line says so in place of the figures of the last step.
const SILENCE: Duration = Duration::from_millis(500);

/// When to show how far a load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ShowProgress {
    /// When standard error is a terminal.
    Auto,
    /// Also elsewhere, there as a line a second.
    Always,
    /// Never.
    Never,
}

/// What the thread that measures tells.
#[derive(Clone, Copy, Debug)]
pub(super) enum News {
    /// The window opened.
    Began(Instant),
    /// A step of the timeline is over.
    Closed {
        step: Step,
        /// When it ended, since the window began.
        end_ns: u64,
        /// Replies and failures up to there.
        done: u64,
        /// Errors up to there, of the warm-up too.
        errors: u64,
    },
}

/// Where it tells them.
#[derive(Clone, Debug)]
pub(super) struct Feed(SyncSender<News>);

impl Feed {
    /// Never waits.
    pub(super) fn tell(&self, news: News) {
        // Nobody misses news that are too many, nor those after the end.
        let _ = self.0.try_send(news);
    }
}

/// The line and its thread, which end with it.
#[derive(Debug)]
pub(super) struct Progress {
    feed: Feed,
    /// Taken to end the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Starts to show how far a load is; nothing where nobody would see it. To be called before
    /// the core of the load is chosen, which threads inherit.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start(options: &LoadOptions, show: ShowProgress) -> io::Result<Option<Progress>> {
        let surface = match show {
            ShowProgress::Never => return Ok(None),
            ShowProgress::Auto | ShowProgress::Always => Surface::of_stderr(),
        };
        if show == ShowProgress::Auto && matches!(surface, Surface::Lines) {
            return Ok(None);
        }
        let status = Status::new(options);
        let (sender, news) = sync_channel(NEWS);
        let (stop, stopped) = channel();
        let thread = thread::Builder::new()
            .name("progress".into())
            .spawn(move || draw(status, &surface, &news, &stopped))?;
        Ok(Some(Progress {
            feed: Feed(sender),
            stop: Some(stop),
            thread: Some(thread),
        }))
    }

    pub(super) fn feed(&self) -> Feed {
        self.feed.clone()
    }
}

impl Drop for Progress {
    /// Clears the line, so that what is printed next does not stand beside it.
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so, and a report is worth more than its progress.
            let _ = thread.join();
        }
    }
}

/// Where the line is shown.
enum Surface {
    /// On a terminal, in place. The text is shared with the style of the bar, so that bar and text
    /// are drawn at once.
    Bar(ProgressBar, Arc<Mutex<String>>),
    /// Elsewhere, one after the other.
    Lines,
}

/// Positions of the bar.
const POSITIONS: u64 = 1000;

impl Surface {
    fn of_stderr() -> Surface {
        let bar = ProgressBar::with_draw_target(Some(POSITIONS), ProgressDrawTarget::stderr());
        if bar.is_hidden() {
            return Surface::Lines;
        }
        let text = Arc::new(Mutex::new(String::new()));
        let shared = Arc::clone(&text);
        let style = ProgressStyle::with_template("[{bar:20}] {status}")
            .expect("the template is a constant, and valid")
            .progress_chars("=> ")
            .with_key(
                "status",
                move |_: &ProgressState, out: &mut dyn fmt::Write| {
                    let text = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    let _ = out.write_str(&text);
                },
            );
        bar.set_style(style);
        Surface::Bar(bar, text)
    }

    fn show(&self, status: &Status, elapsed: Option<Duration>) {
        let line = status.text(elapsed);
        match self {
            Surface::Bar(bar, text) => {
                *text.lock().unwrap_or_else(PoisonError::into_inner) = line;
                let position = (status.share(elapsed) * POSITIONS as f64) as u64;
                bar.update(|state| state.set_pos(position));
            }
            // Who does not read is not waited for, and nobody else is there to be told.
            Surface::Lines => drop(writeln!(io::stderr(), "{line}")),
        }
    }
}

/// Shows the status until it is told to stop.
fn draw(mut status: Status, surface: &Surface, news: &Receiver<News>, stopped: &Receiver<()>) {
    let interval = match surface {
        Surface::Bar(..) => REDRAW,
        Surface::Lines => LINE,
    };
    let mut began: Option<Instant> = None;
    while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
        for news in news.try_iter() {
            match news {
                News::Began(at) => began = Some(at),
                closed @ News::Closed { .. } => status.last = Some(closed),
            }
        }
        surface.show(&status, began.map(|began| began.elapsed()));
    }
    if let Surface::Bar(bar, _) = surface {
        bar.finish_and_clear();
    }
}

/// How far a load is.
struct Status {
    total: Duration,
    /// The requests of a load that ends with a count.
    count: Option<u64>,
    /// The last step that closed.
    last: Option<News>,
}

impl Status {
    fn new(options: &LoadOptions) -> Status {
        Status {
            total: options.phases().iter().map(|phase| phase.duration).sum(),
            count: options.count,
            last: None,
        }
    }

    /// The part of the load that is done, from 0 to 1.
    fn share(&self, elapsed: Option<Duration>) -> f64 {
        let of_time = elapsed.map_or(0.0, |elapsed| elapsed.div_duration_f64(self.total));
        let share = match (self.count, self.last) {
            (Some(count), Some(News::Closed { done, .. })) => done as f64 / count as f64,
            (Some(_), _) => 0.0,
            (None, _) => of_time,
        };
        share.clamp(0.0, 1.0)
    }

    /// What the line says; without a time the window is not open yet.
    fn text(&self, elapsed: Option<Duration>) -> String {
        let Some(elapsed) = elapsed else {
            return "warming up".to_owned();
        };
        let mut text = String::new();
        let (now_s, total_s) = (elapsed.as_secs_f64(), self.total.as_secs_f64());
        // To write into a string cannot fail, here and below.
        let _ = match self.count {
            Some(count) => write!(text, "{now_s:.1} s, {count} requests"),
            None => write!(text, "{:.1}/{total_s:.1} s", now_s.min(total_s)),
        };
        let Some(News::Closed {
            step,
            end_ns,
            errors,
            ..
        }) = self.last
        else {
            return text + " · no reply yet";
        };
        let silent = elapsed.saturating_sub(Duration::from_nanos(end_ns));
        let _ = if elapsed.as_nanos() > u128::from(KEPT_NS) {
            write!(text, " · figures end after {} s", KEPT_NS / 1_000_000_000)
        } else if silent >= SILENCE + REDRAW {
            write!(text, " · no reply for {:.1} s", silent.as_secs_f64())
        } else {
            let replies = step.good + step.shed + step.failed;
            let per_s = replies as f64 * 1e9 / STEP_NS as f64;
            let [p50, p99, max] = [step.good_p50_us, step.good_p99_us, step.good_max_us].map(time);
            write!(text, " · {per_s:.0}/s · p50 {p50} · p99 {p99} · max {max}")
        };
        let _ = write!(text, " · errors {errors}");
        text
    }
}

/// A latency with three digits or so, as wide as a line has room for.
fn time(us: f64) -> String {
    match us {
        ..1e3 => format!("{us:.1} µs"),
        ..1e6 => format!("{:.1} ms", us / 1e3),
        _ => format!("{:.1} s", us / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(count: Option<u64>, last: Option<News>) -> Status {
        Status {
            total: Duration::from_secs(10),
            count,
            last,
        }
    }

    fn closed(good: u64, end_ns: u64) -> Option<News> {
        let step = Step {
            good,
            good_p50_us: 12.34,
            good_p99_us: 2345.6,
            good_max_us: 1_234_567.0,
            ..Step::default()
        };
        Some(News::Closed {
            step,
            end_ns,
            done: 250,
            errors: 7,
        })
    }

    #[test]
    fn the_line_says_how_far_and_how_fast() {
        let after = |ms| Some(Duration::from_millis(ms));
        let status_at_2_s = status(None, closed(4100, 2_000_000_000));
        assert_eq!(status(None, None).text(None), "warming up");
        assert_eq!(
            status(None, None).text(after(100)),
            "0.1/10.0 s · no reply yet"
        );
        assert_eq!(
            status_at_2_s.text(after(2050)),
            "2.0/10.0 s · 41000/s · p50 12.3 µs · p99 2.3 ms · max 1.2 s · errors 7"
        );
        assert_eq!(
            status_at_2_s.text(after(3500)),
            "3.5/10.0 s · no reply for 1.5 s · errors 7"
        );
        assert_eq!(
            status_at_2_s.text(after(601_000)),
            "10.0/10.0 s · figures end after 600 s · errors 7"
        );
    }

    #[test]
    fn the_bar_goes_by_time_or_by_requests() {
        let after = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(status(None, None).share(None), 0.0);
        assert_eq!(status(None, None).share(after(5)), 0.5);
        assert_eq!(status(None, None).share(after(11)), 1.0);
        assert_eq!(status(Some(1000), closed(1, 1)).share(after(9)), 0.25);
        let text = status(Some(1000), None).text(after(9));
        assert_eq!(text, "9.0 s, 1000 requests · no reply yet");
    }

    #[test]
    fn who_tells_never_waits() {
        let (sender, news) = sync_channel(1);
        let feed = Feed(sender);
        let at = Instant::now();
        feed.tell(News::Began(at));
        feed.tell(News::Began(at));
        assert_eq!(news.try_iter().count(), 1);
        drop(news);
        feed.tell(News::Began(at));
    }
}

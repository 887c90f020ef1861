//! What the service manager (systemd, of `Type=notify`) is told, for processes that ask for it.

use std::ffi::OsString;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::io::notify::{address, notify};
use crate::query::StreamingQuery;
use crate::session::Streams;

/// The service manager that started this process.
#[derive(Debug)]
pub(crate) struct ServiceManager {
    address: OsString,
    knows_the_end: AtomicBool,
}

/// Tells it that this process is the service now, before the one that was taken over ends: its end
/// would else be taken for the end of the service.
pub(crate) fn tell_main_process() -> io::Result<()> {
    let Some(address) = address() else {
        return Ok(());
    };
    notify(&address, &format!("MAINPID={}\n", std::process::id()))
}

/// Tells it that the queries serve, and from now on that they live, if it wants to hear of that;
/// `None` when there is no service manager.
pub(crate) fn tell_ready(streams: Streams) -> io::Result<Option<ServiceManager>> {
    let Some(address) = address() else {
        return Ok(None);
    };
    let (pid, queries) = (std::process::id(), streams.active().len());
    let ready = format!("READY=1\nMAINPID={pid}\nSTATUS=serving {queries} queries\n");
    notify(&address, &ready)?;
    let variable = |name| std::env::var(name).ok();
    let (usec, of_pid) = (variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"));
    if let Some(period) = watchdog_period(usec.as_deref(), of_pid.as_deref(), pid) {
        let address = address.clone();
        thread::Builder::new()
            .name("snapback-watchdog".to_owned())
            .spawn(move || keep_alive(&address, &streams, period))?;
    }
    Ok(Some(ServiceManager {
        address,
        knows_the_end: AtomicBool::new(false),
    }))
}

impl ServiceManager {
    /// Tells it that the service stops, if these are all its queries and each of them does. When
    /// another process has taken over, the service goes on there.
    pub(crate) fn tell_if_stopping(&self, queries: &[StreamingQuery]) {
        let stops = |query: &StreamingQuery| {
            let status = query.status();
            (status.is_draining || !status.is_active) && !query.has_successor()
        };
        if queries.iter().all(stops) && !self.knows_the_end.swap(true, Ordering::Relaxed) {
            tell(&self.address, "STOPPING=1\n");
        }
    }
}

/// Half of the time within which the watchdog wants to hear of this process, if it does.
fn watchdog_period(usec: Option<&str>, of_pid: Option<&str>, pid: u32) -> Option<Duration> {
    if of_pid.is_some_and(|of_pid| of_pid != pid.to_string()) {
        return None;
    }
    let usec: u64 = usec?.parse().ok()?;
    (usec > 0).then(|| Duration::from_micros(usec / 2))
}

/// Until all queries have ended, or live on in another process. Silent while an operator blocks a
/// partition: to end that is what a watchdog is for.
fn keep_alive(address: &OsString, streams: &Streams, period: Duration) {
    loop {
        let queries = streams.active();
        if queries.iter().all(StreamingQuery::has_successor) {
            return;
        }
        let is_stuck = |query: &StreamingQuery| query.status().stuck_partition.is_some();
        if !queries.iter().any(is_stuck) {
            tell(address, "WATCHDOG=1\n");
        }
        thread::park_timeout(period);
    }
}

fn tell(address: &OsString, message: &str) {
    if let Err(error) = notify(address, message) {
        tracing::warn!(%error, "the service manager cannot be told: {}", message.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_hears_twice_in_its_time() {
        let half = Some(Duration::from_secs(1));
        assert_eq!(watchdog_period(Some("2000000"), None, 7), half);
        assert_eq!(watchdog_period(Some("2000000"), Some("7"), 7), half);
        assert_eq!(watchdog_period(Some("2000000"), Some("8"), 7), None);
        assert_eq!(watchdog_period(Some("0"), None, 7), None);
        assert_eq!(watchdog_period(Some("soon"), None, 7), None);
        assert_eq!(watchdog_period(None, None, 7), None);
    }
}

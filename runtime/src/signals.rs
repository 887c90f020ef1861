//! An orderly end by signal, for processes that ask for it.

use std::io;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::session::Streams;

pub(crate) fn drain_on_signals(streams: Streams) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new()
        .name("snapback-signals".to_owned())
        .spawn(move || {
            let mut asked = false;
            for signal in signals.forever() {
                let active = streams.active();
                if asked || active.is_empty() {
                    // What the signal would have done without us: the process ends by it.
                    let _ = emulate_default_handler(signal);
                }
                tracing::info!(
                    signal,
                    queries = active.len(),
                    "draining; a second signal ends at once"
                );
                asked = true;
                for query in active {
                    query.request_stop();
                }
            }
        })?;
    Ok(())
}

//! Where DataFusion's futures run while a pipeline is built.

use std::thread;

use crate::error::Result;

/// Waits for a future of DataFusion's on a thread of its own, since the caller may stand on a
/// thread of a runtime already, which cannot wait. Nothing of it is left when this returns: no
/// request meets it.
pub(crate) fn wait_for<T, F>(work: impl FnOnce() -> F + Send) -> Result<T>
where
    T: Send,
    F: Future<Output = Result<T>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::scope(|scope| {
        let planner = thread::Builder::new()
            .name("snapback-planner".to_owned())
            .spawn_scoped(scope, || runtime.block_on(work()))?;
        match planner.join() {
            Ok(result) => result,
            Err(payload) => std::panic::resume_unwind(payload),
        }
    })
}

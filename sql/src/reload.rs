//! Tables that change while they are served: files, and what streams fill in memory.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use datafusion::catalog::TableProvider;
use datafusion::catalog::default_table_source::source_as_provider;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::listing::ListingTable;
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::LogicalPlan;

use crate::error::{Result, SqlError};
use crate::operator::Engine;
use crate::plan::is_requests;
use crate::planner::{Planned, Planner};
use crate::sink::MemoryTable;

/// How many levels of folders of a table are looked into.
const MOST_LEVELS: usize = 8;

/// What of a plan's tables changes, as it was when it was looked at last.
pub(crate) struct Watched {
    changing: Changing,
    every: Duration,
    seen: Seen,
    /// The files as they were when they were read last.
    read: Vec<Stamp>,
}

/// What of the tables of plans changes.
#[derive(Default)]
struct Changing {
    /// The files and folders on local disk.
    roots: BTreeSet<PathBuf>,
    /// The tables that streams fill.
    memory: Vec<Arc<dyn TableProvider>>,
}

/// What tells a change: the files, and how many rows each table in memory ever had.
type Seen = (Vec<Stamp>, Vec<u64>);

/// Whoever has this wants the tables to be looked at.
#[derive(Debug)]
pub(crate) struct Watching(
    #[expect(dead_code, reason = "its end is what is told")] Sender<Infallible>,
);

/// What tells a file from the one that it was: path, inode, length, time of the last change.
type Stamp = (PathBuf, u64, u64, (i64, i64));

impl Watched {
    /// The tables of these plans that change.
    ///
    /// # Errors
    ///
    /// [`SqlError::NoFiles`] when there are none.
    pub(crate) fn of(planner: &Planner, every: Duration) -> Result<Self> {
        let mut changing = Changing::default();
        for plan in planner.early.iter().chain([&planner.plan]) {
            changing.add(plan)?;
        }
        if changing.roots.is_empty() && changing.memory.is_empty() {
            return Err(SqlError::NoFiles);
        }
        let seen = changing.seen();
        let read = seen.0.clone();
        Ok(Watched {
            changing,
            every,
            seen,
            read,
        })
    }

    /// Looks at them from now on, on a thread that ends when what this gives is dropped.
    pub(crate) fn begin(mut self, planner: Planner, engine: Weak<Engine>) -> Result<Watching> {
        let (watching, gone) = mpsc::channel();
        thread::Builder::new()
            .name("snapback-tables".to_owned())
            .spawn(move || {
                while let Err(RecvTimeoutError::Timeout) = gone.recv_timeout(self.every) {
                    self.look(&planner, &engine);
                }
            })?;
        Ok(Watching(watching))
    }

    /// Reads the tables anew, if they have changed.
    fn look(&mut self, planner: &Planner, engine: &Weak<Engine>) {
        let now = self.changing.seen();
        if now == self.seen {
            return;
        }
        // A stream may change its table each second, which is nothing to tell.
        let files_changed = now.0 != self.seen.0;
        // It is not tried again before they change again.
        self.seen = now;
        if let Some(root) = self.changing.gone(&self.read, &self.seen.0) {
            tracing::warn!(
                "the tables of a column pipeline have changed, but the file {} is gone, so the old \
                 ones stay until it is back",
                root.display()
            );
            return;
        }
        let caches = &planner.state.runtime_env().cache_manager;
        if let Some(files) = caches.get_list_files_cache() {
            files.clear();
        }
        if let Some(statistics) = caches.get_file_statistic_cache() {
            statistics.clear();
        }
        caches.get_file_metadata_cache().clear();
        match planner.plan() {
            Ok(Planned { early, works, .. }) => {
                self.read.clone_from(&self.seen.0);
                if let Some(engine) = engine.upgrade() {
                    engine.exchange(early, works);
                    match files_changed {
                        true => tracing::info!("the tables of a column pipeline were read anew"),
                        false => tracing::debug!("a table that a stream fills was read anew"),
                    }
                }
            }
            Err(error) => tracing::warn!(
                "the tables of a column pipeline have changed and cannot be read, so the old ones \
                 stay: {error}"
            ),
        }
    }
}

/// The files and folders of a plan's tables that are on local disk.
pub(crate) fn files_of(plan: &LogicalPlan) -> PlanResult<BTreeSet<PathBuf>> {
    let mut changing = Changing::default();
    changing.add(plan)?;
    Ok(changing.roots)
}

impl Changing {
    fn add(&mut self, plan: &LogicalPlan) -> PlanResult<()> {
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && !is_requests(scan)
            {
                self.add_table(source_as_provider(&scan.source)?)?;
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(())
    }

    fn add_table(&mut self, table: Arc<dyn TableProvider>) -> PlanResult<()> {
        if let Some(files) = table.downcast_ref::<ListingTable>() {
            let paths = files.table_paths().iter();
            let paths = paths.filter_map(|path| path.get_url().to_file_path().ok());
            self.roots.extend(paths);
        }
        // A view is the plan of another query.
        if let Some(plan) = table.get_logical_plan() {
            self.add(&plan)?;
        }
        if table.is::<MemoryTable>() {
            self.memory.push(table);
        }
        Ok(())
    }

    /// A table of which nothing is left where something was: to read it anew would be to forget it, and
    /// who replaces a file by removing it first is not done yet.
    fn gone(&self, before: &[Stamp], now: &[Stamp]) -> Option<&Path> {
        let has_files = |stamps: &[Stamp], root: &Path| {
            let mut files = stamps.iter().map(|(path, ..)| path);
            files.any(|path| path.starts_with(root))
        };
        let roots = self.roots.iter().map(PathBuf::as_path);
        let mut roots = roots.filter(|root| has_files(before, root));
        roots.find(|root| !has_files(now, root))
    }

    fn seen(&self) -> Seen {
        let tables = self.memory.iter();
        let tables = tables.filter_map(|table| table.downcast_ref::<MemoryTable>());
        let ever = tables.map(|table| {
            let (kept, left) = table.rows();
            kept as u64 + left
        });
        (stamps(&self.roots), ever.collect())
    }
}

fn stamps(roots: &BTreeSet<PathBuf>) -> Vec<Stamp> {
    let mut stamps = Vec::new();
    for root in roots {
        add_stamps(root, MOST_LEVELS, &mut stamps);
    }
    stamps.sort();
    stamps
}

/// A file that is not there now has no stamp: that, too, is a change.
fn add_stamps(path: &Path, levels: usize, stamps: &mut Vec<Stamp>) {
    let Ok(metadata) = fs::metadata(path) else {
        return;
    };
    if !metadata.is_dir() {
        let changed = (metadata.mtime(), metadata.mtime_nsec());
        stamps.push((path.to_owned(), metadata.ino(), metadata.len(), changed));
        return;
    }
    let (Ok(entries), Some(levels)) = (fs::read_dir(path), levels.checked_sub(1)) else {
        return;
    };
    for entry in entries.flatten() {
        add_stamps(&entry.path(), levels, stamps);
    }
}

//! From a plan to a running query.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use crossbeam_utils::CachePadded;
use snapback_operators::{Chain, Run};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::checkpoint::{Checkpoint, Location, Recovered};
use crate::epoch::{EpochThread, Message, PartitionHandle};
use crate::error::{Error, Result};
use crate::http1::Limits;
use crate::io::listen::{self, Address, PartitionListeners};
use crate::io::pin;
use crate::options::{Options, PortMode};
use crate::partition::{
    Acceptor, Deferrals, Mailbox, Partition, Phase, Policy, Published, Spin, Worker,
};
use crate::query::{Identity, Shared, StreamingQuery};
use crate::route::Route;
use crate::service_info::ServiceInfo;
use crate::session::Session;

/// A query that is complete, and checked but for what only the operating system can tell.
pub(crate) struct Plan {
    pub(crate) session: Session,
    pub(crate) chain: Box<dyn Chain>,
    pub(crate) name: String,
    pub(crate) service: String,
    pub(crate) options: Options,
    pub(crate) interval: Duration,
}

/// Starts a query. Whatever fails, what was begun before it is undone.
pub(crate) fn start(plan: Plan) -> Result<StreamingQuery> {
    let Plan {
        session,
        chain,
        name,
        service,
        options,
        interval,
    } = plan;
    let reservation = session.registry().reserve(&service, &name)?;
    let (checkpoint, recovered) = open_checkpoint(&options, &service, &name)?;
    if cfg!(panic = "abort") {
        tracing::warn!(
            query = name,
            "this program is built with panic = \"abort\": a panic in one request's operators ends \
             the process, with all requests in it; build with panic = \"unwind\""
        );
    }
    let address = Address::new(&options.host, options.port);
    let listeners = listen::bind(
        &address,
        options.port_mode,
        options.num_partitions,
        options.max_port_attempts,
    )?;
    let cores = pin::place(&options.pinning, options.num_partitions)?;

    let run_id = Uuid::now_v7().simple().to_string();
    let service_info = ServiceInfo::of(
        &service,
        &options.host,
        &options.path,
        options.port_mode,
        &listeners,
    );
    let (to_epoch_thread, messages) = mpsc::channel();
    let shared = Arc::new(Shared::new(
        Identity {
            id: recovered.query_id.to_string(),
            run_id: run_id.clone(),
            name,
            service: service.clone(),
            service_info,
        },
        options.recent_progress,
        to_epoch_thread.clone(),
    ));

    let runtime = if chain.defers() {
        Some(session.registry().runtime()?)
    } else {
        None
    };
    let run = Arc::new(Run::new(service, run_id));
    let starter = PartitionStarter {
        options: &options,
        chain: &*chain,
        run,
        runtime,
        to_epoch_thread,
    };
    let partitions = starter.start_all(listeners, &cores, &recovered, &messages)?;
    let query = StreamingQuery::new(Arc::clone(&shared));
    let epoch_thread = EpochThread::new(
        shared,
        Arc::clone(session.registry()),
        partitions,
        checkpoint,
        recovered,
        messages,
        &options,
        interval,
    );
    thread::Builder::new()
        .name("snapback-epochs".to_owned())
        .spawn(move || epoch_thread.run())
        .map_err(Error::system("cannot start the epoch thread"))?;
    reservation.keep(query.clone());
    Ok(query)
}

fn open_checkpoint(
    options: &Options,
    service: &str,
    query: &str,
) -> Result<(Option<Checkpoint>, Recovered)> {
    match &options.checkpoint_location {
        Some(location) => {
            let location = Location::parse(location)?;
            let (checkpoint, recovered) =
                Checkpoint::open(&location, service, options.min_epochs_to_retain)?;
            Ok((Some(checkpoint), recovered))
        }
        None => {
            tracing::warn!(
                query,
                "no checkpointLocation: offsets begin at 0 again at the next start; give \
                 option(\"checkpointLocation\", \"file:///…\") to keep them"
            );
            Ok((
                None,
                Recovered {
                    query_id: Uuid::new_v4(),
                    last_epoch: None,
                    partitions: BTreeMap::new(),
                },
            ))
        }
    }
}

struct PartitionStarter<'s> {
    options: &'s Options,
    chain: &'s dyn Chain,
    run: Arc<Run>,
    runtime: Option<Handle>,
    to_epoch_thread: Sender<Message>,
}

impl PartitionStarter<'_> {
    /// Starts all partitions, and returns when each of them serves.
    fn start_all(
        &self,
        listeners: Vec<PartitionListeners>,
        cores: &[Option<usize>],
        recovered: &Recovered,
        messages: &Receiver<Message>,
    ) -> Result<Vec<PartitionHandle>> {
        let mailboxes: Arc<[Arc<Mailbox>]> = listeners
            .iter()
            .map(|_| Mailbox::new().map(Arc::new))
            .collect::<std::io::Result<_>>()
            .map_err(Error::system("cannot make a partition's wake-up"))?;
        let stop_all = || {
            mailboxes
                .iter()
                .for_each(|mailbox| mailbox.advance(Phase::Stopping))
        };
        let mut handles = Vec::new();
        for (index, (listeners, core)) in listeners.into_iter().zip(cores).enumerate() {
            let next = recovered
                .partitions
                .get(&(index as u32))
                .map_or(0, |marks| marks.next);
            let handle = PartitionHandle::new(
                Arc::clone(&mailboxes[index]),
                Arc::new(CachePadded::new(Published::new(next))),
            );
            let shared =
                (self.options.port_mode == PortMode::Shared).then(|| Arc::clone(&mailboxes));
            let acceptor = Acceptor::new(listeners, Arc::clone(&mailboxes[index]), shared);
            self.start_one(index, *core, &handle, acceptor, next)
                .inspect_err(|_| stop_all())?;
            handles.push(handle);
        }
        for _ in 0..handles.len() {
            match messages.recv() {
                Ok(Message::PartitionServes) => {}
                Ok(Message::PartitionEnded(Err(error))) => {
                    stop_all();
                    return Err(error);
                }
                _ => unreachable!("a partition that starts says first whether it serves"),
            }
        }
        Ok(handles)
    }

    fn start_one(
        &self,
        index: usize,
        core: Option<usize>,
        handle: &PartitionHandle,
        acceptor: Acceptor,
        next: u64,
    ) -> Result<()> {
        let worker = Worker::new(
            self.chain.instance(),
            Arc::clone(&self.run),
            index as u32,
            next,
            policy(self.options),
            Deferrals::new(
                self.runtime.clone(),
                Waker::from(Arc::clone(&handle.mailbox)),
                self.options.request_timeout.as_nanos() as u64,
            ),
        );
        let (mode, spin_ns) = (
            self.options.poll_mode,
            self.options.spin_duration.as_nanos() as u64,
        );
        let (mailbox, published) = (Arc::clone(&handle.mailbox), Arc::clone(&handle.published));
        let to_epoch_thread = self.to_epoch_thread.clone();
        let serve = move || -> Result<()> {
            if let Some(core) = core {
                pin::pin_this_thread(core)?;
            }
            let spin = Spin::new(mode, spin_ns);
            let failed = Error::system(format!("partition {index} cannot serve"));
            let mut partition =
                Partition::new(mailbox, published, acceptor, worker, spin).map_err(failed)?;
            let _ = to_epoch_thread.send(Message::PartitionServes);
            partition
                .run()
                .map_err(Error::system(format!("partition {index} cannot go on")))
        };
        let to_epoch_thread = self.to_epoch_thread.clone();
        thread::Builder::new()
            .name(format!("snapback-{index}"))
            .spawn(move || {
                let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(serve));
                let result = caught.unwrap_or_else(|payload| {
                    let reason = payload.downcast_ref::<&str>().map(ToString::to_string);
                    let reason = reason.or_else(|| payload.downcast_ref::<String>().cloned());
                    let reason = reason.unwrap_or_else(|| "it panicked".to_owned());
                    Err(Error::Partition {
                        partition: index,
                        reason,
                    })
                });
                // The epoch thread is gone only when the start failed elsewhere.
                let _ = to_epoch_thread.send(Message::PartitionEnded(result));
            })
            .map_err(Error::system("cannot start a partition's thread"))?;
        Ok(())
    }
}

fn policy(options: &Options) -> Policy {
    Policy {
        limits: Limits {
            max_head_bytes: options.max_head_bytes,
            max_body_bytes: options.max_request_bytes,
            ..Limits::default()
        },
        route: Route::new(&options.path),
        unanswered_status: options.unanswered_reply,
        max_attempts: options.max_attempts,
        max_pipelined: options.max_pipelined,
        max_reply_buffer_bytes: options.max_reply_buffer_bytes,
    }
}

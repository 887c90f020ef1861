//! From a plan to a running query.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use crossbeam_utils::CachePadded;
use snapback_operators::{Chain, Run, discard_payload};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::auth::Auth;
use crate::checkpoint::{Location, Opened, Recovered};
use crate::epoch::{EpochThread, Message, PartitionHandle};
use crate::error::{Error, Result};
use crate::handoff::{Asked, Offered, Offering};
use crate::io::listen::{Listener, PartitionListeners};
use crate::io::pin;
use crate::listening;
use crate::openapi::OpenApi;
use crate::options::{Options, PortMode};
use crate::panics;
use crate::partition::{
    Acceptor, Deferrals, Mailbox, Partition, Phase, Policy, Published, QueueDelay, Spin, Worker,
};
use crate::query::{Identity, Shared, StreamingQuery};
use crate::reloads::Reloads;
use crate::service_info::ServiceInfo;
use crate::service_manager;
use crate::session::Session;
use crate::sources::{self, Arrival};
use crate::tee::{Recording, TeeSink};
use crate::transport::Entrance;
use crate::trigger::Trigger;

/// A query that is complete, and checked but for what only the operating system can tell.
pub(crate) struct Plan {
    pub(crate) session: Session,
    pub(crate) chain: Box<dyn Chain>,
    pub(crate) name: String,
    pub(crate) service: String,
    pub(crate) options: Options,
    pub(crate) trigger: Trigger,
    pub(crate) tee: Option<Box<dyn TeeSink>>,
}

/// Starts a query. Whatever fails, what was begun before it is undone.
pub(crate) fn start(plan: Plan) -> Result<StreamingQuery> {
    let Plan {
        session,
        chain,
        name,
        service,
        options,
        trigger,
        tee,
    } = plan;
    // What is logged on the way says of which query it is, also by the threads that watch its files.
    let _span = tracing::error_span!("query", query = name).entered();
    let reservation = session.registry().reserve(&service, &name)?;
    // Before anything is taken from a process that still serves.
    let reloads = Arc::new(Reloads::default());
    let auth = Auth::of(&options, &service, &reloads)?;
    // It answers that the query is about to start, however long the checkpoint takes to open.
    let admin = session.registry().open_admin(&options)?;
    let arrival = Arrival::of(&options, &service)?;
    let (checkpoint, recovered) = open_checkpoint(&options, &service, arrival.predecessor())?;
    if cfg!(panic = "abort") {
        tracing::warn!(
            "this program is built with panic = \"abort\": a panic in one request's operators ends \
             the process, with all requests in it; build with panic = \"unwind\""
        );
    }
    panics::install_hook();
    let entrance = listening::entrance(&options, &reloads)?;
    let listeners = arrival.listeners(&options)?;
    let asked = Asked::of(&options, &service)?;
    let offered = offered_listeners(&options, &listeners);
    let cores = pin::place(&options.pinning, options.num_partitions)?;

    let run_id = Uuid::now_v7().simple().to_string();
    let recording = tee
        .map(|sink| {
            Recording::begin(
                sink,
                &name,
                &run_id,
                checkpoint.as_ref(),
                &recovered,
                &options,
            )
        })
        .transpose()?;
    let service_info = ServiceInfo::of(
        &service,
        |scheme| sources::host(&options, scheme, &listeners),
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
            certificates: entrance.certificates.as_ref().map(Arc::downgrade),
            reloads,
            open_api: Arc::new(OpenApi::of(&chain.describe(), &options)),
        },
        &options,
        recording
            .as_ref()
            .map(|recording| Arc::clone(&recording.tee)),
        to_epoch_thread.clone(),
    ));

    let runtime = if chain.defers() {
        Some(session.registry().runtime()?)
    } else {
        None
    };
    let run = Run::new(service, run_id)
        .with_request_id_header(options.request_id_header.as_deref().map(Box::from))
        .with_trace_context(options.trace_context);
    let starter = PartitionStarter {
        options: &options,
        query: &shared.name,
        entrance,
        chain: &*chain,
        auth,
        open_api: Arc::clone(&shared.open_api),
        run: Arc::new(run),
        runtime,
        to_epoch_thread: to_epoch_thread.clone(),
        batch_interval: trigger.batch_interval(),
        recording: recording.as_ref(),
    };
    let partitions = starter.start_all(listeners, &cores, &recovered, &messages)?;
    let mailboxes: Vec<_> = partitions
        .iter()
        .map(|it| Arc::clone(&it.mailbox))
        .collect();
    let teeing = recording
        .map(|recording| recording.teeing(&partitions, &shared.name, to_epoch_thread.clone()))
        .transpose()
        .inspect_err(|_| mailboxes.iter().for_each(|it| it.advance(Phase::Stopping)))?;
    shared.show_partitions(partitions.iter().map(PartitionHandle::view).collect());
    let query = StreamingQuery::new(Arc::clone(&shared));
    let mut epoch_thread = EpochThread::new(
        Arc::clone(&shared),
        Arc::clone(session.registry()),
        partitions,
        checkpoint,
        recovered,
        messages,
        &options,
        trigger.epoch_interval(),
    );
    epoch_thread.tees(teeing);
    let offered = Offered {
        asked,
        listeners: offered,
        query: shared,
        epoch_thread: to_epoch_thread,
    };
    let begun = settle_in(arrival, offered).and_then(|offering| {
        epoch_thread.offers(offering);
        thread::Builder::new()
            .name("snapback-epochs".to_owned())
            .spawn(move || epoch_thread.run())
            .map_err(Error::system("cannot start the epoch thread"))
    });
    begun.inspect_err(|_| mailboxes.iter().for_each(|it| it.advance(Phase::Stopping)))?;
    tracing::info!(
        run_id = query.run_id(),
        services = %listed(query.service_info()),
        "the query serves"
    );
    reservation.keep(query.clone());
    admin.keep();
    Ok(query)
}

fn listed(services: &[ServiceInfo]) -> String {
    let services: Vec<_> = services.iter().map(ToString::to_string).collect();
    services.join(" ")
}

/// The last step: the process that was taken over is told that this one serves, and this one can be
/// taken over from now on.
fn settle_in(arrival: Arrival, offered: Offered) -> Result<Option<Offering>> {
    let rendezvous = match arrival {
        Arrival::Alone => return Ok(None),
        Arrival::First(rendezvous) => rendezvous,
        Arrival::Successor(taken) => {
            service_manager::tell_main_process().map_err(Error::system(
                "cannot tell the service manager of its new main process",
            ))?;
            taken.ready()?
        }
    };
    let offering = Offering::begin(rendezvous, offered);
    Ok(Some(
        offering.map_err(Error::system("cannot offer a hand-off"))?,
    ))
}

/// The listeners that a successor takes: by partition, or once when all share them.
fn offered_listeners(
    options: &Options,
    listeners: &[PartitionListeners],
) -> Vec<Vec<Weak<Listener>>> {
    let distinct = match options.port_mode {
        PortMode::Shared => &listeners[..listeners.len().min(1)],
        PortMode::PerPartition => listeners,
    };
    let weak = |own: &PartitionListeners| own.iter().map(Arc::downgrade).collect();
    distinct.iter().map(weak).collect()
}

fn open_checkpoint(
    options: &Options,
    service: &str,
    predecessor: Option<u32>,
) -> Result<(Option<Opened>, Recovered)> {
    match &options.checkpoint_location {
        Some(location) => {
            let location = Location::parse(location)?;
            let (checkpoint, recovered) =
                Opened::after(predecessor, location, service, options.min_epochs_to_retain)?;
            Ok((Some(checkpoint), recovered))
        }
        None => {
            tracing::warn!(
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
    query: &'s str,
    entrance: Entrance,
    chain: &'s dyn Chain,
    auth: Option<Arc<Auth>>,
    open_api: Arc<OpenApi>,
    run: Arc<Run>,
    runtime: Option<Handle>,
    to_epoch_thread: Sender<Message>,
    batch_interval: Duration,
    recording: Option<&'s Recording>,
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
            self.start_one(index, *core, &handle, listeners, shared, next)
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
        listeners: PartitionListeners,
        shared: Option<Arc<[Arc<Mailbox>]>>,
        next: u64,
    ) -> Result<()> {
        let (mailbox, published) = (Arc::clone(&handle.mailbox), Arc::clone(&handle.published));
        let (chain, run, runtime) = (
            self.chain.instance(),
            Arc::clone(&self.run),
            self.runtime.clone(),
        );
        let (options, entrance) = (self.options.clone(), self.entrance.clone());
        let (auth, batch_interval) = (self.auth.clone(), self.batch_interval);
        let open_api = Arc::clone(&self.open_api);
        let recorders = self.recording.map(|recording| recording.recorders(index));
        let pipe = self.recording.map(|recording| recording.pipe(index));
        // Only the partition itself keeps its listeners open, so that it can close them.
        let weak: Vec<_> = listeners.iter().map(Arc::downgrade).collect();
        let make = move |next, listeners| {
            let deferrals = Deferrals::new(
                runtime.clone(),
                Waker::from(Arc::clone(&mailbox)),
                options.request_timeout.as_nanos() as u64,
                options.max_in_flight,
                Arc::clone(&published),
            )
            .with_batch_interval(batch_interval);
            let (run, index) = (Arc::clone(&run), index as u32);
            let worker = Worker::new(
                chain.instance(),
                run,
                index,
                next,
                Policy::of(&options, auth.clone(), &open_api),
                deferrals,
                QueueDelay::new(options.max_queue_delay.as_nanos() as u64),
            )
            .with_recorder(recorders.as_ref().map(|recorder| recorder()));
            // Partitions with listeners of their own know nothing of the others' connections.
            let max_connections = match options.port_mode {
                PortMode::Shared => options.max_connections,
                PortMode::PerPartition => options.max_connections.div_ceil(options.num_partitions),
            };
            let acceptor = Acceptor::new(
                listeners,
                Arc::clone(&mailbox),
                shared.clone(),
                max_connections,
            );
            let spin = Spin::new(options.poll_mode, options.spin_duration.as_nanos() as u64);
            Partition::new(
                Arc::clone(&mailbox),
                Arc::clone(&published),
                acceptor,
                entrance.clone(),
                worker,
                spin,
            )
        };
        let to_epoch_thread = self.to_epoch_thread.clone();
        let query = self.query.to_owned();
        let serve = move || -> Result<()> {
            // What the thread logs says of which query and partition it is.
            let _span = tracing::error_span!("partition", query, partition = index).entered();
            panics::thread_is_partition();
            if let Some(core) = core {
                pin::pin_this_thread(core)?;
            }
            let failed = || Error::system(format!("partition {index} cannot serve"));
            let mut partition = make(next, listeners).map_err(failed())?;
            let _ = to_epoch_thread.send(Message::PartitionServes);
            loop {
                // A panic that no edge caught is ours. The connections are lost with it; listeners
                // and offsets are not.
                match catch_unwind(AssertUnwindSafe(|| partition.run())) {
                    Ok(ran) => return ran.map_err(failed()),
                    Err(payload) => {
                        discard_payload(payload);
                        panics::leave_operators();
                        let _ = to_epoch_thread.send(Message::PartitionPanicked(index));
                        let listeners = weak.iter().filter_map(Weak::upgrade).collect();
                        partition = make(partition.next(), listeners).map_err(failed())?;
                    }
                }
            }
        };
        let to_epoch_thread = self.to_epoch_thread.clone();
        thread::Builder::new()
            .name(format!("snapback-{index}"))
            .spawn(move || {
                let ended = serve();
                if let Some(pipe) = pipe {
                    pipe.end();
                }
                // The epoch thread is gone only when the start failed elsewhere.
                let _ = to_epoch_thread.send(Message::PartitionEnded(ended));
            })
            .map_err(Error::system("cannot start a partition's thread"))?;
        Ok(())
    }
}

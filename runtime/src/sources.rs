//! Where the listeners of a query come from: the process that it takes over from, the service
//! manager, or a bind of its own.

use std::borrow::Cow;
use std::path::Path;

use crate::error::Result;
use crate::handoff::{Asked, Taken, take_over};
use crate::io::activation::{Activated, ActivationError, activated};
use crate::io::listen::{self, Address, Listener, LocalAddress, PartitionListeners};
use crate::io::passing::Rendezvous;
use crate::listening;
use crate::options::{ListenFds, Options, PortMode};
use crate::service_info::Scheme;

/// How a query comes to its place.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// Nobody can take over from it.
    Alone,
    /// It is the first one that can be taken over.
    First(Rendezvous),
    /// It takes over.
    Successor(Box<Taken>),
}

impl Arrival {
    /// Looks whether there is a process to take over from.
    pub(crate) fn of(options: &Options, service: &str) -> Result<Arrival> {
        let Some(path) = options.handoff_socket.as_deref().map(Path::new) else {
            return Ok(Arrival::Alone);
        };
        Ok(match take_over(path, &Asked::of(options, service)?)? {
            Some(taken) => Arrival::Successor(Box::new(taken)),
            None => Arrival::First(Rendezvous::bind(path)?),
        })
    }

    /// The process that is taken over from.
    pub(crate) fn predecessor(&self) -> Option<u32> {
        match self {
            Arrival::Successor(taken) => Some(taken.pid),
            Arrival::Alone | Arrival::First(_) => None,
        }
    }

    /// The listeners of all partitions: those for plain HTTP first, then those for TLS.
    pub(crate) fn listeners(&self, options: &Options) -> Result<Vec<PartitionListeners>> {
        let places = listening::places(options)?;
        match self {
            Arrival::Successor(taken) => taken_over(taken, &places, options),
            Arrival::Alone | Arrival::First(_) => made_or_bound(&places, options),
        }
    }
}

/// The host that the service info tells for a scheme: the one of the options, unless a name of
/// sockets stands for it.
pub(crate) fn host<'o>(
    options: &'o Options,
    scheme: Scheme,
    listeners: &[PartitionListeners],
) -> Cow<'o, str> {
    let mut speaking = listeners
        .iter()
        .flatten()
        .filter(|it| it.scheme() == scheme);
    match (&options.listen_fds, speaking.next().map(|it| it.local())) {
        (ListenFds::Named(_), Some(LocalAddress::Tcp(local))) => local.ip().to_string().into(),
        _ => listening::host(options, scheme).into(),
    }
}

type Places = [(Scheme, Address)];

fn taken_over(
    taken: &Taken,
    places: &Places,
    options: &Options,
) -> Result<Vec<PartitionListeners>> {
    let partitions = options.num_partitions;
    if options.port_mode == PortMode::Shared {
        return Ok(taken.shared(partitions));
    }
    let mut all = taken.per_partition(partitions);
    for (partition, listeners) in all.iter_mut().enumerate() {
        // The old process had fewer partitions.
        if listeners.is_empty() {
            for (scheme, address) in places {
                let attempts = options.max_port_attempts;
                let bound = listen::bind_partition(address, *scheme, partition, attempts)?;
                listeners.extend(bound);
            }
        }
    }
    Ok(all)
}

fn made_or_bound(places: &Places, options: &Options) -> Result<Vec<PartitionListeners>> {
    let partitions = options.num_partitions;
    let mut all = vec![PartitionListeners::new(); partitions];
    for (index, (scheme, address)) in places.iter().enumerate() {
        let made = match &options.listen_fds {
            ListenFds::Off => None,
            ListenFds::Auto => matching(activated()?, *scheme, address, options)?,
            // The second place is the one for TLS, and needs sockets of its own.
            ListenFds::Named(name) if index == 0 => Some(named(name, *scheme, options)?),
            ListenFds::Named(name) => Some(named(&format!("{name}-tls"), *scheme, options)?),
        };
        let listeners = match made {
            Some(made) => made,
            None => {
                let (mode, attempts) = (options.port_mode, options.max_port_attempts);
                listen::bind(address, *scheme, mode, partitions, attempts)?
            }
        };
        for (of_partition, more) in all.iter_mut().zip(listeners) {
            of_partition.extend(more);
        }
    }
    Ok(all)
}

/// The listeners that the service manager has made under this name.
fn named(name: &str, scheme: Scheme, options: &Options) -> Result<Vec<PartitionListeners>> {
    let partitions = options.num_partitions;
    let listeners = activated()?.named(name, scheme)?;
    if options.port_mode == PortMode::Shared {
        return Ok(vec![listeners; partitions]);
    }
    let passed = listeners.len();
    if passed < partitions {
        return Err(ActivationError::TooFew { passed, partitions }.into());
    }
    let mut dealt = vec![PartitionListeners::new(); partitions];
    for (index, listener) in listeners.into_iter().enumerate() {
        dealt[index % partitions].push(listener);
    }
    Ok(dealt)
}

/// The listeners that the service manager has made at the addresses at which the query would
/// listen; `None` when it has made none there.
fn matching(
    activated: &Activated,
    scheme: Scheme,
    address: &Address,
    options: &Options,
) -> Result<Option<Vec<PartitionListeners>>> {
    if activated.is_empty() {
        return Ok(None);
    }
    let partitions = options.num_partitions;
    let at = |wanted: Vec<LocalAddress>| {
        let is_wanted = |listener: &Listener| wanted.iter().any(|wanted| listener.serves(wanted));
        activated.matching(scheme, is_wanted)
    };
    let all = match options.port_mode {
        PortMode::Shared => vec![at(listen::wanted(address, None)?)?; partitions],
        PortMode::PerPartition => (0..partitions)
            .map(|partition| Ok(at(listen::wanted(address, Some(partition))?)?))
            .collect::<Result<Vec<_>>>()?,
    };
    let passed = all.iter().filter(|listeners| !listeners.is_empty()).count();
    if passed == 0 {
        tracing::warn!(
            ?address,
            "the service manager passed sockets, but none at this address of the query, which \
             binds its own; give their name as the option listenFds, or `off`"
        );
        return Ok(None);
    }
    if passed < partitions {
        return Err(ActivationError::TooFew { passed, partitions }.into());
    }
    Ok(Some(all))
}

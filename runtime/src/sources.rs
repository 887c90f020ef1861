//! Where the listeners of a query come from: the process that it takes over from, the service
//! manager, or a bind of its own.

use std::path::Path;

use crate::error::Result;
use crate::handoff::{Asked, Taken, take_over};
use crate::io::activation::{Activated, ActivationError, activated};
use crate::io::listen::{self, Address, LocalAddress, PartitionListeners};
use crate::io::passing::Rendezvous;
use crate::options::{ListenFds, Options, PortMode};

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
        Ok(match take_over(path, &Asked::of(options, service))? {
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

    /// The listeners of all partitions.
    pub(crate) fn listeners(&self, options: &Options) -> Result<Vec<PartitionListeners>> {
        let address = Address::new(&options.host, options.port);
        let partitions = options.num_partitions;
        let Arrival::Successor(taken) = self else {
            if let Some(listeners) = from_service_manager(&address, options)? {
                return Ok(listeners);
            }
            let (mode, attempts) = (options.port_mode, options.max_port_attempts);
            return Ok(listen::bind(&address, mode, partitions, attempts)?);
        };
        if options.port_mode == PortMode::Shared {
            return Ok(taken.shared(partitions));
        }
        let mut all = taken.per_partition(partitions);
        for (partition, listeners) in all.iter_mut().enumerate() {
            // The old process had fewer partitions.
            if listeners.is_empty() {
                *listeners =
                    listen::bind_partition(&address, partition, options.max_port_attempts)?;
            }
        }
        Ok(all)
    }
}

/// The listeners that the service manager has made for this address, or under the name that the
/// option says; none when it has made none for it.
fn from_service_manager(
    address: &Address,
    options: &Options,
) -> Result<Option<Vec<PartitionListeners>>> {
    let partitions = options.num_partitions;
    let name = match &options.listen_fds {
        ListenFds::Off => return Ok(None),
        ListenFds::Auto => return matching(activated()?, address, options),
        ListenFds::Named(name) => name,
    };
    let listeners = activated()?.named(name)?;
    if options.port_mode == PortMode::Shared {
        return Ok(Some(vec![listeners; partitions]));
    }
    let passed = listeners.len();
    if passed < partitions {
        return Err(ActivationError::TooFew { passed, partitions }.into());
    }
    let mut dealt = vec![PartitionListeners::new(); partitions];
    for (index, listener) in listeners.into_iter().enumerate() {
        dealt[index % partitions].push(listener);
    }
    Ok(Some(dealt))
}

/// The listeners at the addresses at which the query would listen.
fn matching(
    activated: &Activated,
    address: &Address,
    options: &Options,
) -> Result<Option<Vec<PartitionListeners>>> {
    if activated.is_empty() {
        return Ok(None);
    }
    let partitions = options.num_partitions;
    let at = |wanted: Vec<LocalAddress>| {
        activated.matching(|listener| wanted.iter().any(|wanted| listener.serves(wanted)))
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
            "the service manager passed sockets, but none at the address of this query, which \
             binds its own; give its name as the option listenFds, or `off`"
        );
        return Ok(None);
    }
    if passed < partitions {
        return Err(ActivationError::TooFew { passed, partitions }.into());
    }
    Ok(Some(all))
}

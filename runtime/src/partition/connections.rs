//! The connections of a partition, and the tokens that name them.

use slab::Slab;
use snapback_operators::Place;

use super::worker::Outboxes;
use crate::connection::Connection;
use crate::outbox::Outbox;

pub(super) fn token(generation: u32, key: usize) -> u64 {
    u64::from(generation) << 32 | key as u64
}

pub(super) fn key_of(token: u64) -> usize {
    token as u32 as usize
}

/// The connection of a token, unless it is gone.
#[inline]
pub(super) fn find(connections: &mut Connections, token: u64) -> Option<&mut Connection> {
    let (generation, connection) = connections.get_mut(key_of(token))?;
    (*generation == (token >> 32) as u32).then_some(&mut **connection)
}

pub(super) type Connections = Slab<(u32, Box<Connection>)>;

/// The outboxes of the connections, while the chain is settled.
pub(super) struct Replies<'p> {
    pub(super) connections: &'p mut Connections,
    /// Where replies came, and since when they were awaited.
    pub(super) replied: Vec<(u64, u64)>,
}

impl Replies<'_> {
    /// The places of all deferred requests.
    pub(super) fn awaited(&mut self) -> Vec<Place> {
        let mut places = Vec::new();
        for (key, (generation, connection)) in self.connections.iter_mut() {
            let connection_token = token(*generation, key);
            let outbox = connection.outbox().into_iter();
            let slots = outbox.flat_map(|outbox| outbox.awaited_slots());
            places.extend(slots.map(|slot| Place {
                connection: connection_token,
                slot: slot.offset,
            }));
        }
        places
    }
}

impl Outboxes for Replies<'_> {
    fn with(&mut self, place: Place, take: &mut dyn FnMut(&mut Outbox)) {
        if let Some(outbox) = find(self.connections, place.connection).and_then(Connection::outbox)
        {
            take(outbox);
        }
    }

    fn replied(&mut self, place: Place, since_ns: u64) {
        if let Some(connection) = find(self.connections, place.connection) {
            connection.is_replied = true;
        }
        self.replied.push((place.connection, since_ns));
    }
}

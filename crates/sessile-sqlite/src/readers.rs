//! The connections that read. In WAL mode a reader waits for no writer, so a read is a few microseconds on the thread
//! that asks, and a lock around it is held no longer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

pub(crate) struct Readers {
    connections: Box<[Mutex<Connection>]>,
    next: AtomicUsize,
}

impl Readers {
    /// At least one connection.
    pub(crate) fn new(connections: Vec<Connection>) -> Self {
        Self { connections: connections.into_iter().map(Mutex::new).collect(), next: AtomicUsize::new(0) }
    }

    /// Reads on a connection that is free, or waits for the next one in turn.
    pub(crate) fn read<T>(&self, query: impl FnOnce(&Connection) -> T) -> T {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let in_turn =
            || (0..self.connections.len()).map(|step| &self.connections[(turn + step) % self.connections.len()]);
        let free = in_turn().find_map(|connection| connection.try_lock().ok());
        let connection = free.unwrap_or_else(|| {
            self.connections[turn % self.connections.len()].lock().unwrap_or_else(PoisonError::into_inner)
        });
        query(&connection)
    }
}

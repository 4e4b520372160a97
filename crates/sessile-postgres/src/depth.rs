//! How much is under way: what an operator's metrics show of the connections.

use crate::PostgresStore;

/// How many connections and reads are in use or waited for, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// How many connections the pool for writes may have.
    pub pool_max: usize,
    /// How many it has.
    pub pool_size: usize,
    /// How many of them are in use.
    pub pool_in_use: usize,
    /// How many statements wait for one.
    pub pool_waiting: usize,
    /// Reads that were sent and not answered yet.
    pub reads_under_way: usize,
    /// Reads that wait for an answer to those, to be sent together.
    pub reads_waiting: usize,
}

impl PostgresStore {
    /// How much is under way on this store's connections. Costs nothing but two locks, and asks the server nothing.
    pub fn depth(&self) -> Depth {
        let pool = self.pool_status();
        let (reads_under_way, reads_waiting) = self.reads_depth();
        Depth {
            pool_max: pool.max_size,
            pool_size: pool.size,
            pool_in_use: pool.size.saturating_sub(pool.available),
            pool_waiting: pool.waiting,
            reads_under_way,
            reads_waiting,
        }
    }
}

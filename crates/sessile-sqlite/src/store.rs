//! The store: reads go to a connection at once, writes into the queue.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use rusqlite::Connection;
use sessile_core::{Error, Record, Store, StoreKey, Sweep, Written};

use crate::builder::SqliteBuilder;
use crate::readers::Readers;
use crate::statements::{Change, Statements};
use crate::writer::Writer;

/// Sessions in one SQLite file. Cloning gives another handle on the same connections.
///
/// A write is on the disk when it is answered. When the last clone is dropped, what is still queued is written, and the
/// file is closed; a process that ends sooner, or is killed, loses nothing that was answered.
#[derive(Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

struct Shared {
    statements: Arc<Statements>,
    readers: Readers,
    writer: Writer,
    description: String,
}

impl SqliteStore {
    /// Opens the file, creating it and the table `session` when they are missing. The same as
    /// [`builder(path).open()`](SqliteBuilder::open).
    ///
    /// # Errors
    /// As for [`SqliteBuilder::open`].
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::builder(path).open().await
    }

    /// For a table of another name.
    pub fn builder(path: impl Into<PathBuf>) -> SqliteBuilder {
        SqliteBuilder::new(path.into())
    }

    pub(crate) fn new(statements: Arc<Statements>, readers: Readers, writer: Writer, description: String) -> Self {
        Self { shared: Arc::new(Shared { statements, readers, writer, description }) }
    }

    async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Statements, &Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let statements = self.shared.statements.clone();
        self.shared.writer.write(move |connection| write(&statements, connection)).await
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SqliteStore").field(&self.shared.description).finish()
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn load(&self, key: &StoreKey, now: SystemTime) -> Result<Option<Record>, Error> {
        self.shared.readers.read(|connection| self.shared.statements.load(connection, key, now))
    }

    async fn insert(&self, key: &StoreKey, record: &Record) -> Result<Written, Error> {
        let (key, row) = (key.clone(), Change::from(record));
        self.write(move |statements, connection| statements.insert(connection, &key, &row)).await
    }

    async fn update(&self, key: &StoreKey, record: &Record) -> Result<Written, Error> {
        let (key, row) = (key.clone(), Change::from(record));
        self.write(move |statements, connection| statements.update(connection, &key, &row)).await
    }

    async fn rotate(&self, from: &StoreKey, to: &StoreKey, record: &Record) -> Result<Written, Error> {
        let (from, to, row) = (from.clone(), to.clone(), Change::from(record));
        self.write(move |statements, connection| statements.rotate(connection, &from, &to, &row)).await
    }

    async fn touch(&self, key: &StoreKey, seen_at: SystemTime, expires_at: SystemTime) -> Result<Written, Error> {
        let key = key.clone();
        self.write(move |statements, connection| statements.touch(connection, &key, seen_at, expires_at)).await
    }

    async fn remove(&self, key: &StoreKey) -> Result<bool, Error> {
        let key = key.clone();
        self.write(move |statements, connection| statements.remove(connection, &key)).await
    }

    async fn remove_moved(
        &self,
        moved_from: &str,
        since: SystemTime,
        ends: RangeInclusive<SystemTime>,
    ) -> Result<bool, Error> {
        let moved_from = moved_from.to_owned();
        self.write(move |statements, connection| statements.remove_moved(connection, &moved_from, since, &ends)).await
    }

    fn sweep(&self) -> Option<&dyn Sweep> {
        Some(self)
    }

    fn description(&self) -> String {
        self.shared.description.clone()
    }
}

#[async_trait]
impl Sweep for SqliteStore {
    async fn sweep(&self, now: SystemTime, limit: u32) -> Result<u64, Error> {
        self.write(move |statements, connection| statements.sweep(connection, now, limit)).await
    }
}

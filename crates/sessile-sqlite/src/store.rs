//! The store: reads go to a connection at once, writes into the queue.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::SystemTime;

use async_trait::async_trait;
use rusqlite::Connection;
use sessile_core::{
    Ending, Error, Examine, Fate, Operations, Record, Registry, Stats, Store, StoreKey, Sweep, Swept, Transfer, Written,
};

use crate::builder::SqliteBuilder;
use crate::change::Change;
use crate::readers::Readers;
use crate::statements::Statements;
use crate::tidy::Walks;
use crate::writer::{Writer, whole};

/// Sessions in one SQLite file. Cloning gives another handle on the same connections.
///
/// A write is on the disk when it is answered. Dropping the last clone waits until what is still queued is written and the
/// file is closed, with its write-ahead log put back; a process that ends sooner, or is killed, loses nothing that was
/// answered.
#[derive(Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

struct Shared {
    statements: Arc<Statements>,
    readers: Readers,
    writer: Writer,
    walks: Mutex<Walks>,
    builder: SqliteBuilder,
    description: String,
}

/// What opening makes, beside the connection that writes.
pub(crate) struct Parts {
    pub(crate) statements: Arc<Statements>,
    pub(crate) readers: Readers,
    pub(crate) description: String,
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

    pub(crate) fn new(builder: SqliteBuilder, parts: Parts, writer: Writer) -> Self {
        let Parts { statements, readers, description } = parts;
        Self { shared: Arc::new(Shared { statements, readers, writer, walks: Mutex::default(), builder, description }) }
    }

    /// The thread that writes, which the last clone waits for. Before there is a second one.
    pub(crate) fn ends_with(mut self, thread: JoinHandle<()>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.writer.ends_with(thread);
        }
        self
    }

    /// How it was opened.
    pub(crate) fn builder_of(&self) -> &SqliteBuilder {
        &self.shared.builder
    }

    pub(crate) fn statements(&self) -> Arc<Statements> {
        self.shared.statements.clone()
    }

    /// How far the registry is brought into step.
    pub(crate) fn walks(&self) -> &Mutex<Walks> {
        &self.shared.walks
    }

    /// What a write of this record puts into its row.
    pub(crate) fn change(&self, record: &Record) -> Change {
        self.shared.statements.rows.change(record)
    }

    /// A query, at once.
    pub(crate) fn read<T>(&self, query: impl FnOnce(&Statements, &Connection) -> T) -> T {
        self.shared.readers.read(|connection| query(&self.shared.statements, connection))
    }

    /// A write of one statement.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Statements, &Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let statements = self.shared.statements.clone();
        self.shared.writer.write(move |connection| write(&statements, connection)).await
    }

    /// A write of several statements.
    pub(crate) async fn write_whole<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Statements, &Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        self.write(move |statements, connection| whole(connection, |connection| write(statements, connection))).await
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
        self.read(|statements, connection| statements.rows.load(connection, key, now))
    }

    async fn insert(&self, key: &StoreKey, record: &Record) -> Result<Written, Error> {
        let (key, row) = (key.clone(), self.change(record));
        self.write(move |statements, connection| statements.rows.insert(connection, &key, &row)).await
    }

    async fn update(&self, key: &StoreKey, record: &Record) -> Result<Written, Error> {
        let (key, row) = (key.clone(), self.change(record));
        self.write(move |statements, connection| statements.rows.update(connection, &key, &row)).await
    }

    async fn rotate(&self, from: &StoreKey, to: &StoreKey, record: &Record) -> Result<Written, Error> {
        let (from, to, row, at) = (from.clone(), to.clone(), self.change(record), record.seen_at);
        self.write_whole(move |statements, connection| statements.rotate(connection, &from, &to, &row, at)).await
    }

    async fn touch(&self, key: &StoreKey, seen_at: SystemTime, expires_at: SystemTime) -> Result<Written, Error> {
        let key = key.clone();
        self.write(move |statements, connection| statements.rows.touch(connection, &key, seen_at, expires_at)).await
    }

    async fn remove(&self, key: &StoreKey, ending: &Ending) -> Result<bool, Error> {
        let (key, ending) = (key.clone(), ending.clone());
        self.write_whole(move |statements, connection| statements.remove(connection, &key, &ending)).await
    }

    async fn fate(&self, key: &StoreKey) -> Result<Option<Fate>, Error> {
        self.read(|statements, connection| statements.lists.fate(connection, key))
    }

    fn registry(&self) -> Option<&dyn Registry> {
        Some(self)
    }

    fn sweep(&self) -> Option<&dyn Sweep> {
        Some(self)
    }

    fn stats(&self) -> Option<&dyn Stats> {
        Some(self)
    }

    fn examine(&self) -> Option<&dyn Examine> {
        Some(self)
    }

    fn operations(&self) -> Option<&dyn Operations> {
        Some(self)
    }

    fn transfer(&self) -> Option<&dyn Transfer> {
        Some(self)
    }

    fn description(&self) -> String {
        self.shared.description.clone()
    }
}

#[async_trait]
impl Sweep for SqliteStore {
    async fn sweep(&self, now: SystemTime, limit: u32) -> Result<Swept, Error> {
        self.write_whole(move |statements, connection| statements.sweep(connection, now, limit)).await
    }
}

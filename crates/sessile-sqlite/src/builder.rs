//! Opening: the file, its settings, the table, and the connections.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags};
use sessile_core::{Error, TableKind};
use tokio::sync::oneshot;

use crate::readers::Readers;
use crate::registry_table::{self, Tables};
use crate::statements::Statements;
use crate::store::Parts;
use crate::table::{self, Origin};
use crate::{SqliteStore, failure, import, writer};

/// How long a write waits for another program's transaction. It waits on the thread that writes, not on the runtime.
const BUSY: Duration = Duration::from_secs(5);

/// How long to pause between tries where SQLite cannot be trusted to wait.
const PAUSE: Duration = Duration::from_millis(10);

/// How long a read may wait, on the thread that asks. In WAL mode only the repair after a crash makes it wait at all.
const READ_BUSY: Duration = Duration::from_millis(100);

/// More connections than this read no faster.
const MOST_READERS: usize = 8;

/// More statements than there are, so that each connection prepares each of them once.
const PREPARED: usize = 64;

/// How to open a [`SqliteStore`].
///
/// ```no_run
/// # async fn open() -> Result<(), sessile_core::Error> {
/// use sessile_sqlite::SqliteStore;
///
/// let store = SqliteStore::builder("/var/lib/app/app.sqlite").table("user_sessions").open().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is opened before `open`"]
pub struct SqliteBuilder {
    path: PathBuf,
    table: Option<String>,
    kind: Option<TableKind>,
    registry: Option<String>,
    existing: bool,
}

impl SqliteBuilder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, table: None, kind: None, registry: None, existing: false }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The names of its tables.
    pub(crate) fn tables(&self) -> Tables {
        Tables::new(self.session(), self.registry.as_deref())
    }

    /// The kind of table that is wanted, if one is.
    pub(crate) fn kind(&self) -> Option<TableKind> {
        self.kind
    }

    fn session(&self) -> &str {
        let usual = if self.kind == Some(TableKind::Columns) { "sessions" } else { "session" };
        self.table.as_deref().unwrap_or(usual)
    }

    /// The table's name. Default: `session`, or `sessions` for [`TableKind::Columns`]. Its indexes are named after it:
    /// `IDX_session_expire`.
    pub fn table(mut self, name: impl Into<String>) -> Self {
        self.table = Some(name.into());
        self
    }

    /// What the table has to be like. Default: as it is found, and Express's where there is none.
    ///
    /// ```no_run
    /// # async fn open() -> Result<(), sessile_core::Error> {
    /// use sessile_core::TableKind;
    /// use sessile_sqlite::SqliteStore;
    ///
    /// let store = SqliteStore::builder("/var/lib/app/app.sqlite").table_kind(TableKind::Columns).open().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn table_kind(mut self, kind: TableKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// The name of the registry, the table of who is signed in where. Default: `sessions` beside the table `session`, else the
    /// table's name and `_registry`. Two small tables are named after it: `sessions_cutoffs` and `sessions_moves`; and three
    /// that are made when something is first kept for operators: `sessions_operators`, `sessions_audit` and
    /// `sessions_secrets`.
    pub fn registry(mut self, name: impl Into<String>) -> Self {
        self.registry = Some(name.into());
        self
    }

    /// Whether the file and its session table have to be there already. Default false: what is missing is created. For
    /// programs that look at sessions, whose path may lead to another program's file by mistake.
    pub fn existing(mut self, existing: bool) -> Self {
        self.existing = existing;
        self
    }

    /// Opens the file and the tables, creating what is missing. A new file can be read by its owner only (mode 0600). The
    /// file is put into WAL mode, where it stays; other programs that use it are not disturbed by that.
    ///
    /// # Errors
    /// A [configuration error](Error::is_config) when the directory is missing, the file cannot be written or is no
    /// database, or a table there cannot hold sessions, is of another kind than the one that is set, or cannot be their
    /// registry; [unavailable](Error::is_unavailable) when another program keeps
    /// the file locked for 5 s or the disk fails.
    pub async fn open(self) -> Result<SqliteStore, Error> {
        let (ready, opened) = oneshot::channel();
        let (writer, jobs) = writer::queue();
        // Opening waits for disks and locks, so it happens on the thread that will write.
        let life = move || match self.connect() {
            Ok((connection, parts)) => {
                let store = SqliteStore::new(self, parts, writer);
                if ready.send(Ok(store)).is_ok() {
                    writer::run(&connection, jobs);
                    import::put_log_back(&connection);
                }
            }
            Err(error) => drop(ready.send(Err(error))),
        };
        let thread = thread::Builder::new().name("sessile-sqlite".into()).spawn(life).map_err(|error| {
            Error::unavailable("the thread that writes to the SQLite file could not be started").with_source(error)
        })?;
        let store = opened.await.map_err(|_| Error::unavailable("the thread that opened the SQLite file ended"))??;
        Ok(store.ends_with(thread))
    }

    fn connect(&self) -> Result<(Connection, Parts), Error> {
        if !self.existing {
            create_file(&self.path)?;
        }
        let mut connection = self.connection()?;
        if self.existing {
            self.has_table(&connection)?;
        }
        self.configure(&connection)?;
        let mut tables = self.tables();
        let origins = table::ensure(&mut connection, &mut tables, self.kind)?;
        let statements = Statements::on(&tables);
        prepare(&connection, &statements, &tables)?;
        let count = thread::available_parallelism().map_or(1, usize::from).min(MOST_READERS);
        let readers = (0..count).map(|_| self.reader()).collect::<Result<_, _>>()?;
        let description = self.description(&tables, origins);
        Ok((connection, Parts { statements: Arc::new(statements), readers: Readers::new(readers), description }))
    }

    /// Looks before anything is changed in the file: it may be another program's.
    fn has_table(&self, connection: &Connection) -> Result<(), Error> {
        connection.busy_timeout(READ_BUSY).map_err(failure::of)?;
        let kind = table::kind(connection, self.session()).map_err(failure::of)?;
        kind.map(drop).ok_or_else(|| {
            Error::config(format!(
                "expected the session table {:?} in {}, found none; look at the path and at session.table",
                self.session(),
                self.path.display()
            ))
        })
    }

    /// The flags leave out URIs: a path is a path, whatever it looks like.
    pub(crate) fn connection(&self) -> Result<Connection, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)
            .map_err(|error| unusable(&self.path, "it could not be opened").with_source(error))?;
        connection.set_prepared_statement_cache_capacity(PREPARED);
        Ok(connection)
    }

    pub(crate) fn reader(&self) -> Result<Connection, Error> {
        let reader = self.connection()?;
        reader.busy_timeout(READ_BUSY).map_err(failure::of)?;
        reader.pragma_update(None, "query_only", true).map_err(failure::of)?;
        Ok(reader)
    }

    fn configure(&self, connection: &Connection) -> Result<(), Error> {
        if connection.is_readonly(MAIN_DB).map_err(failure::of)? {
            return Err(unusable(&self.path, "this process may not write to it"));
        }
        let mode = into_wal(connection).map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => unusable(&self.path, "it is not an SQLite database").with_source(error),
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => {
                unusable(&self.path, "this process may not write to it and its directory").with_source(error)
            }
            _ => failure::of(error),
        })?;
        if mode != "wal" {
            let why =
                format!("it stays in journal mode `{mode}` where WAL was asked for, as on some network file systems");
            return Err(unusable(&self.path, &why));
        }
        connection.pragma_update(None, "synchronous", "FULL").map_err(failure::of)?;
        connection.busy_timeout(BUSY).map_err(failure::of)
    }

    fn description(&self, tables: &Tables, origins: [Origin; 2]) -> String {
        let [session, registry] = origins.map(|origin| match origin {
            Origin::Created => "created",
            Origin::Adopted => "adopted",
        });
        let Tables { session: table, registry: registry_table, layout, .. } = tables;
        let kind = if layout.kind == TableKind::Columns { "columns table" } else { "table" };
        format!("SQLite, {}, {kind} {table} ({session}), registry {registry_table} ({registry})", self.path.display())
    }
}

/// Prepares every statement, so that a table on which one cannot run is found out at the start.
fn prepare(connection: &Connection, statements: &Statements, tables: &Tables) -> Result<(), Error> {
    let [on_sessions, on_registry] = statements.all();
    let prepare = |sql: &&str| connection.prepare_cached(sql).map(drop);
    let why = "a statement cannot run on it";
    on_sessions
        .iter()
        .try_for_each(prepare)
        .map_err(|error| tables.layout.shape().refused(&tables.session, why).with_source(error))?;
    on_registry
        .iter()
        .try_for_each(prepare)
        .map_err(|error| registry_table::refused(&tables.registry, why).with_source(error))
}

/// SQLite would create the file too, but readable by everybody. Its `-wal` and `-shm` get the file's mode.
fn create_file(path: &Path) -> Result<(), Error> {
    if path.as_os_str().is_empty() || path.as_os_str() == ":memory:" {
        return Err(unusable(path, "sessions need a file; for tests there is `MemoryStore`"));
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(unusable(path, "its directory does not exist; create it first").with_source(error))
        }
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(unusable(path, "it could not be created; check who may write to its directory").with_source(error))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The journal mode that the file is in afterwards. While several processes make the first change SQLite may answer `busy`
/// at once however long it was told to wait, so all the waiting is done here.
fn into_wal(connection: &Connection) -> rusqlite::Result<String> {
    connection.busy_timeout(Duration::ZERO)?;
    let ask = || connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0));
    for _ in 0..BUSY.as_millis() / PAUSE.as_millis() {
        match ask() {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => thread::sleep(PAUSE),
            answer => return answer,
        }
    }
    ask()
}

fn unusable(path: &Path, why: &str) -> Error {
    Error::config(format!("the SQLite file {} cannot hold sessions: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_commit_is_flushed_to_the_disk_and_readers_cannot_write() {
        let path = std::env::temp_dir().join(format!("sessile-sqlite-builder-{}", std::process::id()));
        let builder = SqliteBuilder::new(path.clone());
        create_file(&path).unwrap();
        let connection = builder.connection().unwrap();
        builder.configure(&connection).unwrap();
        let journal: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        assert_eq!((journal.as_str(), synchronous), ("wal", 2), "2 is FULL");
        assert!(builder.reader().unwrap().execute_batch("CREATE TABLE t (n)").is_err());
        drop(connection);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn the_change_into_wal_waits_where_sqlite_does_not() {
        let path = std::env::temp_dir().join(format!("sessile-sqlite-wal-{}", std::process::id()));
        let (connection, other) = (Connection::open(&path).unwrap(), Connection::open(&path).unwrap());
        other.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let program = thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            other.execute_batch("ROLLBACK").unwrap();
        });
        assert_eq!(into_wal(&connection).unwrap(), "wal");
        program.join().unwrap();
        drop(connection);
        std::fs::remove_file(path).unwrap();
    }
}

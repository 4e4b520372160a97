//! Looks that take long: at every row, or at the file itself. Each has a thread and a connection of its own, so that no
//! request waits for it; in WAL mode it waits for no writer, nor a writer for it.

use std::thread;

use rusqlite::Connection;
use sessile_core::Error;
use tokio::sync::oneshot;

use crate::failure;
use crate::statements::Statements;
use crate::store::SqliteStore;

/// How much of the file such a look may keep in memory: 64 MiB, negative because SQLite would count pages else.
const CACHE_KIB: i32 = -65_536;

/// Runs this on a thread of its own. A caller that stops waiting does not stop it.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let (done, answer) = oneshot::channel();
    let life = move || drop(done.send(work()));
    thread::Builder::new().name("sessile-sqlite-aside".into()).spawn(life).map_err(|error| {
        Error::unavailable("a thread to look at the SQLite file could not be started").with_source(error)
    })?;
    answer.await.map_err(|_| Error::unavailable("the thread that looked at the SQLite file ended"))
}

impl SqliteStore {
    /// A query that may look at every row.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Statements, &Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (builder, statements) = (self.builder_of().clone(), self.statements());
        let look = move || {
            let connection = builder.reader()?;
            connection.pragma_update(None, "cache_size", CACHE_KIB).map_err(failure::of)?;
            query(&statements, &connection)
        };
        aside(look).await?
    }
}

//! The thread that writes. It takes everything that is waiting, runs it in one transaction, and answers when the
//! transaction is on the disk. While the disk works, the next transaction gathers.
//!
//! The thread ends when the last [`Writer`] is dropped and the queue is empty. Whoever drops it waits for that: a process
//! that ends before its file is closed leaves what it wrote in the write-ahead log beside it.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use sessile_core::Error;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

use crate::failure;

/// How many writes may wait. Further ones wait for a place without holding anything.
const QUEUE: usize = 1_024;

/// One write: runs on the connection, inside the transaction, and leaves behind how to answer once the transaction's
/// fate is known. Without a connection there is no transaction to run in, and it only learns why.
type Job = Box<dyn FnOnce(Option<&Connection>) -> Reply + Send>;
type Reply = Box<dyn FnOnce(Result<(), Failure>)>;
/// Why a transaction failed; each of its writes gets to know.
type Failure = Arc<rusqlite::Error>;

/// The queue to the thread.
pub(crate) struct Writer {
    /// `None` once it is closed.
    queue: Option<mpsc::Sender<Job>>,
    /// The thread, where there is one to wait for.
    thread: Option<JoinHandle<()>>,
}

/// The thread's end of the queue.
pub(crate) struct Jobs(mpsc::Receiver<Job>);

pub(crate) fn queue() -> (Writer, Jobs) {
    let (queue, jobs) = mpsc::channel(QUEUE);
    (Writer { queue: Some(queue), thread: None }, Jobs(jobs))
}

impl Writer {
    /// The thread to wait for at the end.
    pub(crate) fn ends_with(&mut self, thread: JoinHandle<()>) {
        self.thread = Some(thread);
    }

    /// Closes the queue and waits until what is in it is written and the thread has ended.
    pub(crate) fn close(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != thread::current().id())
            && thread.join().is_err()
        {
            warn!("the thread that writes to the SQLite file panicked");
        }
    }

    /// Runs the write in the next transaction; the answer comes when it is durable. A caller that stops waiting does not
    /// stop the write.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let outcome = connection.map(|connection| write(connection).map_err(failure::of));
            Box::new(move |committed| {
                let answer = match (outcome, committed) {
                    (Some(Err(own)), _) => Err(own),
                    (_, Err(failure)) => Err(failure::unavailable(&failure).with_source(failure)),
                    (Some(written), Ok(())) => written,
                    (None, Ok(())) => Err(stopped()),
                };
                // Nobody may be waiting any more.
                let _ = reply.send(answer);
            })
        });
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.send(job).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

fn stopped() -> Error {
    Error::unavailable("the thread that writes to the SQLite file has ended; open the store again")
}

/// Runs a write of several statements: all of them, or none when one fails. The transaction is shared with other writes and
/// goes on.
pub(crate) fn whole<T>(
    connection: &Connection,
    write: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.prepare_cached("SAVEPOINT write")?.execute([])?;
    let written = write(connection);
    if written.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK TO write").inspect_err(|_| give_up(connection))?;
    }
    if !connection.is_autocommit() {
        connection.prepare_cached("RELEASE write")?.execute([])?;
    }
    written
}

/// The thread's life.
pub(crate) fn run(connection: &Connection, Jobs(mut jobs): Jobs) {
    while let Some(first) = jobs.blocking_recv() {
        let mut waiting = vec![first];
        while waiting.len() < QUEUE
            && let Ok(job) = jobs.try_recv()
        {
            waiting.push(job);
        }
        commit_together(connection, waiting);
    }
}

/// One transaction. A write that fails leaves the others be, unless SQLite gave up the whole transaction: a write after
/// that would be one of its own, so there is none.
fn commit_together(connection: &Connection, jobs: Vec<Job>) {
    let begun = connection.execute_batch("BEGIN IMMEDIATE");
    let in_transaction = || Some(connection).filter(|connection| !connection.is_autocommit());
    let replies: Vec<_> = jobs.into_iter().map(|job| job(in_transaction())).collect();
    let committed = begun.and_then(|()| connection.execute_batch("COMMIT")).map_err(Arc::new);
    if let Err(error) = &committed {
        // Whoever waits for one of them is told, and tells.
        debug!(writes = replies.len(), %error, "session writes could not be committed to SQLite");
        give_up(connection);
    }
    for reply in replies {
        reply(committed.clone());
    }
}

/// Ends a transaction that cannot be committed, so that nothing of it is, and no other program waits for it.
fn give_up(connection: &Connection) {
    if !connection.is_autocommit()
        && let Err(error) = connection.execute_batch("ROLLBACK")
    {
        warn!(%error, "a failed transaction could not be rolled back in SQLite");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::thread;

    use super::*;

    /// A table in which a child needs a parent, but only at the commit.
    const TABLES: &str = "PRAGMA foreign_keys = ON; CREATE TABLE parent (id INTEGER PRIMARY KEY);
        CREATE TABLE child (id INTEGER PRIMARY KEY REFERENCES parent DEFERRABLE INITIALLY DEFERRED);";

    async fn execute(writer: &Writer, sql: &'static str) -> Result<(), Error> {
        writer.write(move |connection| connection.execute_batch(sql)).await
    }

    /// Starts the thread once everything that was polled before this is in the queue.
    async fn start(connection: Connection, jobs: Jobs) {
        thread::spawn(move || run(&connection, jobs));
    }

    fn memory() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLES).unwrap();
        connection
    }

    async fn children(writer: &Writer) -> i64 {
        writer
            .write(|connection| connection.query_row("SELECT count(*) FROM child", [], |row| row.get(0)))
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_failed_statement_fails_only_its_own_caller() {
        let (writer, jobs) = queue();
        let (one, wrong, other, ()) = tokio::join!(
            execute(&writer, "INSERT INTO parent VALUES (1)"),
            execute(&writer, "INSERT INTO nowhere VALUES (1)"),
            execute(&writer, "INSERT INTO child VALUES (1)"),
            start(memory(), jobs),
        );
        assert!(one.is_ok() && other.is_ok());
        assert!(wrong.unwrap_err().is_unavailable());
        assert_eq!(children(&writer).await, 1);
    }

    #[tokio::test]
    async fn a_write_of_several_statements_is_whole_or_not_there() {
        let several = |sql: [&'static str; 2]| {
            move |connection: &Connection| {
                whole(connection, |connection| sql.iter().try_for_each(|sql| connection.execute_batch(sql)))
            }
        };
        let (writer, jobs) = queue();
        let (one, half, other, ()) = tokio::join!(
            writer.write(several(["INSERT INTO parent VALUES (1)", "INSERT INTO child VALUES (1)"])),
            writer.write(several(["INSERT INTO parent VALUES (2)", "INSERT INTO nowhere VALUES (2)"])),
            writer.write(several(["INSERT INTO parent VALUES (3)", "INSERT INTO child VALUES (3)"])),
            start(memory(), jobs),
        );
        assert!(one.is_ok() && half.is_err() && other.is_ok());
        let parents = "SELECT group_concat(id) FROM parent";
        let left = writer.write(move |connection| connection.query_row(parents, [], |row| row.get::<_, String>(0)));
        assert_eq!(left.await.unwrap(), "1,3");
        // SQLite may give up the whole transaction in the middle of it.
        let given_up = several(["INSERT INTO parent VALUES (4)", "ROLLBACK; INSERT INTO nowhere VALUES (4)"]);
        assert!(writer.write(given_up).await.is_err());
        execute(&writer, "INSERT INTO parent VALUES (4)").await.unwrap();
    }

    #[tokio::test]
    async fn a_failed_commit_fails_every_write_in_it_and_none_after_it() {
        let (writer, jobs) = queue();
        let (good, orphan, ()) = tokio::join!(
            execute(&writer, "INSERT INTO parent VALUES (1)"),
            execute(&writer, "INSERT INTO child VALUES (2)"),
            start(memory(), jobs),
        );
        assert!(good.unwrap_err().is_unavailable());
        assert!(orphan.unwrap_err().is_unavailable());
        assert_eq!(children(&writer).await, 0);
        execute(&writer, "INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1)").await.unwrap();
        assert_eq!(children(&writer).await, 1);
    }

    #[tokio::test]
    async fn nothing_is_written_outside_a_transaction_that_sqlite_gave_up() {
        let (writer, jobs) = queue();
        let (before, gave_up, after, ()) = tokio::join!(
            execute(&writer, "INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1)"),
            // As SQLite does by itself when the disk is full.
            execute(&writer, "ROLLBACK; INSERT INTO nowhere VALUES (1)"),
            execute(&writer, "INSERT INTO parent VALUES (2); INSERT INTO child VALUES (2)"),
            start(memory(), jobs),
        );
        assert!(before.is_err() && gave_up.is_err() && after.is_err());
        assert_eq!(children(&writer).await, 0);
    }

    #[tokio::test]
    async fn while_the_file_is_locked_every_write_is_told_so() {
        let path = std::env::temp_dir().join(format!("sessile-sqlite-writer-{}", std::process::id()));
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch(TABLES).unwrap();
        connection.busy_timeout(std::time::Duration::ZERO).unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("BEGIN EXCLUSIVE").unwrap();

        let (writer, jobs) = queue();
        let insert = "INSERT INTO parent VALUES (1)";
        let (one, two, ()) = tokio::join!(execute(&writer, insert), execute(&writer, insert), start(connection, jobs));
        for error in [one.unwrap_err(), two.unwrap_err()] {
            assert!(error.is_unavailable() && error.to_string().contains("locked"), "{error:?}");
        }
        other.execute_batch("ROLLBACK").unwrap();
        execute(&writer, insert).await.unwrap();
        std::fs::remove_file(path).unwrap();
    }

    #[tokio::test]
    async fn the_thread_ends_after_the_queued_work_when_nobody_can_ask_any_more() {
        let (writer, jobs) = queue();
        let (done, finished) = oneshot::channel();
        let write = writer.write(move |_| Ok(done.send(())));
        // Polled once, so that it is queued, and then given up.
        tokio::select! { biased; _ = write => {} () = std::future::ready(()) => {} }
        drop(writer);
        thread::spawn(move || run(&memory(), jobs)).join().unwrap();
        assert_eq!(finished.await, Ok(()));
    }
}

//! The doctor's questions to a file: whether it is there, can be used, and is as the store needs it. It is opened without
//! being created and nothing in it is changed, so it can be asked before the first start and while others work.
//!
//! The look goes from the outside to the inside and stops where nothing more can be seen: what is missing is named once.

mod file;
mod inside;
mod tables;

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use rusqlite::Connection;
use sessile_core::{Check, Examine};

use crate::aside::aside;
use crate::builder::SqliteBuilder;
use crate::failure;
use crate::store::SqliteStore;

/// How long a look waits for another program's lock.
const PATIENCE: Duration = Duration::from_secs(1);

#[async_trait]
impl Examine for SqliteBuilder {
    /// Whether the file is as [`open`](SqliteBuilder::open) needs it. Unlike that, this creates nothing.
    async fn examine(&self, now: SystemTime) -> Vec<Check> {
        let builder = self.clone();
        match aside(move || examine(&builder, now)).await {
            Ok(checks) => checks,
            Err(error) => vec![Check::failed("sqlite.file", error.to_string(), "try again")],
        }
    }
}

#[async_trait]
impl Examine for SqliteStore {
    async fn examine(&self, now: SystemTime) -> Vec<Check> {
        let mut checks = self.builder_of().examine(now).await;
        let asked =
            self.write(|_, connection| connection.pragma_query_value(None, "synchronous", |row| row.get(0))).await;
        checks.push(match asked {
            Ok(level) => synchronous(level),
            Err(error) => Check::failed("sqlite.synchronous", error.to_string(), "find out why nothing can be written"),
        });
        checks
    }
}

fn examine(builder: &SqliteBuilder, now: SystemTime) -> Vec<Check> {
    let (mut checks, path) = (Vec::new(), builder.path());
    match file::is_there(path) {
        Ok(there) => checks.push(there),
        Err(missing) => return vec![missing],
    }
    checks.extend(file::from_outside(path));
    let connection = match inside::open(builder, &mut checks) {
        Ok(connection) => connection,
        Err(failed) => {
            checks.push(failed);
            return checks;
        }
    };
    checks.extend(inside::examine(&connection));
    checks.push(file::wal_size(path));
    checks.extend(tables::examine(&connection, builder.tables(), builder.kind(), now));
    checks
}

/// What the connection that writes waits for before it answers: 2 is FULL, 3 is EXTRA.
fn synchronous(level: i64) -> Check {
    if level >= 2 {
        return Check::good("sqlite.synchronous", "every answered write is on the disk");
    }
    Check::warning(
        "sqlite.synchronous",
        format!("expected synchronous=FULL, found level {level}: a power failure takes back what was answered"),
        "open the store with `SqliteStore::open`, which sets it, and change it nowhere else",
    )
}

/// A look that SQLite could not carry out.
fn blind(name: &'static str, error: rusqlite::Error) -> Check {
    Check::failed(name, failure::of(error).to_string(), "repair what the finding names, then look again")
}

/// Runs this no longer than so; `None` when the time was not enough.
fn within<T>(
    connection: &Connection,
    limit: Duration,
    look: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Option<rusqlite::Result<T>> {
    let interrupt = connection.get_interrupt_handle();
    let (done, wait) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        if wait.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
            interrupt.interrupt();
        }
    });
    let looked = look(connection);
    drop(done);
    // An interrupt that comes late must not meet the next look.
    let _ = watch.join();
    match looked {
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted) => None,
        looked => Some(looked),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use sessile_core::Verdict;

    use super::*;

    #[test]
    fn a_connection_that_does_not_wait_for_the_disk_is_noticed() {
        for (level, verdict) in [(0, Verdict::Warning), (1, Verdict::Warning), (2, Verdict::Good), (3, Verdict::Good)] {
            assert_eq!(synchronous(level).verdict, verdict, "{level}");
        }
    }

    #[test]
    fn a_look_that_takes_too_long_is_given_up_and_the_next_one_is_not() {
        const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
        let connection = Connection::open_in_memory().unwrap();
        let ask = |sql: &str, limit| {
            within(&connection, limit, |connection| connection.query_row(sql, [], |row| row.get::<_, i64>(0)))
        };
        assert!(ask(ENDLESS, Duration::from_millis(20)).is_none());
        assert_eq!(ask("SELECT 1", Duration::from_secs(60)).unwrap().unwrap(), 1);
    }
}

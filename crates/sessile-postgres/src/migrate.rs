//! Changes to the database's definition, which people read before they are made. A table of sessions is in use day and
//! night: whatever takes a lock takes it for a moment, gives way to traffic and tries again, and whatever takes long takes no
//! lock. Each change looks at what is there, so one that was interrupted is begun again and goes on.

mod create;
pub(crate) mod timestamptz;

use std::fmt;
use std::time::Duration;

use sessile_core::Error;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use crate::PostgresStore;
use crate::failure::Failure;
use crate::private::Private;
use crate::rows::{count, get};

/// So often is a change tried that has to wait for others' statements on the table.
const TRIES: usize = 10;

/// So long are others let through between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// A change to the database: its `Display` is the SQL, for people to read first.
#[derive(Clone, Debug)]
#[must_use = "nothing is changed before `apply`"]
pub struct Migration {
    store: PostgresStore,
    steps: Vec<Step>,
    sql: String,
}

/// A part of a change.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Takes a lock, for a moment: from `BEGIN` to `COMMIT`.
    Transaction(String),
    /// Cannot be in a transaction, and lets traffic through while it runs.
    Alone(String),
    /// Again and again, each time for the rows after the key `$1`: gives how many rows were looked at, the last key, and
    /// how many were written. From the beginning as long as some were not.
    Batches(String),
}

impl Step {
    fn sql(&self) -> String {
        match self {
            Self::Transaction(sql) => sql.clone(),
            Self::Alone(sql) => format!("{sql}\n"),
            Self::Batches(sql) => {
                format!("-- A thousand rows at a time, until none is left; $1 is the last key.\n{sql};\n")
            }
        }
    }
}

impl Migration {
    pub(crate) fn new(store: &PostgresStore, remark: &str, steps: Vec<Step>) -> Self {
        let sql = steps.iter().map(Step::sql).collect::<Vec<_>>().join("\n");
        let remark = if sql.is_empty() || remark.is_empty() { String::new() } else { format!("-- {remark}\n") };
        Self { store: store.clone(), steps, sql: remark + &sql }
    }

    /// The SQL. Empty when there is nothing to change.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// Makes the change. Waits for others' statements on the table in short turns only, so that it holds nobody up. Making
    /// it twice is making it once, and one that was interrupted is asked for and made again.
    ///
    /// # Errors
    /// When the table was in use all the time, this role may not make the change, or the server fails. The step that failed
    /// changed nothing.
    pub async fn apply(&self) -> Result<(), Error> {
        for step in &self.steps {
            match step {
                Step::Transaction(sql) | Step::Alone(sql) => self.make(sql).await?,
                Step::Batches(sql) => self.batches(sql).await?,
            }
        }
        Ok(())
    }

    async fn make(&self, sql: &str) -> Result<(), Error> {
        for _ in 0..TRIES {
            match self.run(sql).await {
                // Others' statements waited behind this one. Now it is their turn.
                Err(failure) if failure.is(&SqlState::LOCK_NOT_AVAILABLE) || failure.is_conflict() => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(failure) if failure.is(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                    return Err(Error::config(
                        "this role may not change the session table; let its owner run the SQL of the change",
                    ));
                }
                Err(failure) => return Err(failure.refused_change().unwrap_or_else(|| failure.into())),
                Ok(()) => return Ok(()),
            }
        }
        Err(Error::unavailable(format!(
            "the session table was in use by others {TRIES} times for as long as this change may wait; try again when there is less traffic"
        )))
    }

    async fn run(&self, sql: &str) -> Result<(), Failure> {
        let mut lease = self.store.lease().await?;
        lease.begins_transaction();
        let Some(client) = lease.client() else { return Err(Failure::Down) };
        let done = client.batch_execute(sql).await;
        if done.is_err() {
            client.batch_execute("ROLLBACK").await?;
        }
        lease.finished();
        Ok(done?)
    }

    /// Passes over the table until no row was left out because somebody held it.
    async fn batches(&self, sql: &str) -> Result<(), Error> {
        while self.pass(sql).await? > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// How many rows were left out.
    async fn pass(&self, sql: &str) -> Result<u64, Error> {
        let (mut after, mut left) = (None::<String>, 0);
        loop {
            let rows = self.store.query(sql, &[(&Private(after.as_deref()), Type::TEXT)]).await?;
            let seen = count(&rows, 0)?;
            left += seen.saturating_sub(count(&rows, 2)?);
            match rows.first().map(|row| get::<Option<String>>(row, 1)).transpose()?.flatten() {
                Some(last) if seen > 0 => after = Some(last),
                _ => return Ok(left),
            }
        }
    }
}

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sql)
    }
}

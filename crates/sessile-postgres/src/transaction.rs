//! Statements on connections of the pool: one alone, or several that take effect together.
//!
//! Each statement of a transaction sees what was committed before it began, so one that waited for a lock is followed by
//! one that sees why. Nothing is set and no lock outlives its transaction: a pooler in transaction mode changes nothing.

use std::time::Duration;

use deadpool_postgres::Object;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::PostgresStore;
use crate::failure::Failure;
use crate::lease::Lease;

/// So many times in all is tried what the server undid because of what others did at the same moment.
pub(crate) const TRIES: usize = 3;

/// The parameters of a statement, with their types.
pub(crate) type Values<'a> = &'a [(&'a (dyn ToSql + Sync), Type)];

/// Statements between BEGIN and COMMIT. Dropped before that it is undone, as soon as the server has stopped.
pub(crate) struct Transaction {
    lease: Lease,
    limit: Duration,
    unnamed: bool,
}

impl PostgresStore {
    /// Runs a statement on a connection of its own.
    pub(crate) async fn query(&self, sql: &str, values: Values<'_>) -> Result<Vec<Row>, Failure> {
        for _ in 1..TRIES {
            match self.query_once(sql, values).await {
                Err(failure) if failure.is_undone() => {}
                done => return done,
            }
        }
        self.query_once(sql, values).await
    }

    async fn query_once(&self, sql: &str, values: Values<'_>) -> Result<Vec<Row>, Failure> {
        let (lease, limit) = (self.lease().await?, self.settings().statement_timeout);
        let Some(client) = lease.client() else { return Err(Failure::Down) };
        let running = run_alone(client, self.is_unnamed(), sql, values);
        let done = tokio::time::timeout(limit, running).await.unwrap_or(Err(Failure::Slow(limit)));
        let done = done.inspect_err(|failure| lease.heed(failure));
        if !matches!(done, Err(Failure::Slow(_))) {
            lease.finished();
        }
        done
    }

    /// Runs statements in a transaction, each within the time limit, and gives the rows of each. It is tried again when the
    /// server undid it because of others, takes no writes any more, or forgot a statement.
    pub(crate) async fn together<const COUNT: usize>(
        &self,
        limit: Duration,
        statements: [(&str, Values<'_>); COUNT],
    ) -> Result<[Vec<Row>; COUNT], Failure> {
        let mut unnamed = self.is_unnamed();
        for _ in 1..TRIES {
            match self.together_once(limit, unnamed, statements).await {
                Err(failure) if failure.is_undone() => {}
                Err(failure) if failure.is_lost_statement() => unnamed = true,
                done => return done,
            }
        }
        self.together_once(limit, unnamed, statements).await
    }

    async fn together_once<const COUNT: usize>(
        &self,
        limit: Duration,
        unnamed: bool,
        statements: [(&str, Values<'_>); COUNT],
    ) -> Result<[Vec<Row>; COUNT], Failure> {
        let transaction = self.begin(limit, unnamed).await?;
        let mut answers = [const { Vec::new() }; COUNT];
        for (answer, (sql, values)) in answers.iter_mut().zip(statements) {
            match transaction.query(sql, values).await {
                Ok(rows) => *answer = rows,
                Err(failure) => return Err(transaction.undo(failure).await),
            }
        }
        transaction.commit().await.map(|()| answers)
    }

    /// Begins a transaction whose statements depend on one another's rows.
    pub(crate) async fn begin(&self, limit: Duration, unnamed: bool) -> Result<Transaction, Failure> {
        let mut lease = self.lease().await?;
        lease.begins_transaction();
        let transaction = Transaction { lease, limit, unnamed };
        transaction.send("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
        Ok(transaction)
    }
}

impl Transaction {
    pub(crate) async fn query(&self, sql: &str, values: Values<'_>) -> Result<Vec<Row>, Failure> {
        let Some(client) = self.lease.client() else { return Err(Failure::Down) };
        let running = run(client, self.unnamed, sql, values);
        let done = tokio::time::timeout(self.limit, running).await.unwrap_or(Err(Failure::Slow(self.limit)));
        done.inspect_err(|failure| self.lease.heed(failure))
    }

    pub(crate) async fn commit(self) -> Result<(), Failure> {
        self.send("COMMIT").await?;
        self.lease.finished();
        Ok(())
    }

    /// Ends what failed, at once where the server has answered.
    pub(crate) async fn undo(self, failure: Failure) -> Failure {
        if !matches!(failure, Failure::Slow(_)) && self.send("ROLLBACK").await.is_ok() {
            self.lease.finished();
        }
        failure
    }

    async fn send(&self, command: &str) -> Result<(), Failure> {
        let Some(client) = self.lease.client() else { return Err(Failure::Down) };
        let sent = tokio::time::timeout(self.limit, client.batch_execute(command)).await;
        let sent = sent.map_or(Err(Failure::Slow(self.limit)), |sent| sent.map_err(Failure::from));
        sent.inspect_err(|failure| self.lease.heed(failure))
    }
}

/// Runs a statement outside of a transaction.
async fn run_alone(client: &Object, unnamed: bool, sql: &str, values: Values<'_>) -> Result<Vec<Row>, Failure> {
    match run(client, unnamed, sql, values).await {
        // Nothing ran. Sent whole, the statement needs nothing that the server could have forgotten.
        Err(failure) if failure.is_lost_statement() => run(client, true, sql, values).await,
        done => done,
    }
}

async fn run(client: &Object, unnamed: bool, sql: &str, values: Values<'_>) -> Result<Vec<Row>, Failure> {
    if unnamed {
        return Ok(client.query_typed(sql, values).await?);
    }
    let types: Vec<Type> = values.iter().map(|(_, kind)| kind.clone()).collect();
    let prepared = async {
        let statement = client.prepare_typed_cached(sql, &types).await?;
        let values: Vec<_> = values.iter().map(|(value, _)| *value).collect();
        client.query(&statement, &values).await
    };
    let done = prepared.await.map_err(Failure::from);
    if done.as_ref().is_err_and(Failure::is_lost_statement) {
        client.statement_cache.remove(sql, &types);
    }
    done
}

//! The doctor: whether the server and the tables are as the promises need them. It looks over a connection of its own, so
//! that a pool which is exhausted is no excuse, and creates nothing. What cannot work without something that failed is not
//! looked at: one cause is one finding.

mod connection;
mod pooler;
mod rows;
mod server;
mod tables;
pub(crate) mod zone;

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use sessile_core::{Check, Error, Examine};
use tokio_postgres::{Client, Row};

use crate::PostgresStore;
use crate::failure::Failure;
use crate::transaction::Values;

/// How long each question may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to look through.
struct Look<'a> {
    store: &'a PostgresStore,
    client: Client,
    now: SystemTime,
}

impl Look<'_> {
    async fn query(&self, sql: &str, values: Values<'_>) -> Result<Vec<Row>, Failure> {
        let answer = tokio::time::timeout(PATIENCE, self.client.query_typed(sql, values)).await;
        Ok(answer.map_err(|_| Failure::Slow(PATIENCE))??)
    }

    /// The only row of the answer.
    async fn ask(&self, sql: &str, values: Values<'_>) -> Result<Row, Error> {
        let rows = self.query(sql, values).await?;
        rows.into_iter().next().ok_or_else(|| Error::poisoned("expected PostgreSQL to answer with a row, found none"))
    }
}

#[async_trait]
impl Examine for PostgresStore {
    async fn examine(&self, now: SystemTime) -> Vec<Check> {
        let mut checks = Vec::new();
        let client = match connection::open(self, &mut checks).await {
            Some(client) => client,
            None => return checks,
        };
        let look = Look { store: self, client, now };
        if let Err(error) = all(&look, &mut checks).await {
            checks.push(Check::failed(
                "postgres.answers",
                format!("The server did not answer what was asked next: {error}."),
                "Look into the server's log.",
            ));
        }
        checks
    }
}

async fn all(look: &Look<'_>, checks: &mut Vec<Check>) -> Result<(), Error> {
    connection::examine(look, checks).await?;
    server::examine(look, checks).await?;
    pooler::examine(look, checks).await?;
    let Some(found) = tables::examine(look, checks).await? else { return Ok(()) };
    zone::examine(look, &found, checks).await?;
    rows::examine(look, &found, checks).await
}

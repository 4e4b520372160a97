//! What `connect` would create, as SQL to read first; what is kept for operators, which an application creates later and may
//! not be allowed to; and what `connect` only warns of: indexes that are missing on tables that are there. Those are built beside the traffic; what an interrupted build left behind goes first.

use sessile_core::Error;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::{Migration, Step};
use crate::PostgresStore;
use crate::builder::PostgresBuilder;
use crate::failure::Failure;
use crate::names::{check_identifier, qualified, quote};
use crate::operations::OperationNames;
use crate::registry_table::{self, Layout, usage};
use crate::request_column;
use crate::rows::get;
use crate::table::{self, Found, create_indexes, create_schema, create_table, index_name};

impl PostgresStore {
    /// The change that creates the tables that are missing, and indexes that are missing on those that are there. Asking for
    /// it creates nothing, also on a store of [`connect_lazy`](crate::PostgresBuilder::connect_lazy). An index is built
    /// without holding up the traffic (`CONCURRENTLY`); one whose build was interrupted is built again.
    ///
    /// # Errors
    /// When the settings are wrong, the server cannot be reached, or a table of that name is of another kind.
    pub async fn creation(&self) -> Result<Migration, Error> {
        let lease = self.lease().await?;
        let Some(client) = lease.client() else { return Err(Failure::Down.into()) };
        let steps = steps(client, self.settings()).await?;
        lease.finished();
        Ok(Migration::new(self, "Creates what is missing.", steps))
    }
}

async fn steps(client: &Client, settings: &PostgresBuilder) -> Result<Vec<Step>, Error> {
    for name in [Some(&settings.table), settings.schema.as_ref()].into_iter().flatten() {
        check_identifier(name)?;
    }
    let names = registry_table::names(settings)?;
    let mut steps = Vec::new();
    let schema = match table::find(client, settings).await? {
        Some(found) => {
            index(client, settings, &found, &mut steps).await?;
            found.schema
        }
        None => {
            steps.push(Step::Transaction(format!("BEGIN;\n{}COMMIT;\n", new_table(settings))));
            settings.schema.clone().map_or(current_schema(client).await, Ok)?
        }
    };
    for table in registry_table::layouts(&schema, &names) {
        complete(client, &schema, &table, &mut steps).await?;
    }
    for sql in OperationNames::new(&schema, &names.registry).missing(client).await? {
        steps.push(Step::Transaction(format!("BEGIN;\n{sql}\nCOMMIT;\n")));
    }
    Ok(steps)
}

/// The indexes that the sessions' table lacks.
async fn index(client: &Client, settings: &PostgresBuilder, found: &Found, steps: &mut Vec<Step>) -> Result<(), Error> {
    let (data, columns) = (qualified(Some(&found.schema), &settings.table), &found.columns);
    for column in usage(client, &data, columns.key, columns.indexed()).await?.unindexed {
        let (index, before) = (index_name(&settings.table, &column), steps.len());
        let sql = format!("CREATE INDEX CONCURRENTLY {} ON {data} ({column});", quote(&index));
        build(client, &found.schema, &index, sql, steps).await?;
        // The name is taken by an index on something else.
        if steps.len() == before {
            steps.push(Step::Alone(format!("CREATE INDEX CONCURRENTLY ON {data} ({column});")));
        }
    }
    Ok(())
}

fn new_table(settings: &PostgresBuilder) -> String {
    let schema = settings.schema.as_deref().map(|schema| create_schema(schema) + "\n").unwrap_or_default();
    format!("{schema}{}\n{}\n", create_table(settings), create_indexes(settings).join("\n"))
}

async fn current_schema(client: &Client) -> Result<String, Error> {
    let row = client.query_typed_one("SELECT current_schema()::text", &[]).await.map_err(Failure::from)?;
    get::<Option<String>>(&row, 0)?.ok_or_else(|| {
        Error::config("expected the connection's search_path to name a schema that is there, found none; name one with PostgresBuilder::schema")
    })
}

/// One of the registry's tables: made, or given the indexes that it lacks.
async fn complete(client: &Client, schema: &str, table: &Layout<'_>, steps: &mut Vec<Step>) -> Result<(), Error> {
    if table.find(client).await?.is_none() {
        let indexes: Vec<_> = table.indexes("").into_iter().map(|(_, sql)| sql).collect();
        let sql = [vec![table.create()], indexes].concat().join("\n");
        steps.push(Step::Transaction(format!("BEGIN;\n{sql}\nCOMMIT;\n")));
        return Ok(());
    }
    if table.counts_requests() {
        steps.extend(request_column::step(client, &table.quoted).await?);
    }
    for (index, sql) in table.indexes("CONCURRENTLY ") {
        build(client, schema, &index, sql, steps).await?;
    }
    Ok(())
}

/// The steps that build an index, unless a valid one of this name is there.
async fn build(client: &Client, schema: &str, index: &str, sql: String, steps: &mut Vec<Step>) -> Result<(), Error> {
    let name = qualified(Some(schema), index);
    match is_valid(client, &name).await? {
        Some(true) => return Ok(()),
        Some(false) => steps.push(Step::Alone(format!("DROP INDEX CONCURRENTLY {name};"))),
        None => {}
    }
    steps.push(Step::Alone(sql));
    Ok(())
}

/// Whether the index with this quoted name was built to its end; `None` when there is none.
pub(super) async fn is_valid(client: &Client, name: &str) -> Result<Option<bool>, Error> {
    const VALID: &str = "SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = to_regclass($1)";
    let rows = client.query_typed(VALID, &[(&name, Type::TEXT)]).await.map_err(Failure::from)?;
    rows.first().map(|row| get(row, 0)).transpose()
}

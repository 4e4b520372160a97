//! The sessions' table: found and adopted, or created. What it has to be like is in [`shape`](crate::shape).

use deadpool_postgres::Pool;
use sessile_core::{Error, TableKind};
use tokio_postgres::Client;

use crate::builder::PostgresBuilder;
use crate::catalogue::{columns, find_or_create};
use crate::columns::{Columns, indexed};
use crate::failure::Failure;
use crate::names::{check_identifier, derived, qualified, quote};
use crate::operations::OperationNames;
use crate::registry_table;
use crate::rows::get;
use crate::shape;
use crate::sql::{Names, Sql};

/// A session table and its registry that are there.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) description: String,
    pub(crate) schema: String,
    pub(crate) names: Names,
    pub(crate) operations: OperationNames,
    pub(crate) sql: Sql,
}

/// What the catalogue says of the table.
pub(crate) struct Found {
    pub(crate) schema: String,
    pub(crate) columns: Columns,
    /// The name of the key's collation, where that is not the database's.
    pub(crate) collation: Option<String>,
}

impl Found {
    /// What is slow because of the key's collation, and the SQL that changes it.
    pub(crate) fn slow_collation(&self, table: &str) -> Option<(String, String)> {
        let (key, collation) = (self.columns.key, self.collation.as_ref()?);
        let finding = format!(
            "{key} has the collation {} and not the database's, so that sessions and registry are compared without their indexes",
            quote(collation)
        );
        let change = format!("ALTER TABLE {table} ALTER COLUMN {key} TYPE text COLLATE \"default\";");
        let remedy = format!("{change} (with the guard installed: remove that first, and install it again)");
        Some((finding, remedy))
    }
}

/// Finds the tables, or creates them. Never caches a failure.
pub(crate) async fn prepare(pool: &Pool, settings: &PostgresBuilder) -> Result<Table, Error> {
    for name in [Some(&settings.table), settings.schema.as_ref()].into_iter().flatten() {
        check_identifier(name)?;
    }
    let names = registry_table::names(settings)?;
    let client = pool.get().await.map_err(Failure::from)?;
    let name = qualified(settings.schema.as_deref(), &settings.table);
    if settings.existing && find(&client, settings).await?.is_none() {
        return Err(Error::config(format!(
            "expected the session table {name} in this database, found none; look at the URL and at session.table, or make \
             it with `sessile migrate`"
        )));
    }
    let (found, how) = find_or_create(&name, || find(&client, settings), || create(&client, settings)).await?;
    let description = adopt(&client, settings, &found, how).await?;
    let (registry, counts) = registry_table::prepare(&client, &found.schema, &names).await?;
    let in_schema = |name: &str| qualified(Some(&found.schema), name);
    let quoted = Names {
        data: in_schema(&settings.table),
        registry: in_schema(&names.registry),
        cutoffs: in_schema(&names.cutoffs),
        moves: in_schema(&names.moves),
        columns: found.columns,
        counts,
    };
    let sql = Sql::new(&quoted);
    let operations = OperationNames::new(&found.schema, &names.registry);
    let description = format!("{description}, {registry}");
    Ok(Table { description, schema: found.schema, names: quoted, operations, sql })
}

/// The schema, the columns and what else the store relies on; `None` when there is no such table.
pub(crate) async fn find(client: &Client, settings: &PostgresBuilder) -> Result<Option<Found>, Error> {
    let name = qualified(settings.schema.as_deref(), &settings.table);
    let columns = columns(client, &name).await?;
    let Some(first) = columns.first() else { return Ok(None) };
    let schema = first.schema.clone();
    let collation_of = |key: &str| columns.iter().find(|column| column.name == key)?.collation.clone();
    let columns = shape::of(&name, &columns, settings.kind)?;
    Ok(Some(Found { schema, collation: collation_of(columns.key), columns }))
}

async fn create(client: &Client, settings: &PostgresBuilder) -> Result<(), Failure> {
    let schema = settings.schema.as_deref().map(create_schema).unwrap_or_default();
    let batch = format!("{schema}{} {}", create_table(settings), create_indexes(settings).join(" "));
    Ok(client.batch_execute(&batch).await?)
}

pub(crate) fn create_schema(schema: &str) -> String {
    format!("CREATE SCHEMA IF NOT EXISTS {};", quote(schema))
}

/// What a table that is made is like.
fn kind(settings: &PostgresBuilder) -> TableKind {
    settings.kind.unwrap_or(TableKind::Express)
}

/// The SQL that makes the table, without its indexes.
pub(crate) fn create_table(settings: &PostgresBuilder) -> String {
    let name = qualified(settings.schema.as_deref(), &settings.table);
    let key = quote(&derived("", &settings.table, "_pkey"));
    match kind(settings) {
        TableKind::Express => format!(
            "CREATE TABLE {name} (\"sid\" varchar NOT NULL COLLATE \"default\", \"sess\" json NOT NULL, \"expire\" timestamp(6) NOT NULL, \
             CONSTRAINT {key} PRIMARY KEY (\"sid\"));"
        ),
        TableKind::Columns => format!(
            "CREATE TABLE {name} (id text NOT NULL CONSTRAINT {key} PRIMARY KEY, user_id text, \
             \"values\" jsonb NOT NULL DEFAULT '{{}}', created_at timestamptz NOT NULL DEFAULT now(), \
             expires_at timestamptz NOT NULL);"
        ),
    }
}

/// The SQL that makes the table's indexes.
pub(crate) fn create_indexes(settings: &PostgresBuilder) -> Vec<String> {
    let name = qualified(settings.schema.as_deref(), &settings.table);
    let index = |column: &&str| {
        let index = quote(&index_name(&settings.table, column));
        format!("CREATE INDEX {index} ON {name} ({});", quote(column))
    };
    indexed(kind(settings)).iter().map(index).collect()
}

/// What the index on this column is called: on `expire` as in Express's table.
pub(crate) fn index_name(table: &str, column: &str) -> String {
    match column {
        "expire" => derived("IDX_", table, "_expire"),
        column => derived("", table, &format!("_{column}_idx")),
    }
}

/// Looks at what lies around the table, warns of what is missing there, and describes it all.
async fn adopt(client: &Client, settings: &PostgresBuilder, found: &Found, how: &str) -> Result<String, Error> {
    let quoted = qualified(Some(&found.schema), &settings.table);
    let columns = &found.columns;
    let key = columns.key;
    let usage = registry_table::usage(client, &quoted, key, columns.indexed()).await?;
    const SETTINGS: &str = "SELECT current_setting('TimeZone'), current_setting('synchronous_commit')";
    let facts = client.query_typed_one(SETTINGS, &[]).await.map_err(Failure::from)?;
    let (zone, commit): (&str, &str) = (get(&facts, 0)?, get(&facts, 1)?);
    if !usage.is_unique {
        return Err(Error::config(format!(
            "expected the table {quoted} to have a primary key on {key}, found none; add one: ALTER TABLE {quoted} ADD PRIMARY KEY ({key})"
        )));
    }
    if let Some((finding, remedy)) = found.slow_collation(&quoted) {
        tracing::warn!(
            "expected the columns of {quoted} to be compared by an index, found that {finding}; change it: {remedy}"
        );
    }
    for column in usage.unindexed {
        let reader = if column == columns.end { "sweeping" } else { "looking for a user's sessions" };
        tracing::warn!(
            "the table {quoted} has no index on {column}, so that {reader} reads all of it; add one: CREATE INDEX CONCURRENTLY ON {quoted} ({column})"
        );
    }
    if commit == "off" {
        tracing::warn!(
            "synchronous_commit is off for this role or database: a sign-out that was acknowledged can be lost when the server crashes"
        );
    }
    Ok(format!("PostgreSQL, {}.{} ({how}, {})", found.schema, settings.table, columns.described(zone)))
}

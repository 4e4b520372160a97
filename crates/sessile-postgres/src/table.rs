//! The sessions' table: found and adopted, or created.

use deadpool_postgres::Pool;
use sessile_core::Error;
use tokio_postgres::Client;

use crate::builder::PostgresBuilder;
use crate::catalogue::{Column, check_required, columns, find_or_create};
use crate::failure::Failure;
use crate::names::{check_identifier, derived, qualified, quote};
use crate::operations::OperationNames;
use crate::registry_table;
use crate::rows::get;
use crate::sql::{Names, Sql};

/// The shortest key there is: an id as express-session makes them. A table with less room holds no session.
const SHORTEST_KEY: i32 = 32;

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
    pub(crate) sess: String,
    pub(crate) expire: String,
}

/// Finds the tables, or creates them. Never caches a failure.
pub(crate) async fn prepare(pool: &Pool, settings: &PostgresBuilder) -> Result<Table, Error> {
    for name in [Some(&settings.table), settings.schema.as_ref()].into_iter().flatten() {
        check_identifier(name)?;
    }
    let names = registry_table::names(settings)?;
    let client = pool.get().await.map_err(Failure::from)?;
    let name = qualified(settings.schema.as_deref(), &settings.table);
    if settings.existing && find(&client, &name).await?.is_none() {
        return Err(Error::config(format!(
            "expected the session table {name} in this database, found none; look at the URL and at session.table, or make \
             it with `sessile migrate`"
        )));
    }
    let (found, how) = find_or_create(&name, || find(&client, &name), || create(&client, settings)).await?;
    let description = adopt(&client, settings, &found, how).await?;
    let (registry, counts) = registry_table::prepare(&client, &found.schema, &names).await?;
    let in_schema = |name: &str| qualified(Some(&found.schema), name);
    let quoted = Names {
        data: in_schema(&settings.table),
        registry: in_schema(&names.registry),
        cutoffs: in_schema(&names.cutoffs),
        moves: in_schema(&names.moves),
        sess: found.sess,
        counts,
    };
    let sql = Sql::new(&quoted);
    let operations = OperationNames::new(&found.schema, &names.registry);
    let description = format!("{description}, {registry}");
    Ok(Table { description, schema: found.schema, names: quoted, operations, sql })
}

/// The schema, the columns' types and what else the store relies on; `None` when there is no such table.
pub(crate) async fn find(client: &Client, name: &str) -> Result<Option<Found>, Error> {
    let columns = columns(client, name).await?;
    let Some(first) = columns.first() else { return Ok(None) };
    let column = |wanted: &str| columns.iter().find(|column| column.name == wanted);
    let kind = |wanted: &str| column(wanted).map_or_else(|| "missing".to_owned(), |column| column.kind.clone());
    let (sid, sess, expire) = (kind("sid"), kind("sess"), kind("expire"));
    let fits = ["character varying", "text", "character"].contains(&sid.as_str())
        && ["json", "jsonb"].contains(&sess.as_str())
        && ["timestamp without time zone", "timestamp with time zone"].contains(&expire.as_str());
    if !fits {
        return Err(Error::config(format!(
            "expected the table {name} to have connect-pg-simple's columns sid (varchar or text), sess (json or jsonb) and \
             expire (timestamp or timestamptz), found sid {sid}, sess {sess}, expire {expire}; choose another table name, or move that table away"
        )));
    }
    // A length limit is stored with four bytes added to it; -1 is none.
    if column("sid").is_some_and(|sid| (0..SHORTEST_KEY + 4).contains(&sid.modifier)) {
        return Err(Error::config(format!(
            "expected the column sid of {name} to have room for {SHORTEST_KEY} characters, found a shorter one; \
             widen it: ALTER TABLE {name} ALTER COLUMN sid TYPE varchar"
        )));
    }
    let is_foreign = |column: &&Column| column.is_required && !["sid", "sess", "expire"].contains(&&*column.name);
    check_required(name, columns.iter().find(is_foreign), "sid, sess and expire")?;
    Ok(Some(Found { schema: first.schema.clone(), sess, expire }))
}

async fn create(client: &Client, settings: &PostgresBuilder) -> Result<(), Failure> {
    let name = qualified(settings.schema.as_deref(), &settings.table);
    let schema = settings.schema.as_deref().map(create_schema).unwrap_or_default();
    let batch =
        format!("{schema}{} CREATE INDEX {} ON {name} (\"expire\");", create_table(settings), expire_index(settings));
    Ok(client.batch_execute(&batch).await?)
}

pub(crate) fn create_schema(schema: &str) -> String {
    format!("CREATE SCHEMA IF NOT EXISTS {};", quote(schema))
}

/// The SQL that makes the table, without its index.
pub(crate) fn create_table(settings: &PostgresBuilder) -> String {
    format!(
        "CREATE TABLE {} (\"sid\" varchar NOT NULL COLLATE \"default\", \"sess\" json NOT NULL, \"expire\" timestamp(6) NOT NULL, \
         CONSTRAINT {} PRIMARY KEY (\"sid\"));",
        qualified(settings.schema.as_deref(), &settings.table),
        quote(&derived("", &settings.table, "_pkey"))
    )
}

/// The quoted name of the index on `expire`, as Express's table has it.
pub(crate) fn expire_index(settings: &PostgresBuilder) -> String {
    quote(&expire_index_name(settings))
}

pub(crate) fn expire_index_name(settings: &PostgresBuilder) -> String {
    derived("IDX_", &settings.table, "_expire")
}

/// Looks at what lies around the table, warns of what is missing there, and describes it all.
async fn adopt(client: &Client, settings: &PostgresBuilder, found: &Found, how: &str) -> Result<String, Error> {
    let quoted = qualified(Some(&found.schema), &settings.table);
    let usage = registry_table::usage(client, &quoted, "sid", &["expire"]).await?;
    const SETTINGS: &str = "SELECT current_setting('TimeZone'), current_setting('synchronous_commit')";
    let facts = client.query_typed_one(SETTINGS, &[]).await.map_err(Failure::from)?;
    let (zone, commit): (&str, &str) = (get(&facts, 0)?, get(&facts, 1)?);
    if !usage.is_unique {
        return Err(Error::config(format!(
            "expected the table {quoted} to have a primary key on sid, found none; add one: ALTER TABLE {quoted} ADD PRIMARY KEY (sid)"
        )));
    }
    if !usage.unindexed.is_empty() {
        tracing::warn!(
            "the table {quoted} has no index on expire, so that sweeping reads all of it; add one: CREATE INDEX CONCURRENTLY ON {quoted} (expire)"
        );
    }
    if commit == "off" {
        tracing::warn!(
            "synchronous_commit is off for this role or database: a sign-out that was acknowledged can be lost when the server crashes"
        );
    }
    let expire = match found.expire.as_str() {
        "timestamp with time zone" => "timestamptz".to_owned(),
        _ if ["UTC", "Etc/UTC", "GMT"].contains(&zone) => "timestamp".to_owned(),
        _ => format!("timestamp in {zone}"),
    };
    Ok(format!("PostgreSQL, {}.{} ({how}, {}, {expire})", found.schema, settings.table, found.sess))
}
